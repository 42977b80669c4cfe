/** Deeds on many: what would match, and the operation that does it. */

import { api, body, type Schemas } from "./client";

export type Action = "cancel" | "retry" | "replay" | "discard";
export type Filter = Record<string, string | string[] | undefined>;

const PATHS = {
  cancel: "/api/v1/tasks/cancel",
  retry: "/api/v1/tasks/retry",
  replay: "/api/v1/dead-letters/replay",
  discard: "/api/v1/dead-letters/discard",
} as const;

export interface Preview {
  matched: number;
  by_type: Record<string, number>;
  sample: { id: string; type: string; status: string }[];
}

export interface Plan {
  filter: Filter;
  all: boolean;
  rate_per_second: number;
  reason: string | null;
  canary?: { first: number; stop_if_failed: number };
}

/** How many match, of which types, and some of them. Nothing is changed. */
export function look(action: Action, filter: Filter, all: boolean): Promise<Preview> {
  return post(action, { filter, all, dry_run: true }) as Promise<Preview>;
}

export function submit(action: Action, plan: Plan): Promise<Schemas["Operation"]> {
  return post(action, { ...plan, dry_run: false }) as Promise<Schemas["Operation"]>;
}

/** The four calls take the same members; their filters differ, and what is wrong with one the API tells. */
function post(action: Action, wish: object): Promise<unknown> {
  const path = PATHS[action] as (typeof PATHS)["cancel"];
  return body(api.POST(path, { body: wish as Schemas["BulkCancel"] }));
}
