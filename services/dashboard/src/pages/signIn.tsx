import { type FormEvent, useState } from "react";
import { api, body } from "../api/client";
import { tell } from "../api/problem";
import { keepSession } from "../api/session";
import { Field } from "../ui/field";
import { Button, Note } from "../ui/parts";

type Way = "password" | "key";

/** By name and password, or with an API key. */
export function SignIn() {
  const [way, setWay] = useState<Way>("password");
  return (
    <main className="page sign-in">
      <h1>Sign in to TaskFlow</h1>
      <div className="tabs" role="group" aria-label="How to sign in">
        <button type="button" aria-pressed={way === "password"} onClick={() => setWay("password")}>
          Password
        </button>
        <button type="button" aria-pressed={way === "key"} onClick={() => setWay("key")}>
          API key
        </button>
      </div>
      {way === "password" ? <ByPassword /> : <ByKey />}
      <p className="small muted">
        The first admin is made by <code>taskflow admin create</code>.
      </p>
    </main>
  );
}

function ByPassword() {
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  return (
    <Form
      enter={async () => {
        const granted = await body(api.POST("/api/v1/auth/token", { body: { username, password } }));
        const { access_token: token, refresh_token: refreshToken } = granted;
        keepSession({ token, refreshToken, begun: Date.now() });
      }}
    >
      <Field label="User name or e-mail">
        <input
          autoComplete="username"
          required
          value={username}
          onChange={(event) => setUsername(event.target.value)}
        />
      </Field>
      <Field label="Password">
        <input
          type="password"
          autoComplete="current-password"
          required
          value={password}
          onChange={(event) => setPassword(event.target.value)}
        />
      </Field>
    </Form>
  );
}

function ByKey() {
  const [key, setKey] = useState("");
  return (
    <Form
      enter={async () => {
        const answer = await fetch("/api/v1/auth/profile", {
          headers: { authorization: `Bearer ${key.trim()}` },
        });
        if (!answer.ok) throw new Error("This key is not known, or it is over");
        keepSession({ token: key.trim(), refreshToken: null, begun: Date.now() });
      }}
    >
      <Field label="API key" hint="tfq_…; it is kept in this browser until you sign out">
        <input
          type="password"
          autoComplete="off"
          spellCheck={false}
          required
          value={key}
          onChange={(event) => setKey(event.target.value)}
        />
      </Field>
    </Form>
  );
}

function Form({ enter, children }: { enter(): Promise<void>; children: React.ReactNode }) {
  const [fault, setFault] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setFault(null);
    try {
      await enter();
    } catch (error) {
      setFault(tell(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <form className="stack" onSubmit={submit}>
      {fault && <Note tone="bad">{fault}</Note>}
      {children}
      <Button type="submit" kind="primary" disabled={isBusy}>
        Sign in
      </Button>
    </form>
  );
}
