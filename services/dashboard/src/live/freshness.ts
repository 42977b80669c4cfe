/**
 * How fresh what the page shows is. The API is *away* from the first call or stream that cannot reach it until one does;
 * `since` is when it was last heard of.
 */

import { useSyncExternalStore } from "react";

export interface Freshness {
  away: boolean;
  /** Milliseconds since the epoch. */
  since: number;
}

let current: Freshness = { away: false, since: Date.now() };
let lastHeard = Date.now();
const listeners = new Set<() => void>();
const UNREACHED = new Set([502, 503, 504]);

/** The API answered with `status`; a proxy in front of a dead one answers too. */
export function heard(status = 200): void {
  if (UNREACHED.has(status)) {
    lost();
    return;
  }
  lastHeard = Date.now();
  if (current.away) become({ away: false, since: lastHeard });
}

/** The API could not be reached. */
export function lost(): void {
  if (!current.away) become({ away: true, since: lastHeard });
}

export function isAway(): boolean {
  return current.away;
}

export function onFreshness(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useFreshness(): Freshness {
  return useSyncExternalStore(onFreshness, () => current);
}

function become(next: Freshness): void {
  current = next;
  for (const listener of listeners) listener();
}
