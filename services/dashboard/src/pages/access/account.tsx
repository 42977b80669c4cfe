import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, body } from "../../api/client";
import { profile } from "../../api/queries";
import { useAct } from "../../ui/act";
import { Dialog } from "../../ui/dialog";
import { Field } from "../../ui/field";
import { Button, Card, Facts } from "../../ui/parts";
import { Loaded } from "../../ui/query";
import { Ago } from "../../ui/time";

/** Who one is. */
export function Account() {
  const query = useQuery(profile());
  const [isChanging, setChanging] = useState(false);
  const aside = query.data?.has_password && (
    <Button size="small" onClick={() => setChanging(true)}>
      Change the password
    </Button>
  );
  return (
    <Card title="You" aside={aside}>
      <Loaded query={query}>
        {(who) => (
          <Facts
            of={{
              Name: who.username ?? who.email,
              Role: who.role,
              May: who.scopes.join(", "),
              "Signed in": who.signed_in_at && <Ago at={who.signed_in_at} />,
              By: who.key_id ? "an API key" : who.session_id ? "a password" : "nobody is asked here",
            }}
          />
        )}
      </Loaded>
      {isChanging && <ChangePassword onClose={() => setChanging(false)} />}
    </Card>
  );
}

function ChangePassword({ onClose }: { onClose(): void }) {
  const [before, setBefore] = useState("");
  const [next, setNext] = useState("");
  const act = useAct(
    () =>
      body(api.POST("/api/v1/auth/change-password", { body: { old_password: before, new_password: next } })),
    { stale: [["profile"]], said: () => "The password is changed; every session has ended", onDone: onClose },
  );
  return (
    <Dialog
      title="Change the password"
      onClose={onClose}
      onSubmit={() => act.mutate()}
      actions={
        <Button type="submit" kind="primary" disabled={act.isPending}>
          Change
        </Button>
      }
    >
      <Field label="Present password">
        <input
          type="password"
          autoComplete="current-password"
          value={before}
          onChange={({ target }) => setBefore(target.value)}
        />
      </Field>
      <Field label="New password" hint="8 characters or more; all sessions end">
        <input
          type="password"
          autoComplete="new-password"
          value={next}
          onChange={({ target }) => setNext(target.value)}
        />
      </Field>
    </Dialog>
  );
}
