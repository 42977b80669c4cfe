import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import type { Schemas } from "../api/client";
import { queues, stats, workers } from "../api/queries";
import { useMay } from "../api/who";
import { COUNTED } from "../live/rates";
import { useRefreshOnMoves } from "../live/useFeed";
import { useRates } from "../live/useRates";
import { Chart } from "../ui/chart";
import { brief, count, duration, percent } from "../ui/format";
import { Card, PageHead } from "../ui/parts";
import { Loaded } from "../ui/query";
import { Attention } from "./overview/attention";
import { Failures } from "./overview/failures";
import { Histories } from "./overview/histories";
import { LatestMoves } from "./overview/latestMoves";

/** How it goes, and what needs somebody. */
export default function Overview() {
  const may = useMay();
  useRefreshOnMoves(["queues"], 1_000);
  return (
    <>
      <PageHead title="Overview" />
      <Tiles />
      <Attention />
      <div className="columns">
        <Now />
        <LatestMoves />
      </div>
      {may("admin") && <Histories />}
      <div className="columns">
        <Failures />
        <QueueTable />
      </div>
      {may("admin") && <WorkerTable />}
    </>
  );
}

function Tiles() {
  const figures = useQuery(stats());
  const waiting = useQuery(queues()).data;
  return (
    <Loaded query={figures}>
      {({ by_status, success_rate, workers_live }) => (
        <ul className="tiles">
          {(["queued", "running", "scheduled", "retrying", "completed", "failed"] as const).map((status) => (
            <Tile
              key={status}
              label={status}
              value={count(by_status[status] ?? 0)}
              href={`/tasks?q=status:${status}`}
              tone={status === "failed" && (by_status.failed ?? 0) > 0 ? "bad" : undefined}
            />
          ))}
          <Tile label="oldest waiting" value={oldest(waiting)} href="/queues" />
          <Tile
            label="workers live"
            value={count(workers_live)}
            href="/workers"
            tone={workers_live ? undefined : "bad"}
          />
          <Tile
            label="success, 7 d"
            value={success_rate === null ? "–" : percent(success_rate)}
            href="/dead-letters"
          />
        </ul>
      )}
    </Loaded>
  );
}

function oldest(all: Schemas["QueueInfo"][] | undefined): string {
  const ages = (all ?? []).map(({ oldest_waiting_seconds }) => oldest_waiting_seconds ?? -1);
  const most = Math.max(-1, ...ages);
  return most < 0 ? "–" : brief(most);
}

function Tile(props: { label: string; value: string; href: string; tone?: string }) {
  return (
    <li>
      <Link className="tile card" href={props.href} data-tone={props.tone}>
        <span className="small muted">{props.label}</span>
        <b>{props.value}</b>
      </Link>
    </li>
  );
}

const COLOURS = { queued: "--violet", running: "--busy", completed: "--good", failed: "--bad" };
const NAMES = { queued: "queued", running: "started", completed: "completed", failed: "failed" };

function Now() {
  const { at, lines } = useRates();
  return (
    <Card title="Now: moves a second, the last minute">
      <Chart
        label="Moves a second in the last minute"
        at={at}
        lines={COUNTED.map((name) => ({ label: NAMES[name], colour: COLOURS[name], values: lines[name] }))}
        tell={(value) => count(value)}
        least={4}
      />
    </Card>
  );
}

function QueueTable() {
  const query = useQuery(queues());
  return (
    <Card title="Queues" aside={<Link href="/queues">All queues</Link>} bare>
      <Loaded query={query}>
        {(all) => (
          <table className="table">
            <thead>
              <tr>
                <th scope="col">Queue</th>
                <th scope="col" className="number">
                  Waiting
                </th>
                <th scope="col" className="number">
                  Running
                </th>
                <th scope="col" className="number">
                  Oldest
                </th>
                <th scope="col" className="number">
                  Slots free
                </th>
              </tr>
            </thead>
            <tbody>
              {all.slice(0, 8).map((queue) => (
                <tr key={queue.name}>
                  <td>
                    <Link href={`/tasks?q=queue:${queue.name}`}>{queue.name}</Link>
                    {queue.paused && <span className="muted"> · paused</span>}
                  </td>
                  <td className="number">
                    {count(Object.values(queue.waiting).reduce((sum, n) => sum + n, 0))}
                  </td>
                  <td className="number">{count(queue.running)}</td>
                  <td className="number">
                    {queue.oldest_waiting_seconds === null ? "–" : duration(queue.oldest_waiting_seconds)}
                  </td>
                  <td className="number">
                    {queue.slots_free} of {queue.slots}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </Loaded>
    </Card>
  );
}

function WorkerTable() {
  const query = useQuery(workers());
  return (
    <Card title="Workers" aside={<Link href="/workers">All workers</Link>}>
      <Loaded query={query}>
        {(all) => (
          <ul className="worker-strip">
            {all
              .filter(({ status }) => status !== "gone")
              .map((worker) => (
                <li key={worker.id} title={`${worker.host}, process ${worker.pid}`}>
                  <span>
                    {worker.host}:{worker.pid}
                  </span>
                  <span className="muted number">
                    {worker.running} of {worker.slots} slots
                  </span>
                  <meter
                    min={0}
                    max={worker.slots}
                    value={worker.running}
                    aria-label={`slots of ${worker.host}:${worker.pid} that are taken`}
                  />
                </li>
              ))}
          </ul>
        )}
      </Loaded>
    </Card>
  );
}
