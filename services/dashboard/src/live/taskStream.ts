/** The history of one task, live: every event has a number, so none is missed and none comes twice. */

import { useEffect, useState } from "react";
import type { Schemas } from "../api/client";
import { follow } from "./sse";

/** A task that reports progress a thousand times does not make the page longer for ever. */
const EVENTS_MAX = 5_000;
const GATHER_MS = 50;

export interface HistoryEvent {
  seq: number;
  at: string;
  event: Schemas["TaskEvent"]["event"];
  status: string | null;
  data: Record<string, unknown>;
}

/** The events of a task so far. `round`: raise it to follow a task again that had ended. */
export function useTaskStream(id: string, round: number): HistoryEvent[] {
  const [events, setEvents] = useState<HistoryEvent[]>([]);
  // biome-ignore lint/correctness/useExhaustiveDependencies(round): a new round follows the same task anew
  useEffect(() => {
    const ending = new AbortController();
    const known = new Map<number, HistoryEvent>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const show = () => {
      timer = undefined;
      setEvents([...known.values()].slice(-EVENTS_MAX));
    };
    follow({
      url: `/api/v1/tasks/${id}/events?last_event_id=0`,
      signal: ending.signal,
      onEvent({ data }) {
        const event = JSON.parse(data) as HistoryEvent;
        known.set(event.seq, event);
        timer ??= setTimeout(show, GATHER_MS);
      },
    }).catch(() => undefined); // the task's own query tells why it cannot be read
    return () => {
      ending.abort();
      clearTimeout(timer);
    };
  }, [id, round]);
  return events;
}
