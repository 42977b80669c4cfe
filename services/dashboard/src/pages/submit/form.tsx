import { useState } from "react";
import { useLocation } from "wouter";
import { type Schemas, text } from "../../api/client";
import { Problem, tell } from "../../api/problem";
import { fault } from "../../api/raw";
import { SchemaForm } from "../../forms/form";
import { blank, members, type Schema } from "../../forms/schema";
import { Field } from "../../ui/field";
import { Button, Card, Copy, Note } from "../../ui/parts";
import { say } from "../../ui/toast";
import { bodyOf, curlOf, type Draft, EMPTY } from "./draft";

interface Props {
  begin: Draft;
  types: Schemas["TypeInfo"][];
}

/** The form of a task: its payload by the schema of its type, or as JSON by hand. */
export function SubmitForm({ begin, types }: Props) {
  const [draft, setDraft] = useState(() => ({
    ...begin,
    payload: begun(begin, schemaOf(types, begin.type)),
  }));
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const [, go] = useLocation();
  const set = (change: Partial<Draft>) => setDraft((known) => ({ ...known, ...change }));
  const schema = schemaOf(types, draft.type);
  const wrongJson = fault(draft.payload);
  const submit = async () => {
    setBusy(true);
    setProblem(null);
    try {
      const key = draft.idempotencyKey.trim();
      const headers = { "content-type": "application/json", ...(key ? { "idempotency-key": key } : {}) };
      const made = JSON.parse(await text("/api/v1/tasks", { method: "POST", headers, body: bodyOf(draft) }));
      say(`Task ${made.id.slice(0, 8)}… is accepted`);
      go(`/tasks/${made.id}`);
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, "unknown", tell(error)));
    } finally {
      setBusy(false);
    }
  };
  const faultAt = (pointer: string) => problem?.at(pointer);
  return (
    <form
      className="columns"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        if (!isBusy && !wrongJson) void submit();
      }}
    >
      <Card title="What">
        <div className="stack">
          {problem && <Note tone="bad">{tell(problem)}</Note>}
          <TypeField draft={draft} types={types} set={set} fault={faultAt("/type")} />
          <Payload
            key={draft.type}
            schema={schema}
            draft={draft}
            set={set}
            faultAt={faultAt}
            wrong={wrongJson}
          />
        </div>
      </Card>
      <div className="stack">
        <Card title="How">
          <Options draft={draft} set={set} faultAt={faultAt} />
        </Card>
        <div className="row">
          <Button
            type="submit"
            kind="primary"
            disabled={isBusy || wrongJson !== null || draft.type.trim() === ""}
          >
            Submit
          </Button>
          <span className="muted small">
            The same by hand <Copy text={curlOf(draft, window.location.origin)} what="as curl" />
          </span>
        </div>
      </div>
    </form>
  );
}

function schemaOf(types: Props["types"], type: string): Schema | null {
  return (types.find(({ name }) => name === type)?.schema as Schema | null | undefined) ?? null;
}

/** The payload that is there; in place of an empty one what the schema wants at least. */
function begun({ payload }: Draft, schema: Schema | null): string {
  const isEmpty = payload.trim() === "{}" || payload.trim() === "";
  return schema && isEmpty ? JSON.stringify(blank(schema, schema), null, 2) : payload;
}

type Set = (change: Partial<Draft>) => void;

function TypeField({
  draft,
  types,
  set,
  fault,
}: {
  draft: Draft;
  types: Props["types"];
  set: Set;
  fault?: string;
}) {
  const take = (type: string) => {
    // What only the form of the type before has put there gives way to that of the next one.
    const isUntouched = draft.payload === begun(EMPTY, schemaOf(types, draft.type));
    set({ type, payload: begun(isUntouched ? EMPTY : draft, schemaOf(types, type)) });
  };
  const isKnown = types.some(({ name }) => name === draft.type);
  return (
    <>
      <Field
        label="Type"
        fault={fault}
        hint={
          draft.type && !isKnown ? "No live worker declares it: the task waits until one does" : undefined
        }
      >
        <input
          list="known-types"
          autoComplete="off"
          required
          value={draft.type}
          onChange={(event) => take(event.target.value)}
        />
      </Field>
      <datalist id="known-types">
        {types.map(({ name }) => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </>
  );
}

interface PayloadProps {
  schema: Schema | null;
  draft: Draft;
  set: Set;
  faultAt(pointer: string): string | undefined;
  wrong: string | null;
}

/** By form or by hand; what is written by hand is kept as it is. */
function Payload({ schema, draft, set, faultAt, wrong }: PayloadProps) {
  const canForm = schema !== null && members(schema, schema) !== null;
  const isFormed =
    canForm &&
    isObject(draft.payload) &&
    JSON.stringify(JSON.parse(draft.payload), null, 2) === draft.payload;
  const [byHand, setByHand] = useState(!isFormed);
  return (
    <>
      {canForm && (
        <div className="tabs" role="group" aria-label="How the payload is written">
          <button
            type="button"
            aria-pressed={!byHand}
            disabled={!isObject(draft.payload)}
            onClick={() => setByHand(false)}
          >
            Form
          </button>
          <button type="button" aria-pressed={byHand} onClick={() => setByHand(true)}>
            JSON
          </button>
        </div>
      )}
      {schema && canForm && !byHand ? (
        <SchemaForm
          schema={schema}
          root={schema}
          value={JSON.parse(draft.payload)}
          onChange={(value) => set({ payload: JSON.stringify(value, null, 2) })}
          faultAt={faultAt}
          pointer="/payload"
        />
      ) : (
        <Field
          label="Payload"
          hint="Any JSON; it is kept as it is written"
          fault={wrong ?? faultAt("/payload")}
        >
          <textarea
            rows={14}
            spellCheck={false}
            value={draft.payload}
            onChange={(event) => set({ payload: event.target.value })}
          />
        </Field>
      )}
    </>
  );
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

function Options({ draft, set, faultAt }: { draft: Draft; set: Set; faultAt: PayloadProps["faultAt"] }) {
  const text = (name: keyof Draft & string, label: string, pointer: string, hint?: string, type = "text") => (
    <Field label={label} hint={hint} fault={faultAt(pointer)}>
      <input
        type={type}
        step="any"
        min={0}
        value={draft[name] as string}
        onChange={(event) => set({ [name]: event.target.value })}
      />
    </Field>
  );
  return (
    <div className="fields">
      {text("queue", "Queue", "/queue", "default, if none is named")}
      <Field label="Priority" fault={faultAt("/priority")}>
        <select value={draft.priority} onChange={(event) => set({ priority: event.target.value })}>
          {["critical", "high", "normal", "low"].map((lane) => (
            <option key={lane}>{lane}</option>
          ))}
        </select>
      </Field>
      {text("name", "Name", "/name")}
      {text("tags", "Tags", "/tags", "with commas between")}
      {text("delaySeconds", "Delay", "/delay_seconds", "seconds", "number")}
      {text("maxAttempts", "Attempts", "/max_attempts", "at most", "number")}
      {text("timeoutSeconds", "Timeout", "/timeout_seconds", "seconds an attempt", "number")}
      {text("idempotencyKey", "Idempotency key", "", "a second submit with it makes no second task")}
    </div>
  );
}
