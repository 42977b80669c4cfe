import { describe, expect, it } from "vitest";
import { suggestions, taken } from "./suggest";

const known = { type: ["echo", "email", "demo"], queue: ["default"] };

describe("suggestions", () => {
  it.each([
    ["st", ["status:"]],
    ["type:e", ["type:echo", "type:email"]],
    ["type:demo,ec", ["type:demo,echo"]],
    ["x status:f", ["status:failed"]],
    ["age>", ["age>1m", "age>10m", "age>1h"]],
    ["queue:default", []],
    ["tag:any", []],
  ])("%s", (text, offered) => {
    expect(suggestions(text, known)).toEqual(offered);
  });

  it("offers the fields to whoever has written nothing", () => {
    expect(suggestions("", known)).toContain("status:");
  });
});

describe("taken", () => {
  it("replaces the last word", () => {
    expect(taken("a st", "status:")).toBe("a status:");
    expect(taken("type:e", "type:echo")).toBe("type:echo ");
  });
});
