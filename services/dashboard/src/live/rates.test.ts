import { describe, expect, it } from "vitest";
import type { FeedEvent } from "./feed";
import { Rates, SECONDS } from "./rates";

const event = (status: string, kind: FeedEvent["kind"] = "task") => ({ kind, status }) as FeedEvent;

describe("rates", () => {
  it("counts moves by second, and forgets them after a minute", () => {
    const rates = new Rates();
    rates.add(
      { events: [event("running"), event("running"), event("cancelled"), event("running", "log")] },
      1_000,
    );
    rates.add({ events: [event("completed")] }, 1_001);
    const { at, lines } = rates.read(1_001);
    expect(at).toHaveLength(SECONDS);
    expect(at.at(-1)).toBe(1_001);
    expect(lines.running.slice(-2)).toEqual([2, 0]);
    expect(lines.completed.slice(-2)).toEqual([0, 1]);
    rates.add({ events: [] }, 1_000 + SECONDS);
    expect(rates.read(1_001).lines.running.at(-2)).toBe(0);
  });
});
