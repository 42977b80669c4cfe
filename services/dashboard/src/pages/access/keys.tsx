import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, body, type Schemas } from "../../api/client";
import { type Scope, useMay } from "../../api/who";
import { useAct } from "../../ui/act";
import { Dialog } from "../../ui/dialog";
import { Check, Field } from "../../ui/field";
import { Button, Card, Empty, Status } from "../../ui/parts";
import { Loaded } from "../../ui/query";
import { ShownOnce } from "../../ui/shownOnce";
import { Ago } from "../../ui/time";

const KEY = ["api-keys"];
type ApiKey = Schemas["ApiKey"];

/** API keys: made, turned, revoked. */
export function Keys() {
  const may = useMay();
  const [isMaking, setMaking] = useState(false);
  const [secret, setSecret] = useState<string | null>(null);
  const query = useQuery({
    queryKey: KEY,
    queryFn: () => body(api.GET("/api/v1/api-keys", { params: { query: { limit: 200 } } })),
  });
  const aside = may("operate") && (
    <Button size="small" kind="primary" onClick={() => setMaking(true)}>
      Make a key
    </Button>
  );
  return (
    <Card title="API keys" aside={aside} bare>
      <Loaded query={query}>
        {({ items }) =>
          items.length ? <KeyTable keys={items} onSecret={setSecret} /> : <Empty title="No key yet" />
        }
      </Loaded>
      {isMaking && (
        <MakeKey
          onClose={() => setMaking(false)}
          onSecret={(made) => {
            setMaking(false);
            setSecret(made);
          }}
        />
      )}
      {secret && <ShownOnce what="API key" secret={secret} onClose={() => setSecret(null)} />}
    </Card>
  );
}

function KeyTable({ keys, onSecret }: { keys: ApiKey[]; onSecret(secret: string): void }) {
  const may = useMay();
  const [revoking, setRevoking] = useState<ApiKey | null>(null);
  const at = (id: string) => ({ params: { path: { key_id: id } } });
  const rotate = useAct(
    (id: string) => body(api.POST("/api/v1/api-keys/{key_id}/rotate", { ...at(id), body: {} })),
    {
      stale: [KEY],
      said: () => "The old key goes on for a day beside the new one",
      onDone: ({ key }) => onSecret(key),
    },
  );
  const revoke = useAct(
    (id: string) => body(api.DELETE("/api/v1/api-keys/{key_id}", { ...at(id), body: {} })),
    {
      stale: [KEY],
      said: () => "The key is revoked",
    },
  );
  return (
    <>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Status</th>
            <th scope="col">Name</th>
            <th scope="col">Key</th>
            <th scope="col">May</th>
            <th scope="col">Last used</th>
            <th scope="col">Ends</th>
            <th scope="col">
              <span className="hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {keys.map((key) => (
            <tr key={key.id}>
              <td>
                <Status of={key.status} />
              </td>
              <td>{key.name}</td>
              <td className="mono">{key.hint}</td>
              <td>{key.scopes.join(", ")}</td>
              <td>
                <Ago at={key.last_used_at} />
              </td>
              <td>
                <Ago at={key.expires_at} />
              </td>
              <td>
                {key.status === "live" && may("operate") && (
                  <div className="row nowrap-row">
                    <Button
                      size="small"
                      onClick={() => rotate.mutate(key.id)}
                      aria-label={`Rotate key ${key.name}`}
                    >
                      Rotate
                    </Button>
                    <Button
                      size="small"
                      kind="danger"
                      onClick={() => setRevoking(key)}
                      aria-label={`Revoke key ${key.name}`}
                    >
                      Revoke
                    </Button>
                  </div>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {revoking && (
        <Dialog
          title={`Revoke the key ${revoking.name}?`}
          close="Leave it"
          onClose={() => setRevoking(null)}
          onSubmit={() => {
            revoke.mutate(revoking.id);
            setRevoking(null);
          }}
          actions={
            <Button type="submit" kind="danger" autoFocus>
              Revoke
            </Button>
          }
        >
          <p>Whoever uses it is refused within seconds. This cannot be taken back.</p>
        </Dialog>
      )}
    </>
  );
}

const SCOPES: [Scope, string][] = [
  ["read", "read tasks and figures"],
  ["submit", "submit tasks"],
  ["operate", "cancel, retry, replay"],
  ["work", "work as a worker"],
  ["admin", "all of it, for everybody's things"],
];

function MakeKey({ onClose, onSecret }: { onClose(): void; onSecret(secret: string): void }) {
  const may = useMay();
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<Scope[]>(["read", "submit"]);
  const [days, setDays] = useState("");
  const act = useAct(
    () => {
      const expires_at = days ? new Date(Date.now() + Number(days) * 86_400_000).toISOString() : null;
      return body(
        api.POST("/api/v1/api-keys", { body: { name: name.trim() || "unnamed", scopes, expires_at } }),
      );
    },
    { stale: [KEY], onDone: ({ key }) => onSecret(key) },
  );
  return (
    <Dialog
      title="Make an API key"
      onClose={onClose}
      onSubmit={() => scopes.length && act.mutate()}
      actions={
        <Button type="submit" kind="primary" disabled={act.isPending || scopes.length === 0}>
          Make it
        </Button>
      }
    >
      <Field label="Name" hint="Where it is used">
        <input value={name} maxLength={100} onChange={({ target }) => setName(target.value)} />
      </Field>
      <fieldset className="stack">
        <legend>It may</legend>
        {SCOPES.filter(([scope]) => may(scope)).map(([scope, told]) => (
          <Check
            key={scope}
            label={`${scope}: ${told}`}
            checked={scopes.includes(scope)}
            onChange={(on) => setScopes(on ? [...scopes, scope] : scopes.filter((one) => one !== scope))}
          />
        ))}
      </fieldset>
      <Field label="Ends after" hint="days; never, if nothing is said">
        <input type="number" min={1} value={days} onChange={({ target }) => setDays(target.value)} />
      </Field>
    </Dialog>
  );
}
