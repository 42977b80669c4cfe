import type { HistoryEvent } from "../../live/history";
import { between, duration } from "../../ui/format";
import { Status } from "../../ui/parts";
import { Moment } from "../../ui/time";

const SAID = ["reason", "by", "attempt", "worker_id", "due_at", "next_attempt_at"];

/** Every state the task was in, for how long, and why it left it. */
export function Timeline({ events }: { events: HistoryEvent[] }) {
  const moves = events.filter(({ event }) => event === "task");
  if (moves.length === 0) return <p className="muted">Reading the history…</p>;
  return (
    <ol className="timeline">
      {moves.map((move, index) => {
        const next = moves[index + 1];
        const stayed = between(move.at, next?.at);
        return (
          <li key={move.seq}>
            <div className="row">
              <Status of={move.status ?? "unknown"} />
              <Moment at={move.at} />
              {stayed !== null && <span className="muted small">for {duration(stayed)}</span>}
            </div>
            <Said data={move.data} />
          </li>
        );
      })}
    </ol>
  );
}

function Said({ data }: { data: HistoryEvent["data"] | null }) {
  const told = SAID.flatMap((name) => {
    const value = data?.[name];
    if (value === undefined || value === null) return [];
    const shown = name === "worker_id" ? `…${String(value).slice(-12)}` : String(value);
    return [`${name.replace(/_id$/, "").replaceAll("_", " ")} ${shown}`];
  });
  return told.length ? <p className="small muted">{told.join(", ")}</p> : null;
}
