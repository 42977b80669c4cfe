/**
 * Who this browser is to the API: nobody (an API that asks nobody to sign in), an API key, or a session.
 *
 * A session's refresh token is good once, and used twice it ends the session: so the tabs of a browser share it, and
 * only one of them at a time turns it.
 */

export interface Session {
  /** An access token, or an API key. */
  token: string;
  /** Null: the token is an API key, and never turned. */
  refreshToken: string | null;
  /** When one signed in, in milliseconds: it stays when the token is turned. */
  begun: number;
}

const STORED = "taskflow.session";
const LOCK = "taskflow.session";
const listeners = new Set<() => void>();

export function session(): Session | null {
  return read(localStorage.getItem(STORED));
}

function read(stored: string | null): Session | null {
  try {
    return JSON.parse(stored ?? "null") as Session | null;
  } catch {
    return null;
  }
}

export function keepSession(next: Session | null): void {
  const before = session();
  if (next) localStorage.setItem(STORED, JSON.stringify(next));
  else localStorage.removeItem(STORED);
  if (before?.begun === next?.begun) return;
  for (const listener of listeners) listener();
}

/** `listener` is called when this tab or another one signs in or out; a turned token is nothing to it. */
export function onSession(listener: () => void): () => void {
  const hear = ({ key, oldValue, newValue }: StorageEvent) => {
    if (key === null || (key === STORED && read(oldValue)?.begun !== read(newValue)?.begun)) listener();
  };
  listeners.add(listener);
  window.addEventListener("storage", hear);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("storage", hear);
  };
}

export function credentials(): Record<string, string> {
  const token = session()?.token;
  return token ? { authorization: `Bearer ${token}` } : {};
}

/** A fresh access token in place of `refused`; false: there is none, and whoever sits here signs in again. */
export async function renew(refused: string | undefined): Promise<boolean> {
  if (!navigator.locks) return turned(refused);
  return await navigator.locks.request(LOCK, () => turned(refused));
}

async function turned(refused: string | undefined): Promise<boolean> {
  const held = session();
  if (held && held.token !== refused) return true; // another tab was faster
  if (!held?.refreshToken) return false;
  const answer = await fetch("/api/v1/auth/token/refresh", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ refresh_token: held.refreshToken }),
  });
  if (answer.status === 401) keepSession(null);
  if (!answer.ok) return false;
  const granted = (await answer.json()) as { access_token: string; refresh_token: string };
  keepSession({ ...held, token: granted.access_token, refreshToken: granted.refresh_token });
  return true;
}
