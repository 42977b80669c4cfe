/** Calls of the API: typed by its OpenAPI document, with this browser's credentials. What is refused throws `Problem`. */

import createClient, { type Middleware } from "openapi-fetch";
import { heard, lost } from "../live/freshness";
import { problemOf } from "./problem";
import type { components, paths } from "./schema";
import { credentials, keepSession, renew, session } from "./session";

export type Schemas = components["schemas"];

/** `fetch` with credentials; an access token that is over is turned once. */
export async function call(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  const request = new Request(input, init);
  const again = request.clone();
  const sent = session()?.token;
  const answer = await reached(request);
  if (answer.status !== 401 || !sent) return answer;
  if (await renew(sent)) return reached(again);
  if (!session()?.refreshToken) keepSession(null); // the key was revoked, or the session has ended
  return answer;
}

async function reached(request: Request): Promise<Response> {
  for (const [name, value] of Object.entries(credentials())) request.headers.set(name, value);
  try {
    const answer = await fetch(request);
    heard(answer.status);
    return answer;
  } catch (error) {
    if (error instanceof TypeError) lost(); // else it was called off
    throw error;
  }
}

const refusals: Middleware = {
  async onResponse({ response }) {
    if (response.ok) return undefined;
    throw problemOf(response.status, await response.json().catch(() => null));
  },
};

export const api = createClient<paths>({ baseUrl: window.location.origin, fetch: call });
api.use(refusals);

/** The body of an answer of 2xx: `openapi-fetch` cannot know that anything else was thrown. */
export async function body<T>(answer: Promise<{ data?: T }>): Promise<T> {
  return (await answer).data as T;
}

/** The text of a resource: for JSON that must be kept as it is written. */
export async function text(path: string, init?: RequestInit): Promise<string> {
  const answer = await call(path, init);
  const said = await answer.text();
  if (answer.ok) return said;
  let parsed: unknown = null;
  try {
    parsed = JSON.parse(said);
  } catch {
    // whatever stands between us and the API said it in its own words
  }
  throw problemOf(answer.status, parsed);
}
