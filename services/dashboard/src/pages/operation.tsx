import { useQuery } from "@tanstack/react-query";
import { api, body, type Schemas } from "../api/client";
import { operation as operationQuery } from "../api/queries";
import { useMay } from "../api/who";
import { useShortcuts } from "../keys";
import { useAct } from "../ui/act";
import { count } from "../ui/format";
import { Bar, Button, Card, Facts, Note, PageHead, Status } from "../ui/parts";
import { Loaded } from "../ui/query";
import { Ago, Moment } from "../ui/time";

type Operation = Schemas["OperationDetail"];
type Command = "pause" | "resume" | "stop";

/** One operation as it goes: the canary first, then the rest at its rate. */
export default function OperationPage({ id }: { id: string }) {
  const query = useQuery(operationQuery(id));
  return <Loaded query={query}>{(operation) => <Shown operation={operation} />}</Loaded>;
}

function Shown({ operation }: { operation: Operation }) {
  const { matched, done, skipped, failed, status, canary } = operation;
  const told = done + skipped + failed;
  const filter = Object.entries(operation.filter).map(([name, value]) => `${name}: ${String(value)}`);
  return (
    <>
      <PageHead title={`Operation: ${operation.action}`} about={<Status of={status} />}>
        <Commands operation={operation} />
      </PageHead>
      {operation.status_reason && <Note tone="warn">{operation.status_reason}</Note>}
      <Card title="Progress">
        <div className="stack">
          <Bar done={told} of={matched} label="Progress of the operation" tone={failed ? "bad" : "good"} />
          <p role="status">
            <b>{count(done)}</b> of {count(matched)} done, {count(skipped)} skipped, {count(failed)} failed
          </p>
        </div>
      </Card>
      {canary && <CanaryCard canary={canary} />}
      <Card title="Facts">
        <Facts
          of={{
            What: filter.join(", ") || "all",
            "At most": `${operation.rate_per_second} a second`,
            By: operation.created_by,
            Reason: operation.reason,
            Begun: <Moment at={operation.created_at} />,
            Ended: operation.finished_at && <Moment at={operation.finished_at} />,
          }}
        />
      </Card>
      <Card title="What happened">
        <ol className="stack">
          {operation.events.map((event) => (
            <li key={event.id} className="row">
              <Ago at={event.at} />
              <b>{event.action.replace("operation.", "")}</b>
              <span className="muted">
                {event.actor} {event.reason}
              </span>
            </li>
          ))}
        </ol>
      </Card>
    </>
  );
}

function CanaryCard({ canary }: { canary: Schemas["Canary"] }) {
  const said = {
    replaying: "is being replayed",
    waiting: "runs; the rest waits for it",
    passed: "passed",
    failed: "failed: the rest was not touched",
  }[canary.state];
  return (
    <Card title={`Canary ${said}`}>
      <div className="stack">
        <Bar
          done={canary.succeeded + canary.failed}
          of={canary.first}
          label="Progress of the canary"
          tone={canary.failed > canary.stop_if_failed ? "bad" : "good"}
        />
        <p>
          {canary.replayed} of {canary.first} replayed, {canary.succeeded} succeeded, {canary.failed} failed
        </p>
      </div>
    </Card>
  );
}

function Commands({ operation }: { operation: Operation }) {
  const may = useMay();
  const act = useAct(
    (command: Command) => {
      const at = { params: { path: { operation_id: operation.id } }, body: {} };
      if (command === "pause") return body(api.POST("/api/v1/operations/{operation_id}/pause", at));
      if (command === "resume") return body(api.POST("/api/v1/operations/{operation_id}/resume", at));
      return body(api.POST("/api/v1/operations/{operation_id}/stop", at));
    },
    { stale: [["operations"]] },
  );
  const isOpen = may("operate") && (operation.status === "running" || operation.status === "paused");
  useShortcuts(
    isOpen
      ? [
          {
            keys: "p",
            label: "Pause or go on",
            deed: () => act.mutate(operation.status === "paused" ? "resume" : "pause"),
          },
        ]
      : [],
  );
  if (!isOpen) return null;
  return (
    <>
      {operation.status === "running" ? (
        <Button onClick={() => act.mutate("pause")}>Pause</Button>
      ) : (
        <Button kind="primary" onClick={() => act.mutate("resume")}>
          Resume
        </Button>
      )}
      <Button kind="danger" onClick={() => act.mutate("stop")}>
        Stop
      </Button>
    </>
  );
}
