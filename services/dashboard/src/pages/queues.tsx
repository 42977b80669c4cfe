import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { api, body, type Schemas } from "../api/client";
import { queues, series, types } from "../api/queries";
import { useMay } from "../api/who";
import { useRefreshOnMoves } from "../live/useFeed";
import { useAct } from "../ui/act";
import { Dialog } from "../ui/dialog";
import { Field } from "../ui/field";
import { count, duration } from "../ui/format";
import { Button, Card, Empty, PageHead, Status } from "../ui/parts";
import { Loaded } from "../ui/query";
import { Sparkline } from "../ui/sparkline";

/** What waits where, and the handles to stop and go on. */
export default function Queues() {
  useRefreshOnMoves(["queues"], 500);
  return (
    <>
      <PageHead title="Queues" />
      <QueueCard />
      <TypeCard />
    </>
  );
}

const HISTORY_SECONDS = 1_800;

/** Starts a minute of each queue or type in the last half hour; nothing for those who may not know. */
function useRates(by: "queue" | "type"): Map<string, number[]> {
  const may = useMay();
  const { data } = useQuery({ ...series(HISTORY_SECONDS, 60, by), enabled: may("admin") });
  return new Map(data?.series.map((one) => [one[by] ?? "", one.points.map(({ started }) => started)]) ?? []);
}

function QueueCard() {
  const query = useQuery(queues());
  const rates = useRates("queue");
  return (
    <Card title="Queues" bare>
      <Loaded query={query}>
        {(all) =>
          all.length === 0 ? (
            <Empty title="No queue yet">A queue comes to be when a task or a worker names it.</Empty>
          ) : (
            <table className="table">
              <thead>
                <tr>
                  <th scope="col">Queue</th>
                  <th scope="col">State</th>
                  <th scope="col" className="number">
                    Waiting
                  </th>
                  <th scope="col" className="number">
                    Running
                  </th>
                  <th scope="col" className="number">
                    Oldest waits
                  </th>
                  <th scope="col" className="number">
                    Workers
                  </th>
                  <th scope="col" className="number">
                    Slots free
                  </th>
                  <th scope="col">Starts a minute, 30 min</th>
                  <th scope="col">
                    <span className="hidden">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {all.map((queue) => (
                  <QueueRow key={queue.name} queue={queue} rates={rates.get(queue.name)} />
                ))}
              </tbody>
            </table>
          )
        }
      </Loaded>
    </Card>
  );
}

function QueueRow({ queue, rates }: { queue: Schemas["QueueInfo"]; rates: number[] | undefined }) {
  const waiting = Object.values(queue.waiting).reduce((sum, one) => sum + one, 0);
  const lanes = Object.entries(queue.waiting).filter(([lane, number]) => number > 0 && lane !== "normal");
  return (
    <tr>
      <th scope="row">
        <Link href={`/tasks?q=queue:${queue.name}`}>{queue.name}</Link>
      </th>
      <td>
        <Status of={queue.paused ? "paused" : "active"} />
      </td>
      <td className="number">
        {count(waiting)}
        {lanes.map(([lane, number]) => (
          <div key={lane} className="small muted">
            {count(number)} {lane}
          </div>
        ))}
      </td>
      <td className="number">{count(queue.running)}</td>
      <td className="number nowrap">
        {queue.oldest_waiting_seconds === null ? "–" : duration(queue.oldest_waiting_seconds)}
      </td>
      <td className="number">{queue.workers}</td>
      <td className="number nowrap">
        {queue.slots_free} of {queue.slots}
      </td>
      <td>
        <Sparkline values={rates ?? []} label={`starts a minute of queue ${queue.name}`} />
      </td>
      <td>
        <Switch what="queue" name={queue.name} paused={queue.paused} />
      </td>
    </tr>
  );
}

function TypeCard() {
  const query = useQuery(types());
  const rates = useRates("type");
  return (
    <Card title="Types" bare>
      <Loaded query={query}>
        {(all) => (
          <table className="table">
            <thead>
              <tr>
                <th scope="col">Type</th>
                <th scope="col">State</th>
                <th scope="col" className="number">
                  Workers
                </th>
                <th scope="col" className="number">
                  Attempts
                </th>
                <th scope="col" className="number">
                  Timeout
                </th>
                <th scope="col">Starts a minute, 30 min</th>
                <th scope="col">
                  <span className="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {all.map((type) => (
                <tr key={type.name}>
                  <th scope="row">
                    <Link href={`/tasks?q=type:${type.name}`}>{type.name}</Link>
                  </th>
                  <td>
                    <Status of={type.paused ? "paused" : "active"} />
                    {type.paused_reason && (
                      <div className="small muted">
                        {type.paused_reason} ({type.paused_by})
                      </div>
                    )}
                  </td>
                  <td className="number">{type.workers}</td>
                  <td className="number">{type.max_attempts ?? "default"}</td>
                  <td className="number nowrap">
                    {type.timeout_seconds === null ? "default" : duration(type.timeout_seconds)}
                  </td>
                  <td>
                    <Sparkline
                      values={rates.get(type.name) ?? []}
                      label={`starts a minute of type ${type.name}`}
                    />
                  </td>
                  <td>
                    <Switch what="type" name={type.name} paused={type.paused} />
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

type Wish = { what: "queue" | "type"; name: string; pause: boolean; reason: string };

function send({ what, name, pause, reason }: Wish): Promise<unknown> {
  const given = { body: { reason: reason.trim() || null } };
  if (what === "queue") {
    const at = { params: { path: { queue: name } }, ...given };
    return pause
      ? body(api.POST("/api/v1/queues/{queue}/pause", at))
      : body(api.POST("/api/v1/queues/{queue}/resume", at));
  }
  const at = { params: { path: { type: name } }, ...given };
  return pause
    ? body(api.POST("/api/v1/types/{type}/pause", at))
    : body(api.POST("/api/v1/types/{type}/resume", at));
}

function Switch({ what, name, paused }: { what: Wish["what"]; name: string; paused: boolean }) {
  const may = useMay();
  const [isAsking, setAsking] = useState(false);
  const [reason, setReason] = useState("");
  const act = useAct(send, {
    stale: [["queues"], ["types"]],
    said: (_, { pause }) => `The ${what} ${name} ${pause ? "is paused" : "goes on"}`,
  });
  if (!may("admin")) return null;
  const pause = () => {
    setAsking(false);
    act.mutate({ what, name, pause: true, reason });
  };
  return (
    <>
      <Button
        size="small"
        disabled={act.isPending}
        aria-label={`${paused ? "Resume" : "Pause"} ${what} ${name}`}
        onClick={() => (paused ? act.mutate({ what, name, pause: false, reason: "" }) : setAsking(true))}
      >
        {paused ? "Resume" : "Pause"}
      </Button>
      {isAsking && (
        <Dialog
          title={`Pause the ${what} ${name}?`}
          close="Leave it"
          onClose={() => setAsking(false)}
          onSubmit={pause}
          actions={
            <Button type="submit" kind="primary">
              Pause
            </Button>
          }
        >
          <p>No more of its tasks start; those that run go on, and new ones are accepted.</p>
          <Field label="Reason" hint="Others see it while it is paused">
            <input value={reason} maxLength={500} onChange={(event) => setReason(event.target.value)} />
          </Field>
        </Dialog>
      )}
    </>
  );
}
