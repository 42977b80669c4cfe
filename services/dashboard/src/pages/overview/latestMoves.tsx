import { queryOptions, useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { Link } from "wouter";
import { api, body } from "../../api/client";
import { type FeedEvent, feed } from "../../live/feed";
import { Card, Empty, Status } from "../../ui/parts";
import { Ago } from "../../ui/time";

const SHOWN = 7;

type Move = Pick<FeedEvent, "task_id" | "version" | "status" | "type" | "queue" | "at">;

/** What stands there before anything has moved: the tasks made last, as they are. */
const newest = () =>
  queryOptions({
    queryKey: ["tasks", "newest"],
    queryFn: async (): Promise<Move[]> => {
      const { items } = await body(api.GET("/api/v1/tasks", { params: { query: { limit: SHOWN } } }));
      return items.map((task) => ({
        ...task,
        task_id: task.id,
        at: task.finished_at ?? task.started_at ?? task.queued_at ?? task.created_at,
      }));
    },
  });

/** The newest moves, as they happen. A task that moves on stays in its line. */
export function LatestMoves() {
  const [moves, setMoves] = useState<Move[]>([]);
  const { data: before } = useQuery(newest());
  useEffect(() => {
    if (before) setMoves((known) => merged(known, before));
  }, [before]);
  useEffect(
    () =>
      feed.listen(({ events }) => {
        const news = events.filter(({ kind }) => kind === "task").slice(-100);
        if (news.length) setMoves((known) => merged(known, news));
      }),
    [],
  );
  return (
    <Card title="Latest moves" aside={<Link href="/tasks">All tasks</Link>} bare>
      {moves.length === 0 ? (
        <Empty title="Nothing moves">What happens to any task shows here at once.</Empty>
      ) : (
        <table className="table">
          <thead className="hidden">
            <tr>
              <th scope="col">Status</th>
              <th scope="col">Task</th>
              <th scope="col">When</th>
            </tr>
          </thead>
          <tbody>
            {moves.map((move) => (
              <tr key={move.task_id}>
                <td>
                  <Status of={move.status} />
                </td>
                <td className="wide">
                  <Link href={`/tasks/${move.task_id}`}>{move.type}</Link>{" "}
                  <span className="small muted">{move.queue}</span>
                </td>
                <td className="nowrap muted">
                  <Ago at={move.at} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Card>
  );
}

function merged(known: Move[], news: Move[]): Move[] {
  const byTask = new Map(known.map((move) => [move.task_id, move]));
  for (const move of news) {
    const before = byTask.get(move.task_id);
    if (!before || before.version < move.version) byTask.set(move.task_id, move);
  }
  return [...byTask.values()]
    .slice(-100)
    .sort((a, b) => b.at.localeCompare(a.at))
    .slice(0, SHOWN);
}
