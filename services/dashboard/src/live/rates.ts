/** Events a second of the last minute, counted as they come in. */

import type { FeedNews } from "./feed";

export const SECONDS = 60;
export const COUNTED = ["queued", "running", "completed", "failed"] as const;
export type Counted = (typeof COUNTED)[number];
export type Counts = Record<Counted, number>;

/** Counts by second, the oldest first. Pure but for what it holds. */
export class Rates {
  #counts = new Map<number, Counts>();

  add(news: Pick<FeedNews, "events">, second: number): void {
    for (const { kind, status } of news.events) {
      if (kind !== "task" || !(COUNTED as readonly string[]).includes(status)) continue;
      const counts = this.#counts.get(second) ?? { queued: 0, running: 0, completed: 0, failed: 0 };
      counts[status as Counted] += 1;
      this.#counts.set(second, counts);
    }
    for (const known of this.#counts.keys()) if (known <= second - SECONDS) this.#counts.delete(known);
  }

  /** A minute up to `second`, which is not over yet and stands last. */
  read(second: number): { at: number[]; lines: Record<Counted, number[]> } {
    const at = Array.from({ length: SECONDS }, (_, index) => second - SECONDS + 1 + index);
    const lines = Object.fromEntries(
      COUNTED.map((name) => [name, at.map((one) => this.#counts.get(one)?.[name] ?? 0)]),
    ) as Record<Counted, number[]>;
    return { at, lines };
  }
}
