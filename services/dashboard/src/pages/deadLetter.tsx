import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useLocation } from "wouter";
import { api, body, text as call, type Schemas } from "../api/client";
import { letter as letterQuery } from "../api/queries";
import { fault, member, pretty } from "../api/raw";
import { useMay } from "../api/who";
import { useShortcuts } from "../keys";
import { useAct } from "../ui/act";
import { Dialog } from "../ui/dialog";
import { Check, Field } from "../ui/field";
import { duration } from "../ui/format";
import { Button, Card, Facts, PageHead, ShortId, Status } from "../ui/parts";
import { Loaded } from "../ui/query";
import { Moment } from "../ui/time";
import { Json } from "./task/json";

type Letter = Schemas["DeadLetterDetail"];

/** One letter: what went wrong in each attempt, and the choice to try again or to let it be. */
export default function DeadLetter({ id }: { id: string }) {
  const query = useQuery(letterQuery(id));
  return (
    <Loaded query={query}>
      {(text) => <Shown letter={JSON.parse(text) as Letter} payload={member(text, "payload") ?? "null"} />}
    </Loaded>
  );
}

function Shown({ letter, payload }: { letter: Letter; payload: string }) {
  return (
    <>
      <PageHead
        title={`Dead letter: ${letter.type}`}
        about={
          <span className="row">
            <Status of={letter.status} />
            <span className="mono">{letter.id}</span>
          </span>
        }
      >
        {letter.status === "pending" && <Decisions letter={letter} payload={payload} />}
      </PageHead>
      <Card title={letter.error?.type ?? "Why"}>
        <p className="prose">{letter.error?.message ?? letter.reason}</p>
      </Card>
      <div className="columns">
        <Card title="Facts">
          <Facts
            of={{
              Task: <ShortId id={letter.task_id} href={`/tasks/${letter.task_id}`} />,
              Reason: letter.reason.replaceAll("_", " "),
              Queue: letter.queue,
              Life: letter.life,
              Attempts: letter.attempts,
              "Given up": <Moment at={letter.created_at} />,
              "Worker's version": letter.worker_version,
              Resolved: letter.resolved_at && <Moment at={letter.resolved_at} />,
              By: letter.resolved_by,
              Because: letter.resolved_reason,
              Operation: letter.operation_id && (
                <ShortId id={letter.operation_id} href={`/operations/${letter.operation_id}`} />
              ),
              "Letter before": letter.previous_id && (
                <ShortId id={letter.previous_id} href={`/dead-letters/${letter.previous_id}`} />
              ),
            }}
          />
        </Card>
        <Json title="Payload" text={payload} />
      </div>
      <Tries letter={letter} />
    </>
  );
}

function Tries({ letter }: { letter: Letter }) {
  if (!letter.executions) return null;
  return (
    <Card title="What was tried">
      <ol className="stack">
        {letter.executions.map((one) => (
          <li key={one.number}>
            <div className="row">
              <b>{one.number}.</b>
              <Status of={one.status} />
              <Moment at={one.started_at} />
              <span className="muted">
                {one.duration_seconds === null ? "" : duration(one.duration_seconds)} {one.host}
              </span>
            </div>
            {one.error && (
              <details>
                <summary>
                  {one.error.type}: {one.error.message}
                </summary>
                <pre className="code">{one.error.traceback}</pre>
              </details>
            )}
          </li>
        ))}
      </ol>
    </Card>
  );
}

function Decisions({ letter, payload }: { letter: Letter; payload: string }) {
  const may = useMay();
  const [asked, setAsked] = useState<"replay" | "discard" | null>(null);
  useShortcuts([{ keys: "r", label: "Replay the letter", deed: () => may("operate") && setAsked("replay") }]);
  if (!may("operate")) return null;
  return (
    <>
      <Button kind="primary" onClick={() => setAsked("replay")}>
        Replay…
      </Button>
      <Button onClick={() => setAsked("discard")}>Discard…</Button>
      {asked === "replay" && <Replay letter={letter} payload={payload} onClose={() => setAsked(null)} />}
      {asked === "discard" && <Discard letter={letter} onClose={() => setAsked(null)} />}
    </>
  );
}

const STALE = [["dead-letters"], ["stats"], ["task"]];

function Replay({ letter, payload, onClose }: { letter: Letter; payload: string; onClose(): void }) {
  const [, go] = useLocation();
  const [isEdited, setEdited] = useState(false);
  const [written, setWritten] = useState(() => pretty(payload));
  const [reason, setReason] = useState("");
  const wrong = isEdited ? fault(written) : null;
  const act = useAct(
    () => {
      const said = JSON.stringify({ reason: reason.trim() || null });
      return call(`/api/v1/dead-letters/${letter.id}/replay`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: isEdited ? `${said.slice(0, -1)},"payload":${written}}` : said,
      });
    },
    { stale: STALE, said: () => "The task begins a new life", onDone: () => go(`/tasks/${letter.task_id}`) },
  );
  return (
    <Dialog
      title={`Replay this ${letter.type}`}
      onClose={onClose}
      onSubmit={() => !wrong && act.mutate()}
      actions={
        <Button type="submit" kind="primary" disabled={act.isPending || wrong !== null}>
          Replay
        </Button>
      }
    >
      <Check label="With another payload" checked={isEdited} onChange={setEdited} />
      {isEdited && (
        <Field label="Payload" fault={wrong ?? undefined}>
          <textarea
            rows={10}
            spellCheck={false}
            value={written}
            onChange={({ target }) => setWritten(target.value)}
          />
        </Field>
      )}
      <Field label="Reason">
        <input value={reason} maxLength={500} onChange={({ target }) => setReason(target.value)} />
      </Field>
    </Dialog>
  );
}

function Discard({ letter, onClose }: { letter: Letter; onClose(): void }) {
  const [reason, setReason] = useState("");
  const act = useAct(
    () =>
      body(
        api.POST("/api/v1/dead-letters/{dead_letter_id}/discard", {
          params: { path: { dead_letter_id: letter.id } },
          body: { reason: reason.trim() || null },
        }),
      ),
    { stale: STALE, said: () => "The letter is discarded; its task stays failed", onDone: onClose },
  );
  return (
    <Dialog
      title="Discard this letter?"
      close="Leave it"
      onClose={onClose}
      onSubmit={() => act.mutate()}
      actions={
        <Button type="submit" kind="danger" disabled={act.isPending}>
          Discard
        </Button>
      }
    >
      <p>
        Nobody is asked about it any more. <Link href={`/tasks/${letter.task_id}`}>Its task</Link> stays
        failed, and can still be retried.
      </p>
      <Field label="Reason">
        <input value={reason} maxLength={500} onChange={({ target }) => setReason(target.value)} />
      </Field>
    </Dialog>
  );
}
