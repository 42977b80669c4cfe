import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { Link } from "wouter";
import type { Schemas } from "../api/client";
import { Problem } from "../api/problem";
import { executions, task as taskQuery } from "../api/queries";
import { member } from "../api/raw";
import { useTaskStream } from "../live/taskStream";
import { useFeed } from "../live/useFeed";
import { LIVE_STATUSES } from "../search/grammar";
import { between, duration } from "../ui/format";
import { Bar, Card, Copy, Empty, Facts, PageHead, Status, Tag } from "../ui/parts";
import { Loaded } from "../ui/query";
import { Ago, Moment } from "../ui/time";
import { TaskActions } from "./task/actions";
import { Attempts } from "./task/attempts";
import { Deliveries } from "./task/deliveries";
import { Explain } from "./task/explain";
import { Json } from "./task/json";
import { Logs } from "./task/logs";
import { Timeline } from "./task/timeline";

export type Task = Schemas["Task"];

/** One task: what it is, what became of it, what can be done. */
export default function TaskPage({ id }: { id: string }) {
  const client = useQueryClient();
  const query = useQuery(taskQuery(id));
  const read = useMemo(
    () => (query.data === undefined ? undefined : (JSON.parse(query.data) as Task)),
    [query.data],
  );
  // A task that had ended is followed anew in its next life.
  const events = useTaskStream(id, read?.life ?? 1);
  const moves = events.filter(({ event }) => event === "task").length;
  useEffect(() => {
    if (moves) void client.invalidateQueries({ queryKey: ["task", id] });
  }, [client, id, moves]);
  // Its stream ends with it; that somebody gave it another life the feed tells.
  useFeed(({ events: news }) => {
    if (news.some(({ task_id, version }) => task_id === id && version > (read?.version ?? 0))) {
      void client.invalidateQueries({ queryKey: ["task", id] });
    }
  });
  if (query.error instanceof Problem && query.error.status === 404) {
    return (
      <Empty title="There is no such task">
        <span className="mono">{id}</span>
        <Link href="/tasks">All tasks</Link>
      </Empty>
    );
  }
  return (
    <Loaded query={query}>
      {(text) => (read ? <Shown task={read} text={text} events={events} /> : null)}
    </Loaded>
  );
}

interface ShownProps {
  task: Task;
  text: string;
  events: ReturnType<typeof useTaskStream>;
}

function Shown({ task, text, events }: ShownProps) {
  const isLive = LIVE_STATUSES.includes(task.status);
  const payload = member(text, "payload") ?? "null";
  const result = member(text, "result") ?? "null";
  const tries = useQuery(executions(task.id)).data ?? [];
  const [wasLive, setWasLive] = useState(isLive);
  useEffect(() => setWasLive((before) => before || isLive), [isLive]);
  return (
    <>
      <PageHead title={task.name ?? task.type} about={<Identity task={task} />}>
        <TaskActions task={task} />
      </PageHead>
      <p className="hidden" role="status">
        {wasLive ? `The task is ${task.status}` : ""}
      </p>
      <Progress task={task} events={events} />
      {task.status !== "completed" && <Explain task={task} />}
      {task.error && <Failure error={task.error} />}
      <div className="columns">
        <div className="stack">
          <Card title="Timeline">
            <Timeline events={events} />
          </Card>
          <Logs events={events} isLive={isLive} />
        </div>
        <div className="stack">
          <Card title="Facts">
            <TaskFacts task={task} />
          </Card>
          <Metadata of={task.metadata} />
          <Json title="Payload" text={payload} />
          {task.status === "completed" && <Json title="Result" text={result} />}
        </div>
      </div>
      <Attempts tries={tries} maxAttempts={task.max_attempts} />
      {task.callback && <Deliveries id={task.id} version={task.version} />}
    </>
  );
}

function Identity({ task }: { task: Task }) {
  return (
    <span className="row">
      <Status of={task.status} />
      <Link href={`/tasks?q=type:${task.type}`}>{task.type}</Link>
      <span className="mono">
        {task.id}
        <Copy text={task.id} what="the id" />
      </span>
    </span>
  );
}

function Failure({ error }: { error: Schemas["Error"] }) {
  return (
    <Card
      title={<span className="bad">{error.type}</span>}
      aside={<Copy text={JSON.stringify(error, null, 2)} what="the error" />}
    >
      <div className="stack">
        <p className="prose">{error.message}</p>
        {error.traceback && (
          <details open>
            <summary>Traceback</summary>
            {/* tabIndex: what scrolls can be scrolled with the keyboard */}
            <pre className="code" tabIndex={0} role="region" aria-label="Traceback">
              {error.traceback}
            </pre>
          </details>
        )}
      </div>
    </Card>
  );
}

function Progress({ task, events }: Pick<ShownProps, "task" | "events">) {
  const reported = events.findLast(({ event }) => event === "progress")?.data;
  const told = (task.status === "running" ? reported : null) ?? task.progress;
  if (!told) return null;
  const fraction = typeof told.fraction === "number" ? told.fraction : null;
  return (
    <Card>
      <div className="stack">
        <div className="row spread">
          <b>{fraction === null ? "Progress" : `${Math.round(fraction * 100)} %`}</b>
          <span>{typeof told.message === "string" ? told.message : ""}</span>
        </div>
        {fraction !== null && <Bar done={fraction} of={1} label="Progress of the task" />}
      </div>
    </Card>
  );
}

function TaskFacts({ task }: { task: Task }) {
  const waited = between(task.queued_at, task.started_at);
  const ran = between(task.started_at, task.finished_at);
  return (
    <Facts
      of={{
        Queue: <Link href={`/tasks?q=queue:${task.queue}`}>{task.queue}</Link>,
        Priority: task.priority,
        Attempt: `${task.attempt} of ${task.max_attempts}, life ${task.life}`,
        Version: task.version,
        Created: <Moment at={task.created_at} />,
        Queued: <Moment at={task.queued_at} />,
        Started: <Moment at={task.started_at} />,
        Ended: <Moment at={task.finished_at} />,
        Waited: waited === null ? null : duration(waited),
        Ran: ran === null ? null : duration(ran),
        ...(task.run_at ? { Due: <Moment at={task.run_at} /> } : {}),
        ...(task.next_attempt_at ? { "Next attempt": <Ago at={task.next_attempt_at} /> } : {}),
        ...(task.expires_at ? { Expires: <Ago at={task.expires_at} /> } : {}),
        Timeout: duration(task.timeout_seconds),
        Retry: `${task.retry.strategy}, from ${task.retry.base_seconds} s to ${task.retry.max_seconds} s`,
        Worker: task.worker_id && (
          <Link href={`/tasks?q=worker:${task.worker_id}`}>…{task.worker_id.slice(-12)}</Link>
        ),
        Tags: task.tags.length ? task.tags.map((tag) => <Tag key={tag} name={tag} />) : null,
        ...(task.target ? { "Pushed to": `${task.target.method} ${task.target.url}` } : {}),
        ...(task.callback ? { Callback: task.callback.url } : {}),
      }}
    />
  );
}

/** What its caller wrote on it, apart from what we know of it: he may have named it alike. */
function Metadata({ of }: { of: Task["metadata"] }) {
  const told = Object.entries(of).map(([name, value]) => [name, JSON.stringify(value)]);
  if (told.length === 0) return null;
  return (
    <Card title="Metadata">
      <Facts of={Object.fromEntries(told)} />
    </Card>
  );
}
