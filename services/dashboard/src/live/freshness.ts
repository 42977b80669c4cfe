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
let returning: ReturnType<typeof setTimeout> | undefined;
const listeners = new Set<() => void>();
const UNREACHED = new Set([502, 503, 504]);
/** So long nothing may fail before the API counts as back: where half of the calls fail, it is not. */
const CALM_MS = 1_000;

/** The API answered with `status`; a proxy in front of a dead one answers too. */
export function heard(status = 200): void {
  if (UNREACHED.has(status)) {
    lost();
    return;
  }
  lastHeard = Date.now();
  if (!current.away || returning !== undefined) return;
  returning = setTimeout(() => {
    returning = undefined;
    become({ away: false, since: lastHeard });
  }, CALM_MS);
}

/** The API could not be reached, or cannot serve. */
export function lost(): void {
  clearTimeout(returning);
  returning = undefined;
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
