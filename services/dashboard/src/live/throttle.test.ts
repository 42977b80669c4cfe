import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { throttled } from "./throttle";

describe("throttled", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("does it at once, and the last wish at the end of the pause", () => {
    let times = 0;
    const deed = throttled(() => times++, 100);
    deed();
    deed();
    deed();
    expect(times).toBe(1);
    vi.advanceTimersByTime(100);
    expect(times).toBe(2);
    vi.advanceTimersByTime(100);
    expect(times).toBe(2);
    deed();
    expect(times).toBe(3);
  });

  it("forgets what was wished for when it is cancelled", () => {
    let times = 0;
    const deed = throttled(() => times++, 100);
    deed();
    deed();
    deed.cancel();
    vi.advanceTimersByTime(500);
    expect(times).toBe(1);
  });
});
