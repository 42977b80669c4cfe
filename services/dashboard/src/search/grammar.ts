/**
 * The search of tasks: `type:echo,demo status:failed age>10m tag:x "text"`. Members of one field mean or, fields and tags
 * mean and; a bare word is a part of the name. Pure: the same text gives the same search.
 */

export const STATUSES = [
  "scheduled",
  "queued",
  "running",
  "retrying",
  "completed",
  "failed",
  "cancelled",
  "expired",
] as const;
export const PRIORITIES = ["critical", "high", "normal", "low"] as const;
export const LIVE_STATUSES: readonly string[] = ["scheduled", "queued", "running", "retrying"];

export type StatusName = (typeof STATUSES)[number];
export type Priority = (typeof PRIORITIES)[number];

export interface Search {
  status: StatusName[];
  type: string[];
  queue: string[];
  priority: Priority[];
  tag: string[];
  worker: string[];
  name: string | null;
  error: string | null;
  /** Seconds. */
  olderThan: number | null;
  youngerThan: number | null;
  /** An id that was typed: the task is opened. */
  id: string | null;
  faults: string[];
}

export const FIELDS = [
  "status",
  "type",
  "queue",
  "priority",
  "tag",
  "age",
  "worker",
  "name",
  "error",
] as const;
const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const UNITS: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };
const TERM = /(?:([a-z_]+)([:<>]))?("(?:[^"\\]|\\.)*"?|[^\s"]+)/gi;
const SYNONYMS: Record<string, string> = { state: "status", lane: "priority", tags: "tag", created: "age" };

export function parse(text: string): Search {
  const search: Search = {
    status: [],
    type: [],
    queue: [],
    priority: [],
    tag: [],
    worker: [],
    name: null,
    error: null,
    olderThan: null,
    youngerThan: null,
    id: null,
    faults: [],
  };
  for (const [, field, operator, value = ""] of text.matchAll(TERM)) {
    if (field && operator) takeField(search, field.toLowerCase(), operator, value);
    else takeWord(search, unquoted(value));
  }
  return search;
}

function takeWord(search: Search, word: string): void {
  const begun = /^([a-z_]+)[:<>]$/i.exec(word)?.[1]?.toLowerCase();
  if (begun && isField(begun)) search.faults.push(`${word} expected a value`);
  else if (ID.test(word)) search.id = word.toLowerCase();
  else search.name = search.name ? `${search.name} ${word}` : word;
}

function isField(name: string): boolean {
  return name === "id" || Object.hasOwn(SYNONYMS, name) || (FIELDS as readonly string[]).includes(name);
}

function takeField(search: Search, written: string, operator: string, value: string): void {
  const field = SYNONYMS[written] ?? written;
  if (field === "age") takeAge(search, operator, value);
  else if (operator !== ":") {
    search.faults.push(`${written}${operator}: only age is compared; write ${written}:${value}`);
  } else if (field === "id") takeWord(search, unquoted(value));
  else if (field === "name" || field === "error") search[field] = unquoted(value);
  else if (field === "status") takeWords(search, field, STATUSES, value);
  else if (field === "priority") takeWords(search, field, PRIORITIES, value);
  else if (field === "type" || field === "queue" || field === "worker") search[field].push(...listed(value));
  else if (field === "tag") search.tag.push(...(value.startsWith('"') ? [unquoted(value)] : listed(value)));
  else search.faults.push(`${written}: is no field; known are ${FIELDS.join(", ")}`);
}

function takeWords<K extends "status" | "priority">(
  search: Search,
  field: K,
  known: readonly string[],
  value: string,
): void {
  for (const word of listed(value)) {
    if (known.includes(word)) (search[field] as string[]).push(word);
    else search.faults.push(`${field}: expected one of ${known.join(", ")}, not ${word}`);
  }
}

function takeAge(search: Search, operator: string, value: string): void {
  const seconds = readAge(value);
  if (seconds === null || operator === ":") {
    search.faults.push("age: expected age>10m or age<2h (s, m, h, d, w)");
  } else if (operator === ">") search.olderThan = seconds;
  else search.youngerThan = seconds;
}

/** A hundred years: a moment before the year 1 cannot be told to the API. */
const AGE_MAX = 100 * 365 * 86_400;

/** Seconds of `90`, `10m`, `1.5h`, `2d`; null: it is none of these. */
export function readAge(text: string): number | null {
  const found = /^(\d+(?:\.\d+)?)([smhdw]?)$/.exec(text);
  const seconds = found ? Number(found[1]) * (UNITS[found[2] || "s"] ?? 1) : null;
  return seconds !== null && seconds <= AGE_MAX ? seconds : null;
}

function listed(value: string): string[] {
  return unquoted(value)
    .split(",")
    .filter((word) => word !== "");
}

function unquoted(value: string): string {
  return value.startsWith('"') ? value.slice(1).replace(/"$/, "").replace(/\\(.)/g, "$1") : value;
}

/** The parameters of `GET /tasks`, and the filter of bulk calls; `now` in milliseconds. */
export function filters(search: Search, now: number) {
  const at = (seconds: number | null) =>
    seconds === null ? undefined : new Date(now - seconds * 1000).toISOString();
  const some = <T>(values: T[]) => (values.length ? values : undefined);
  return {
    status: some(search.status),
    type: some(search.type),
    queue: some(search.queue),
    priority: some(search.priority),
    tag: some(search.tag),
    worker_id: some(search.worker),
    name: search.name ?? undefined,
    error: search.error ?? undefined,
    created_before: at(search.olderThan),
    created_after: at(search.youngerThan),
  };
}

/** `text` with the values of `field` in place of those it had; none takes the field away. */
export function withField(text: string, field: string, values: readonly string[]): string {
  const rest = [...text.matchAll(TERM)]
    .filter(([, written = ""]) => (SYNONYMS[written.toLowerCase()] ?? written.toLowerCase()) !== field)
    .map(([term]) => term);
  const quoted = values.map((value) => (/[\s"]/.test(value) ? JSON.stringify(value) : value));
  return [...rest, ...(quoted.length ? [`${field}:${quoted.join(",")}`] : [])].join(" ");
}
