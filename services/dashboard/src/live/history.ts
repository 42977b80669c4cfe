/** What is kept of the history of a task. Pure. */

import type { Schemas } from "../api/client";

/** A task that says something a thousand times does not make the page longer for ever; its moves are all kept. */
const EVENTS_MAX = 5_000;

export interface HistoryEvent {
  seq: number;
  at: string;
  event: Schemas["TaskEvent"]["event"];
  status: string | null;
  data: Record<string, unknown>;
}

/** Let the oldest go of what it said, if there is too much. */
export function forget(known: Map<number, HistoryEvent>, most = EVENTS_MAX): void {
  for (const [seq, { event }] of known) {
    if (known.size <= most) return;
    if (event !== "task") known.delete(seq);
  }
}
