import type { Schemas } from "../../api/client";
import { between, duration, plural } from "../../ui/format";
import { Card, Empty, ShortId, Status } from "../../ui/parts";
import { Moment } from "../../ui/time";

/** Every try of the task, the newest first. */
export function Attempts({ tries, maxAttempts }: { tries: Schemas["Execution"][]; maxAttempts: number }) {
  return (
    <Card
      title="Attempts"
      aside={<span className="muted">{plural(maxAttempts, "attempt")} a life</span>}
      bare
    >
      {tries.length === 0 ? (
        <Empty title="It has not been tried yet" />
      ) : (
        <table className="table">
          <thead>
            <tr>
              <th scope="col" className="number">
                No.
              </th>
              <th scope="col">Outcome</th>
              <th scope="col" className="number">
                Attempt
              </th>
              <th scope="col">Started</th>
              <th scope="col" className="number">
                Took
              </th>
              <th scope="col" className="number">
                Until the next
              </th>
              <th scope="col">Worker</th>
              <th scope="col">Error</th>
            </tr>
          </thead>
          <tbody>
            {tries.toReversed().map((one, index, all) => (
              <tr key={one.number}>
                <td className="number">{one.number}</td>
                <td>
                  <Status of={one.status} />
                </td>
                <td className="number nowrap">
                  {one.attempt} (life {one.life})
                </td>
                <td className="nowrap">
                  <Moment at={one.started_at} />
                </td>
                <td className="number nowrap">
                  {one.duration_seconds === null ? "–" : duration(one.duration_seconds)}
                </td>
                <td className="number nowrap">{pause(one, all[index - 1])}</td>
                <td>{one.worker_id ? <ShortId id={one.worker_id} /> : "–"}</td>
                <td className="wide">
                  <ErrorCell error={one.error} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Card>
  );
}

function pause(one: Schemas["Execution"], next: Schemas["Execution"] | undefined): string {
  const seconds = between(one.finished_at, next?.started_at);
  return seconds === null ? "–" : duration(seconds);
}

function ErrorCell({ error }: { error: Schemas["Error"] | null }) {
  if (!error) return <span className="muted">–</span>;
  const told = `${error.type}: ${error.message}`;
  if (!error.traceback) return <span>{told}</span>;
  return (
    <details>
      <summary>{told}</summary>
      <pre className="code">{error.traceback}</pre>
    </details>
  );
}
