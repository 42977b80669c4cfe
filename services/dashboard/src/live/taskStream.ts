/** The history of one task, live: every event has a number, so none is missed and none comes twice. */

import { useEffect, useState, useSyncExternalStore } from "react";
import { forget, type HistoryEvent } from "./history";
import { follow } from "./sse";

const GATHER_MS = 50;

/** The events of a task so far. `round`: raise it to follow a task again that had ended. */
export function useTaskStream(id: string, round: number): HistoryEvent[] {
  const [events, setEvents] = useState<HistoryEvent[]>([]);
  const [known] = useState(() => new Map<number, HistoryEvent>());
  const isSeen = useIsSeen();
  // round: a new round follows the same task anew
  useEffect(() => {
    const ending = new AbortController();
    if (!isSeen) return undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const show = () => {
      timer = undefined;
      forget(known);
      setEvents([...known.values()]);
    };
    follow({
      url: `/api/v1/tasks/${id}/events?last_event_id=0`,
      after: String([...known.keys()].at(-1) ?? ""),
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
  }, [id, round, isSeen, known]);
  return events;
}

/** A page that nobody sees gives its connection back: a browser has six to an origin. */
function useIsSeen(): boolean {
  return useSyncExternalStore(
    (changed) => {
      document.addEventListener("visibilitychange", changed);
      return () => document.removeEventListener("visibilitychange", changed);
    },
    () => document.visibilityState === "visible",
  );
}
