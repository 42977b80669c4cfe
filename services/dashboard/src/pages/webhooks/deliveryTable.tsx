import type { QueryKey } from "@tanstack/react-query";
import { api, body, type Schemas } from "../../api/client";
import { useMay } from "../../api/who";
import { useAct } from "../../ui/act";
import { duration } from "../../ui/format";
import { Button, ShortId, Status } from "../../ui/parts";
import { Ago, Moment } from "../../ui/time";

type Delivery = Schemas["Delivery"];

/** Webhook deliveries with every try, and the handle to send one again. */
export function DeliveryTable({
  deliveries,
  stale,
  withTask,
}: {
  deliveries: Delivery[];
  stale: QueryKey[];
  withTask?: boolean;
}) {
  return (
    <table className="table">
      <thead>
        <tr>
          <th scope="col">Status</th>
          <th scope="col">Event</th>
          {withTask && <th scope="col">Task</th>}
          <th scope="col">URL</th>
          <th scope="col">Tries</th>
          <th scope="col">Made</th>
          <th scope="col">
            <span className="hidden">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {deliveries.map((delivery) => (
          <tr key={delivery.id}>
            <td>
              <Status of={delivery.status} />
              {delivery.next_attempt_at && (
                <div className="small muted">
                  next <Ago at={delivery.next_attempt_at} />
                </div>
              )}
            </td>
            <td>{delivery.event}</td>
            {withTask && (
              <td>
                {delivery.task_id ? (
                  <ShortId id={delivery.task_id} href={`/tasks/${delivery.task_id}`} />
                ) : (
                  "–"
                )}
              </td>
            )}
            <td className="wide">{delivery.url}</td>
            <td>
              <Tries delivery={delivery} />
            </td>
            <td>
              <Ago at={delivery.created_at} />
            </td>
            <td>
              <Replay delivery={delivery} stale={stale} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Tries({ delivery }: { delivery: Delivery }) {
  if (delivery.attempts.length === 0) return <span className="muted">none yet</span>;
  const last = delivery.attempts.at(-1);
  return (
    <details>
      <summary>
        {delivery.attempts.length} of {delivery.max_attempts ?? "–"}: {last?.status_code ?? last?.error}
      </summary>
      <ol className="stack small">
        {delivery.attempts.map((one) => (
          <li key={one.number}>
            <Moment at={one.started_at} /> {one.status_code ?? ""} {one.error ?? ""},{" "}
            {duration(one.duration_seconds)}
            {one.answer && <pre className="code">{one.answer}</pre>}
          </li>
        ))}
      </ol>
    </details>
  );
}

function Replay({ delivery, stale }: { delivery: Delivery; stale: QueryKey[] }) {
  const may = useMay();
  const act = useAct(
    (task_id: string) =>
      body(
        api.POST("/api/v1/tasks/{task_id}/webhook-deliveries/{delivery_id}/replay", {
          params: { path: { task_id, delivery_id: delivery.id } },
        }),
      ),
    { stale, said: () => "It is sent again" },
  );
  const { task_id } = delivery;
  if (!may("operate") || task_id === null || delivery.status === "pending") return null;
  return (
    <Button
      size="small"
      disabled={act.isPending}
      onClick={() => act.mutate(task_id)}
      aria-label={`Send ${delivery.event} again`}
    >
      Send again
    </Button>
  );
}
