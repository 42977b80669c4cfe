import { describe, expect, it } from "vitest";
import { filters, parse, readAge, withField } from "./grammar";

const NOW = Date.parse("2026-01-01T12:00:00Z");
const told = (text: string) =>
  Object.fromEntries(Object.entries(filters(parse(text), NOW)).filter(([, value]) => value !== undefined));

describe("a search", () => {
  it.each([
    ["type:echo status:failed tag:x", { type: ["echo"], status: ["failed"], tag: ["x"] }],
    ["type:a,b queue:mail", { type: ["a", "b"], queue: ["mail"] }],
    ["tag:x tag:y", { tag: ["x", "y"] }],
    ['tag:"two words"', { tag: ["two words"] }],
    ["age>10m", { created_before: "2026-01-01T11:50:00.000Z" }],
    ["age<1.5h", { created_after: "2026-01-01T10:30:00.000Z" }],
    ["error:timeout lane:high", { error: "timeout", priority: ["high"] }],
    ['nightly "report of May"', { name: "nightly report of May" }],
    ["state:running worker:01a2", { status: ["running"], worker_id: ["01a2"] }],
    ["", {}],
    ["STATUS:failed", { status: ["failed"] }],
  ])("%s", (text, expected) => {
    expect(parse(text).faults).toEqual([]);
    expect(told(text)).toEqual(expected);
  });

  it("opens a task by its id", () => {
    const id = "01a20c64-0de8-7182-85f5-25c92d8240c3";
    expect(parse(id.toUpperCase()).id).toBe(id);
    expect(parse(`id:${id}`).id).toBe(id);
  });

  it.each(["status:borken", "age:10m", "age>ten", "age>999999w", "type>3", "colour:red", "type:"])(
    "%s is told to be wrong",
    (text) => {
      expect(parse(text).faults).toHaveLength(1);
    },
  );

  it("says which fields there are", () => {
    expect(parse("colour:red").faults[0]).toContain("status, type, queue");
  });
});

describe("readAge", () => {
  it.each([
    ["90", 90],
    ["10m", 600],
    ["2d", 172_800],
    ["1.5h", 5_400],
    ["", null],
    ["5y", null],
  ])("%s", (text, seconds) => {
    expect(readAge(text)).toBe(seconds);
  });
});

describe("withField", () => {
  it("replaces, adds and takes away", () => {
    expect(withField("status:failed type:echo", "status", ["queued"])).toBe("type:echo status:queued");
    expect(withField("type:echo", "tag", ["a b"])).toBe('type:echo tag:"a b"');
    expect(withField("type:echo status:failed", "status", [])).toBe("type:echo");
    expect(withField("STATE:failed echo", "status", ["queued"])).toBe("echo status:queued");
  });
});
