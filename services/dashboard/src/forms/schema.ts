/** The parts of JSON Schema that payload forms are made of. Pure; what is not understood is written as JSON by hand. */

export interface Schema {
  $ref?: string;
  $defs?: Record<string, Schema>;
  title?: string;
  description?: string;
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  format?: string;
}

export type Kind =
  "object" | "string" | "long" | "number" | "integer" | "boolean" | "choice" | "list" | "json";

export interface Member {
  name: string;
  kind: Kind;
  schema: Schema;
  isRequired: boolean;
  /** It may be null, or left out. */
  isNullable: boolean;
}

const LONG_CHARS = 200;

/** `schema` with its reference followed; a reference to nowhere means anything. */
export function resolved(schema: Schema, root: Schema): Schema {
  if (!schema.$ref) return schema;
  const name = /^#\/\$defs\/(.+)$/.exec(schema.$ref)?.[1];
  return (name && root.$defs?.[name]) || {};
}

/** The members of an object's schema, in its order; null: it is not one that a form can be made of. */
export function members(schema: Schema, root: Schema): Member[] | null {
  const found = resolved(schema, root);
  if (found.type !== "object" || !found.properties) return null;
  const required = new Set(found.required ?? []);
  return Object.entries(found.properties).map(([name, written]) => {
    const { schema: inner, isNullable } = withoutNull(resolved(written, root), root);
    const merged = {
      ...inner,
      default: written.default,
      description: written.description ?? inner.description,
    };
    return { name, kind: kindOf(inner, root), schema: merged, isRequired: required.has(name), isNullable };
  });
}

function withoutNull(schema: Schema, root: Schema): { schema: Schema; isNullable: boolean } {
  const options = schema.anyOf ?? schema.oneOf;
  if (options) {
    const rest = options.map((option) => resolved(option, root)).filter(({ type }) => type !== "null");
    const isNullable = rest.length < options.length;
    if (rest.length === 1 && rest[0]) return { schema: rest[0], isNullable };
    if (rest.length > 1 && rest.every(isNumber)) return { schema: { type: "number" }, isNullable };
    return { schema: {}, isNullable };
  }
  if (!Array.isArray(schema.type)) return { schema, isNullable: false };
  const types = schema.type.filter((type) => type !== "null");
  return { schema: { ...schema, type: types[0] ?? "null" }, isNullable: types.length < schema.type.length };
}

function kindOf(schema: Schema, root: Schema): Kind {
  if (schema.enum) return "choice";
  if (isNumber(schema)) return schema.type as Kind;
  if (schema.type === "boolean") return "boolean";
  if (schema.type === "string") return (schema.maxLength ?? 0) > LONG_CHARS ? "long" : "string";
  if (
    schema.type === "array" &&
    schema.items &&
    isPlain(withoutNull(resolved(schema.items, root), root).schema)
  )
    return "list";
  if (members(schema, root)) return "object";
  return "json";
}

function isNumber({ type }: Schema): boolean {
  return type === "number" || type === "integer";
}

function isPlain(schema: Schema): boolean {
  return isNumber(schema) || schema.type === "string";
}

/** Whether the items of a list are numbers. */
export function itemsAreNumbers(schema: Schema, root: Schema): boolean {
  return schema.items !== undefined && isNumber(withoutNull(resolved(schema.items, root), root).schema);
}

/** The value that a form begins with: what must be there, and nothing else. */
export function blank(schema: Schema, root: Schema): Record<string, unknown> {
  const value: Record<string, unknown> = {};
  for (const member of members(schema, root) ?? []) {
    if (member.isRequired) value[member.name] = beginning(member, root);
  }
  return value;
}

function beginning({ kind, schema, isNullable }: Member, root: Schema): unknown {
  if (schema.default !== undefined) return schema.default;
  if (kind === "choice") return schema.enum?.[0];
  if (isNullable) return null;
  const empty = {
    object: blank(schema, root),
    string: "",
    long: "",
    number: 0,
    integer: 0,
    boolean: false,
    list: [],
    json: null,
  };
  return kind in empty ? empty[kind as keyof typeof empty] : null;
}
