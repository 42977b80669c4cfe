import { describe, expect, it } from "vitest";
import { blank, itemsAreNumbers, members, type Schema } from "./schema";

const root: Schema = {
  $ref: "#/$defs/Compute",
  $defs: {
    Compute: {
      type: "object",
      properties: {
        operation: { enum: ["sum", "product"] },
        numbers: { type: "array", items: { anyOf: [{ type: "integer" }, { type: "number" }] } },
        place: { $ref: "#/$defs/Place" },
        note: { anyOf: [{ type: "string" }, { type: "null" }], default: null },
        times: { type: "integer", minimum: 0, default: 3 },
        any: {},
        mixed: { anyOf: [{ type: "string" }, { type: "integer" }] },
        many: { type: "array", items: { $ref: "#/$defs/Place" } },
        text: { type: ["string", "null"], maxLength: 5_000 },
      },
      required: ["operation", "numbers", "place"],
    },
    Place: {
      type: "object",
      properties: { x: { type: "number" }, deep: { type: "boolean" } },
      required: ["x"],
    },
  },
};

describe("members", () => {
  it("tells what each is filled in by", () => {
    const kinds = Object.fromEntries((members(root, root) ?? []).map(({ name, kind }) => [name, kind]));
    expect(kinds).toEqual({
      operation: "choice",
      numbers: "list",
      place: "object",
      note: "string",
      times: "integer",
      any: "json",
      mixed: "json",
      many: "json",
      text: "long",
    });
  });

  it("knows what may be left out, and what may be null", () => {
    const [operation, , , note] = members(root, root) ?? [];
    expect([operation?.isRequired, operation?.isNullable]).toEqual([true, false]);
    expect([note?.isRequired, note?.isNullable]).toEqual([false, true]);
  });

  it.each([[{}], [{ type: "string" }], [{ $ref: "#/$defs/Nowhere" }], [{ type: "object" }]])(
    "makes no form of %j",
    (schema) => {
      expect(members(schema, schema)).toBeNull();
    },
  );
});

describe("a blank payload", () => {
  it("has what must be there", () => {
    expect(blank(root, root)).toEqual({ operation: "sum", numbers: [], place: { x: 0 } });
  });
});

it("knows lists of numbers", () => {
  const numbers = members(root, root)?.find(({ name }) => name === "numbers");
  expect(itemsAreNumbers(numbers?.schema ?? {}, root)).toBe(true);
  expect(itemsAreNumbers({ type: "array", items: { type: "string" } }, {})).toBe(false);
});
