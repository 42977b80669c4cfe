/** A form for an object that a JSON Schema describes. */

import { useState } from "react";
import { Field } from "../ui/field";
import { itemsAreNumbers, type Member, members, type Schema } from "./schema";

type Value = Record<string, unknown>;

interface Props {
  schema: Schema;
  root: Schema;
  value: Value;
  onChange(value: Value): void;
  /** What the API said of the member at this JSON Pointer. */
  faultAt(pointer: string): string | undefined;
  pointer: string;
}

export function SchemaForm({ schema, root, value, onChange, faultAt, pointer }: Props) {
  const set = (name: string, next: unknown) => {
    const all = Object.entries({ ...value, [name]: next });
    onChange(Object.fromEntries(all.filter(([, member]) => member !== undefined)));
  };
  return (
    <div className="stack">
      {(members(schema, root) ?? []).map((member) => {
        const at = `${pointer}/${member.name}`;
        if (member.kind === "object") {
          return (
            <fieldset key={member.name}>
              <legend>{label(member)}</legend>
              <SchemaForm
                schema={member.schema}
                root={root}
                value={(value[member.name] as Value) ?? {}}
                onChange={(next) => set(member.name, next)}
                faultAt={faultAt}
                pointer={at}
              />
            </fieldset>
          );
        }
        return (
          <Field key={member.name} label={label(member)} hint={hint(member, root)} fault={faultAt(at)}>
            <Input
              member={member}
              root={root}
              value={value[member.name]}
              onChange={(next) => set(member.name, next)}
            />
          </Field>
        );
      })}
    </div>
  );
}

function label({ name, isRequired }: Member): string {
  return isRequired ? name : `${name} (optional)`;
}

function hint({ schema, kind }: Member, root: Schema): string | undefined {
  const told = [
    schema.description,
    kind === "list" ? `one ${itemsAreNumbers(schema, root) ? "number" : "text"} a line` : null,
    kind === "json" ? "JSON" : null,
    schema.minimum !== undefined ? `at least ${schema.minimum}` : null,
    schema.maximum !== undefined ? `at most ${schema.maximum}` : null,
    schema.default !== undefined && schema.default !== null
      ? `default ${JSON.stringify(schema.default)}`
      : null,
  ].filter(Boolean);
  return told.length ? told.join("; ") : undefined;
}

interface InputProps {
  member: Member;
  root: Schema;
  value: unknown;
  onChange(value: unknown): void;
}

/** The control of one member; emptied, it is left out. The attributes of `Field` are passed on. */
function Input({ member, root, value, onChange, ...rest }: InputProps) {
  const { kind, schema, isRequired } = member;
  switch (kind) {
    case "choice":
      return (
        <Choice
          {...rest}
          options={schema.enum ?? []}
          value={value}
          isOptional={!isRequired}
          onChange={onChange}
        />
      );
    case "boolean":
      return (
        <Choice
          {...rest}
          options={[true, false]}
          value={value}
          isOptional={!isRequired}
          onChange={onChange}
        />
      );
    case "number":
    case "integer":
      return (
        <input
          {...rest}
          type="number"
          step={kind === "integer" ? 1 : "any"}
          min={schema.minimum}
          max={schema.maximum}
          value={typeof value === "number" ? value : ""}
          onChange={({ target }) => onChange(target.value === "" ? undefined : Number(target.value))}
        />
      );
    case "list":
      return <Lines {...rest} value={value} areNumbers={itemsAreNumbers(schema, root)} onChange={onChange} />;
    case "json":
      return <Written {...rest} value={value} onChange={onChange} />;
    default:
      return (
        <Text {...rest} isLong={kind === "long"} value={value} isRequired={isRequired} onChange={onChange} />
      );
  }
}

interface ChoiceProps {
  options: unknown[];
  value: unknown;
  isOptional: boolean;
  onChange(value: unknown): void;
}

function Choice({ options, value, isOptional, onChange, ...rest }: ChoiceProps) {
  const at = options.indexOf(value);
  return (
    <select {...rest} value={at} onChange={({ target }) => onChange(options[Number(target.value)])}>
      {(isOptional || at < 0) && <option value={-1}>not given</option>}
      {options.map((option, index) => (
        <option key={String(option)} value={index}>
          {String(option)}
        </option>
      ))}
    </select>
  );
}

interface TextProps {
  isLong: boolean;
  value: unknown;
  isRequired: boolean;
  onChange(value: unknown): void;
}

function Text({ isLong, value, isRequired, onChange, ...rest }: TextProps) {
  const shared = {
    ...rest,
    value: typeof value === "string" ? value : "",
    onChange: ({ target }: { target: { value: string } }) =>
      onChange(target.value === "" && !isRequired ? undefined : target.value),
  };
  return isLong ? <textarea {...shared} /> : <input {...shared} />;
}

interface LinesProps {
  value: unknown;
  areNumbers: boolean;
  onChange(value: unknown): void;
}

function Lines({ value, areNumbers, onChange, ...rest }: LinesProps) {
  const [text, setText] = useState(() => (Array.isArray(value) ? value.join("\n") : ""));
  const read = (written: string) => {
    setText(written);
    const lines = written.split("\n").filter((line) => line.trim() !== "");
    // What is no number is sent as it is, and the API says so.
    onChange(lines.map((line) => (areNumbers && !Number.isNaN(Number(line)) ? Number(line) : line)));
  };
  return <textarea {...rest} rows={3} value={text} onChange={({ target }) => read(target.value)} />;
}

function Written({ value, onChange, ...rest }: { value: unknown; onChange(value: unknown): void }) {
  const [text, setText] = useState(() => (value === undefined ? "" : JSON.stringify(value, null, 2)));
  const [isWrong, setWrong] = useState(false);
  const read = (written: string) => {
    setText(written);
    try {
      onChange(written.trim() === "" ? undefined : JSON.parse(written));
      setWrong(false);
    } catch {
      setWrong(true);
    }
  };
  return (
    <textarea
      {...rest}
      rows={3}
      spellCheck={false}
      aria-invalid={isWrong || undefined}
      value={text}
      onChange={({ target }) => read(target.value)}
    />
  );
}
