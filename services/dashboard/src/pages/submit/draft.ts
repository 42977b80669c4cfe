/** A task that is being written. The payload is text: it is sent as it stands. Pure. */

import type { Schemas } from "../../api/client";
import { member, pretty } from "../../api/raw";

export interface Draft {
  type: string;
  payload: string;
  queue: string;
  priority: string;
  name: string;
  tags: string;
  delaySeconds: string;
  maxAttempts: string;
  timeoutSeconds: string;
  idempotencyKey: string;
  /** What the form does not show, and a task like another has too. */
  rest: Record<string, unknown>;
}

export const EMPTY: Draft = {
  type: "",
  payload: "{}",
  queue: "",
  priority: "normal",
  name: "",
  tags: "",
  delaySeconds: "",
  maxAttempts: "",
  timeoutSeconds: "",
  idempotencyKey: "",
  rest: {},
};

/** What would make the same task again; `text` is the API's answer. Secrets read back as stars, and are left out. */
export function draftOf(text: string): Draft {
  const task = JSON.parse(text) as Schemas["Task"];
  const { callback, target, metadata, retry } = task;
  return {
    ...EMPTY,
    type: task.type,
    payload: pretty(member(text, "payload") ?? "{}"),
    queue: task.queue,
    priority: task.priority,
    name: task.name ?? "",
    tags: task.tags.join(", "),
    maxAttempts: String(task.max_attempts),
    timeoutSeconds: String(task.timeout_seconds),
    rest: {
      retry,
      ...(Object.keys(metadata).length ? { metadata } : {}),
      ...(callback
        ? { callback: { url: callback.url, events: callback.events, max_attempts: callback.max_attempts } }
        : {}),
      ...(target ? { target: { url: target.url, method: target.method } } : {}),
    },
  };
}

/** The body of the call, as text: `JSON.stringify` would write a payload of 10^23 in its own way. */
export function bodyOf(draft: Draft): string {
  const number = (text: string) => (text.trim() === "" ? undefined : Number(text));
  const tags = draft.tags
    .split(",")
    .map((tag) => tag.trim())
    .filter(Boolean);
  const rest = JSON.stringify({
    ...draft.rest,
    type: draft.type.trim(),
    priority: draft.priority,
    queue: draft.queue.trim() || undefined,
    name: draft.name.trim() || undefined,
    tags: tags.length ? tags : undefined,
    delay_seconds: number(draft.delaySeconds),
    max_attempts: number(draft.maxAttempts),
    timeout_seconds: number(draft.timeoutSeconds),
  });
  return `${rest.slice(0, -1)},"payload":${draft.payload.trim() || "{}"}}`;
}

/** The same call by hand. */
export function curlOf(draft: Draft, origin: string): string {
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const key = draft.idempotencyKey.trim();
  return [
    `curl ${origin}/api/v1/tasks`,
    "  -H 'content-type: application/json'",
    ...(key ? [`  -H ${quoted(`idempotency-key: ${key}`)}`] : []),
    `  -d ${quoted(bodyOf(draft))}`,
  ].join(" \\\n");
}
