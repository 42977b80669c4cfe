import { useQuery } from "@tanstack/react-query";
import type { Schemas } from "../../api/client";
import { explanation } from "../../api/queries";
import { Card } from "../../ui/parts";
import type { Task } from "../task";

const WAITING_MS = 2_000;
const TITLES: Partial<Record<Task["status"], string>> = {
  running: "What it does now",
  failed: "Why it was given up",
  cancelled: "Why it does not run",
  expired: "Why it does not run",
};

/** Why the task does not run now, the first thing to mend first. */
export function Explain({ task }: { task: Task }) {
  const isWaiting = ["queued", "scheduled", "retrying"].includes(task.status);
  const { data } = useQuery({ ...explanation(task.id), refetchInterval: isWaiting ? WAITING_MS : false });
  if (!data || data.status !== task.status) return null;
  return (
    <Card title={TITLES[task.status] ?? "Why it does not run yet"}>
      <ol className="reasons">
        {data.reasons.map((reason) => (
          <li key={reason.code}>
            <b>{reason.code.replaceAll("_", " ")}</b> <span>{reason.detail}</span>
            <Numbers of={reason.numbers} />
          </li>
        ))}
      </ol>
    </Card>
  );
}

function Numbers({ of }: { of: Schemas["Blocker"]["numbers"] }) {
  const told = Object.entries(of ?? {}).filter(([, value]) => value !== null && typeof value !== "object");
  if (told.length === 0) return null;
  return (
    <details>
      <summary className="small muted">Judged by</summary>
      <dl className="numbers small">
        {told.map(([name, value]) => (
          <div key={name}>
            <dt className="muted">{name.replaceAll("_", " ")}</dt>
            <dd>{String(value)}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
