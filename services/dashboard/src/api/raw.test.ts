import { describe, expect, it } from "vitest";
import { fault, member, pretty } from "./raw";

describe("member", () => {
  it.each([
    ['{"a":1,"payload":{"n":1e400,"n":2}}', '{"n":1e400,"n":2}'],
    [
      '{ "x" : [ "}" , "\\"payload\\"" ] , "payload" : 100000000000000000000000 }',
      "100000000000000000000000",
    ],
    ['{"payload":"a\\\\"}', '"a\\\\"'],
    ['{"pay\\u006coad":null}', "null"],
    ['{"payload":[]}', "[]"],
  ])("is cut out of %s as it is written", (text, found) => {
    expect(member(text, "payload")).toBe(found);
  });

  it("is not looked for inside of other members", () => {
    expect(member('{"error":{"payload":1}}', "payload")).toBeUndefined();
    expect(member("{}", "payload")).toBeUndefined();
  });
});

describe("pretty", () => {
  it.each([[{ a: [1, "x,}", {}], b: null }], [[]], ["text"], [{ "": { c: [[1], [2, 3]] } }], [12.5]])(
    "lays %j out as JSON.stringify does",
    (value) => {
      expect(pretty(JSON.stringify(value))).toBe(JSON.stringify(value, null, 2));
    },
  );

  it("keeps numbers and doubled keys", () => {
    expect(pretty('{"n":1e400,"n":10000000000000000000000001}')).toBe(
      '{\n  "n": 1e400,\n  "n": 10000000000000000000000001\n}',
    );
  });

  it("ends for text that is no JSON", () => {
    expect(pretty('{"a": ]] "open')).toContain('"open');
  });
});

describe("fault", () => {
  it("tells what is wrong", () => {
    expect(fault("{}")).toBeNull();
    expect(fault("{a")).toMatch(/JSON/);
  });
});
