/** Times that stay true while they are looked at. */

import { useSyncExternalStore } from "react";
import { age, moment } from "./format";

const listeners = new Set<() => void>();
let now = Date.now();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    now = Date.now();
    for (const tick of listeners) tick();
  }, 1_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size) return;
    clearInterval(timer);
    timer = undefined;
  };
}

/** Milliseconds since the epoch, a new one each second. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => now);
}

/** How long ago, with the exact moment when one asks for it. */
export function Ago({ at }: { at: string | null | undefined }) {
  const today = useNow();
  if (!at) return <span className="muted">–</span>;
  return (
    <time dateTime={at} title={moment(at)} className="nowrap">
      {age((Math.max(today, Date.now()) - Date.parse(at)) / 1000)}
    </time>
  );
}

export function Moment({ at }: { at: string | null | undefined }) {
  return at ? (
    <time dateTime={at} title={at} className="mono">
      {moment(at)}
    </time>
  ) : (
    <span className="muted">–</span>
  );
}
