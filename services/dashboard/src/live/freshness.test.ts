import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { heard, isAway, lost, onFreshness } from "./freshness";

describe("freshness", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => {
    heard();
    vi.runAllTimers();
    vi.useRealTimers();
  });

  it("is lost at once, and back when nothing fails any more", () => {
    let changes = 0;
    const unlisten = onFreshness(() => changes++);
    lost();
    lost();
    expect([isAway(), changes]).toEqual([true, 1]);
    heard();
    expect(isAway()).toBe(true);
    vi.advanceTimersByTime(1_000);
    expect([isAway(), changes]).toEqual([false, 2]);
    unlisten();
  });

  it("is not back while half of the calls fail", () => {
    heard(503);
    for (let times = 0; times < 10; times++) {
      heard();
      vi.advanceTimersByTime(500);
      heard(503);
      vi.advanceTimersByTime(500);
    }
    expect(isAway()).toBe(true);
  });

  it.each([200, 404, 409, 422, 500])("an answer of %i is one", (status) => {
    heard(status);
    expect(isAway()).toBe(false);
  });
});
