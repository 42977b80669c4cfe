import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { type Action, type Filter, look, submit } from "../api/bulk";
import { tell } from "../api/problem";
import { Dialog } from "./dialog";
import { Check, Field } from "./field";
import { plural } from "./format";
import { Button, Note, ShortId, Status } from "./parts";
import { complain } from "./toast";

interface Props {
  action: Action;
  filter: Filter;
  /** What the filter says, in words. */
  said: string;
  onClose(): void;
}

const VERBS: Record<Action, string> = {
  cancel: "Cancel",
  retry: "Retry",
  replay: "Replay",
  discard: "Discard",
};
const HAS_CANARY: readonly Action[] = ["replay", "retry"];
const NOUNS: Record<Action, string> = {
  cancel: "task",
  retry: "task",
  replay: "dead letter",
  discard: "dead letter",
};

/** What would be done to how many, and then it is done: at a rate, with a canary first where that makes sense. */
export function BulkDialog({ action, filter, said, onClose }: Props) {
  const [, go] = useLocation();
  const isAll = Object.values(filter).every((value) => value === undefined);
  const preview = useQuery({
    queryKey: ["bulk", action, filter],
    queryFn: () => look(action, filter, isAll),
    staleTime: 0,
    gcTime: 0,
    retry: false,
  });
  const [reason, setReason] = useState("");
  const [rate, setRate] = useState("100");
  const [isCanary, setCanary] = useState(action === "replay");
  const [first, setFirst] = useState("5");
  const [isBusy, setBusy] = useState(false);
  const matched = preview.data?.matched ?? 0;
  const begin = async () => {
    setBusy(true);
    try {
      const canary = isCanary ? { first: Number(first), stop_if_failed: 0 } : undefined;
      const made = await submit(action, {
        filter,
        all: isAll,
        rate_per_second: Number(rate),
        reason: reason.trim() || null,
        ...(canary ? { canary } : {}),
      });
      onClose();
      go(`/operations/${made.id}`);
    } catch (error) {
      complain(error);
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={`${VERBS[action]} ${said}`}
      onClose={onClose}
      onSubmit={() => matched > 0 && !isBusy && void begin()}
      actions={
        <Button type="submit" kind="primary" disabled={matched === 0 || isBusy}>
          {VERBS[action]} {matched > 0 ? matched : ""}
        </Button>
      }
    >
      {preview.isPending && <p aria-busy="true">Counting what matches…</p>}
      {preview.error && <Note tone="bad">{tell(preview.error)}</Note>}
      {preview.data && <Preview of={preview.data} noun={NOUNS[action]} />}
      <Field label="Reason" hint="For the audit log and the history of each task">
        <input value={reason} maxLength={500} onChange={(event) => setReason(event.target.value)} />
      </Field>
      <div className="fields">
        <Field label="At most a second">
          <input
            type="number"
            min={0.1}
            max={10_000}
            step="any"
            value={rate}
            onChange={(event) => setRate(event.target.value)}
          />
        </Field>
        {HAS_CANARY.includes(action) && isCanary && (
          <Field label="Canary" hint="So many first; the rest only if none of them fails">
            <input
              type="number"
              min={1}
              max={10_000}
              value={first}
              onChange={(event) => setFirst(event.target.value)}
            />
          </Field>
        )}
      </div>
      {HAS_CANARY.includes(action) && (
        <Check label="Try a few first (canary)" checked={isCanary} onChange={setCanary} />
      )}
    </Dialog>
  );
}

function Preview({ of, noun }: { of: Awaited<ReturnType<typeof look>>; noun: string }) {
  return (
    <>
      <p role="status">
        <b>{plural(of.matched, noun)}</b> would be touched:{" "}
        {Object.entries(of.by_type)
          .map(([type, number]) => `${number} ${type}`)
          .join(", ") || "none"}
      </p>
      {of.sample.length > 0 && (
        <ul className="stack small">
          {of.sample.slice(0, 5).map((one) => (
            <li key={one.id} className="row">
              <Status of={one.status} />
              {one.type}
              <ShortId id={one.id} />
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
