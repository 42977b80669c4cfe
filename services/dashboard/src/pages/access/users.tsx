import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, body, type Schemas } from "../../api/client";
import { Problem } from "../../api/problem";
import { profile } from "../../api/queries";
import { useAct } from "../../ui/act";
import { Dialog } from "../../ui/dialog";
import { Field } from "../../ui/field";
import { Button, Card, Status } from "../../ui/parts";
import { Loaded } from "../../ui/query";
import { ShownOnce } from "../../ui/shownOnce";
import { Ago } from "../../ui/time";

const KEY = ["users"];
type User = Schemas["User"];
type Role = User["role"];

/** The accounts. */
export function Users() {
  const [isMaking, setMaking] = useState(false);
  const [secret, setSecret] = useState<string | null>(null);
  const query = useQuery({
    queryKey: KEY,
    queryFn: () => body(api.GET("/api/v1/users", { params: { query: { limit: 200 } } })),
  });
  const aside = (
    <Button size="small" kind="primary" onClick={() => setMaking(true)}>
      Make a user
    </Button>
  );
  return (
    <Card title="Users" aside={aside} bare>
      <Loaded query={query}>{({ items }) => <UserTable users={items} />}</Loaded>
      {isMaking && (
        <MakeUser
          onClose={() => setMaking(false)}
          onMade={(key) => {
            setMaking(false);
            setSecret(key);
          }}
        />
      )}
      {secret && <ShownOnce what="API key of the user" secret={secret} onClose={() => setSecret(null)} />}
    </Card>
  );
}

function nameOf(user: User): string {
  return user.username ?? user.email ?? user.id;
}

function statusOf(user: User): string {
  return user.deleted_at ? "deleted" : user.disabled_at ? "disabled" : "active";
}

function UserTable({ users }: { users: User[] }) {
  const me = useQuery(profile()).data?.id;
  return (
    <table className="table">
      <thead>
        <tr>
          <th scope="col">Status</th>
          <th scope="col">Name</th>
          <th scope="col">E-mail</th>
          <th scope="col">Role</th>
          <th scope="col">Signed in</th>
          <th scope="col">Made</th>
          <th scope="col">
            <span className="hidden">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {users.map((user) => (
          <tr key={user.id}>
            <td>
              <Status of={statusOf(user)} />
            </td>
            <td>{user.username ?? "–"}</td>
            <td>{user.email ?? "–"}</td>
            <td>{user.role}</td>
            <td>
              <Ago at={user.signed_in_at} />
            </td>
            <td>
              <Ago at={user.created_at} />
            </td>
            <td>{user.id !== me && <UserActions user={user} />}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function UserActions({ user }: { user: User }) {
  const [isDeleting, setDeleting] = useState(false);
  const at = { params: { path: { user_id: user.id } } };
  const stale = [KEY];
  const change = useAct(
    (wish: { role?: Role; disabled?: boolean }) =>
      body(api.PATCH("/api/v1/users/{user_id}", { ...at, body: wish })),
    { stale, said: () => `${nameOf(user)} is changed` },
  );
  const remove = useAct(() => body(api.DELETE("/api/v1/users/{user_id}", { ...at, body: {} })), {
    stale,
    said: () => `${nameOf(user)} is deleted`,
  });
  const restore = useAct(() => body(api.POST("/api/v1/users/{user_id}/restore", at)), {
    stale,
    said: () => `${nameOf(user)} is back`,
  });
  const name = nameOf(user);
  if (user.deleted_at) {
    return (
      <Button size="small" onClick={() => restore.mutate()} aria-label={`Restore ${name}`}>
        Restore
      </Button>
    );
  }
  const other: Role = user.role === "admin" ? "user" : "admin";
  const isOff = user.disabled_at !== null;
  return (
    <div className="row nowrap-row">
      <Button
        size="small"
        onClick={() => change.mutate({ role: other })}
        aria-label={`Make ${name} ${other}`}
      >
        Make {other}
      </Button>
      <Button
        size="small"
        onClick={() => change.mutate({ disabled: !isOff })}
        aria-label={`${isOff ? "Enable" : "Disable"} ${name}`}
      >
        {isOff ? "Enable" : "Disable"}
      </Button>
      <Button size="small" kind="danger" onClick={() => setDeleting(true)} aria-label={`Delete ${name}`}>
        Delete
      </Button>
      {isDeleting && (
        <Dialog
          title={`Delete ${name}?`}
          close="Leave it"
          onClose={() => setDeleting(false)}
          onSubmit={() => {
            setDeleting(false);
            remove.mutate();
          }}
          actions={
            <Button type="submit" kind="danger" autoFocus>
              Delete
            </Button>
          }
        >
          <p>The account's keys and sessions end. It can be restored for a while.</p>
        </Dialog>
      )}
    </div>
  );
}

function MakeUser({ onClose, onMade }: { onClose(): void; onMade(key: string): void }) {
  const [username, setUsername] = useState("");
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [role, setRole] = useState<Role>("user");
  const act = useAct(
    () => {
      const given = { username: username.trim(), email: email.trim(), password };
      const wish = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ""));
      return body(api.POST("/api/v1/users", { body: { ...wish, role } as Schemas["NewUser"] }));
    },
    { stale: [KEY], onDone: ({ api_key }) => onMade(api_key) },
  );
  const faultAt = (pointer: string) => (act.error instanceof Problem ? act.error.at(pointer) : undefined);
  return (
    <Dialog
      title="Make a user"
      onClose={onClose}
      onSubmit={() => act.mutate()}
      actions={
        <Button type="submit" kind="primary" disabled={act.isPending}>
          Make
        </Button>
      }
    >
      <Field label="User name" fault={faultAt("/username")}>
        <input autoComplete="off" value={username} onChange={({ target }) => setUsername(target.value)} />
      </Field>
      <Field
        label="E-mail"
        hint="With it alone the account has its API key, and no password"
        fault={faultAt("/email")}
      >
        <input
          type="email"
          autoComplete="off"
          value={email}
          onChange={({ target }) => setEmail(target.value)}
        />
      </Field>
      <Field label="Password" hint="Beside a user name; 8 characters or more" fault={faultAt("/password")}>
        <input
          type="password"
          autoComplete="new-password"
          value={password}
          onChange={({ target }) => setPassword(target.value)}
        />
      </Field>
      <Field label="Role">
        <select value={role} onChange={({ target }) => setRole(target.value as Role)}>
          <option>user</option>
          <option>admin</option>
        </select>
      </Field>
    </Dialog>
  );
}
