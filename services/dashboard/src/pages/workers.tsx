import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { api, body, type Schemas } from "../api/client";
import { workers } from "../api/queries";
import { useRefreshOnMoves } from "../live/useFeed";
import { useAct } from "../ui/act";
import { Dialog } from "../ui/dialog";
import { bytes, duration } from "../ui/format";
import { Button, Card, Empty, Facts, PageHead, ShortId, Status } from "../ui/parts";
import { Loaded } from "../ui/query";
import { Ago, useNow } from "../ui/time";

type Worker = Schemas["WorkerInfo"];

/** The worker processes: what each runs now, how it is, and the handle to let one go. */
export default function Workers() {
  useRefreshOnMoves(["workers"], 500);
  const query = useQuery(workers());
  return (
    <>
      <PageHead title="Workers" />
      <Loaded query={query}>
        {(all) => {
          const here = all.filter(({ status }) => status !== "gone");
          const gone = all.filter(({ status }) => status === "gone");
          return (
            <>
              {here.length === 0 && (
                <Card>
                  <Empty title="No worker is alive">
                    <code>taskflow worker</code>
                  </Empty>
                </Card>
              )}
              {here.map((worker) => (
                <WorkerCard key={worker.id} worker={worker} />
              ))}
              {gone.length > 0 && <Gone workers={gone} />}
            </>
          );
        }}
      </Loaded>
    </>
  );
}

function WorkerCard({ worker }: { worker: Worker }) {
  const now = useNow();
  const lease = (Date.parse(worker.lease_expires_at) - now) / 1000;
  return (
    <Card
      title={`${worker.host}:${worker.pid}`}
      aside={
        <>
          <Status of={worker.status} />
          <Drain worker={worker} />
        </>
      }
    >
      <div className="stack">
        <Facts
          of={{
            Slots: `${worker.running} of ${worker.slots} taken`,
            Memory: worker.memory_bytes === null ? null : bytes(worker.memory_bytes),
            Lease: lease > 0 ? `for ${duration(Math.round(lease))}` : "over",
            Seen: <Ago at={worker.seen_at} />,
            Started: <Ago at={worker.started_at} />,
            Version: worker.version,
            Queues: worker.queues.map((name) => (
              <Link key={name} className="chip" href={`/tasks?q=queue:${name}`}>
                {name}
              </Link>
            )),
            Worker: <ShortId id={worker.id} href={`/tasks?q=worker:${worker.id}`} />,
          }}
        />
        <meter
          className="slots"
          min={0}
          max={worker.slots}
          value={worker.running}
          aria-label={`slots of ${worker.host}:${worker.pid} that are taken`}
        />
        <Running worker={worker} />
        <details>
          <summary>{worker.types.length} types</summary>
          <p className="row">
            {worker.types.map((type) => (
              <Link key={type} className="chip" href={`/tasks?q=type:${type}`}>
                {type}
              </Link>
            ))}
          </p>
        </details>
      </div>
    </Card>
  );
}

/** What it runs at this moment. */
function Running({ worker }: { worker: Worker }) {
  const key = ["workers", worker.id, "running"];
  useRefreshOnMoves(key, 500);
  const query = useQuery({
    queryKey: key,
    queryFn: () =>
      body(
        api.GET("/api/v1/tasks", {
          params: { query: { worker_id: [worker.id], status: ["running"], limit: 50 } },
        }),
      ),
  });
  return (
    <Loaded query={query}>
      {({ items }) =>
        items.length === 0 ? (
          <p className="muted">It runs nothing now.</p>
        ) : (
          <ul className="stack small" aria-label={`What ${worker.host}:${worker.pid} runs`}>
            {items.map((task) => (
              <li key={task.id} className="row">
                <Link href={`/tasks/${task.id}`}>{task.type}</Link>
                <ShortId id={task.id} />
                <span className="muted">
                  attempt {task.attempt}, since <Ago at={task.started_at} />
                </span>
                {task.progress?.message && <span className="muted">{task.progress.message}</span>}
              </li>
            ))}
          </ul>
        )
      }
    </Loaded>
  );
}

function Drain({ worker }: { worker: Worker }) {
  const [isAsking, setAsking] = useState(false);
  const act = useAct(
    () => body(api.POST("/api/v1/workers/{worker_id}/drain", { params: { path: { worker_id: worker.id } } })),
    { stale: [["workers"]], said: () => `${worker.host}:${worker.pid} takes no more, and ends` },
  );
  if (worker.status !== "live") return null;
  const name = `${worker.host}:${worker.pid}`;
  return (
    <>
      <Button size="small" onClick={() => setAsking(true)} aria-label={`Drain ${name}`}>
        Drain
      </Button>
      {isAsking && (
        <Dialog
          title={`Drain ${name}?`}
          close="Leave it"
          onClose={() => setAsking(false)}
          onSubmit={() => {
            setAsking(false);
            act.mutate();
          }}
          actions={
            <Button type="submit" kind="primary" autoFocus>
              Drain
            </Button>
          }
        >
          <p>
            It takes no more tasks, finishes or hands back what it runs, and ends. Its supervisor may start it
            anew.
          </p>
        </Dialog>
      )}
    </>
  );
}

function Gone({ workers: all }: { workers: Worker[] }) {
  return (
    <Card title={`Gone: ${all.length}`} bare>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Worker</th>
            <th scope="col">Id</th>
            <th scope="col">Last seen</th>
          </tr>
        </thead>
        <tbody>
          {all.map((worker) => (
            <tr key={worker.id}>
              <td>
                {worker.host}:{worker.pid}
              </td>
              <td>
                <ShortId id={worker.id} />
              </td>
              <td>
                <Ago at={worker.seen_at} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}
