import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, body, type Schemas } from "../../api/client";
import { Button, Card, Empty } from "../../ui/parts";
import { Loaded } from "../../ui/query";
import { Ago } from "../../ui/time";

const PAGE_ROWS = 50;

/** Who did what to which thing, and why. */
export function Audit() {
  const [actor, setActor] = useState("");
  const query = useInfiniteQuery({
    queryKey: ["audit", actor],
    queryFn: ({ pageParam }) =>
      body(
        api.GET("/api/v1/audit", {
          params: {
            query: { actor: actor ? [actor] : undefined, limit: PAGE_ROWS, cursor: pageParam ?? undefined },
          },
        }),
      ),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
  });
  const aside = (
    <input
      className="narrow"
      aria-label="Audit log of whom"
      placeholder="by whom"
      value={actor}
      onChange={({ target }) => setActor(target.value.trim())}
    />
  );
  return (
    <Card title="Audit log" aside={aside} bare>
      <Loaded query={{ ...query, data: query.data?.pages.flatMap(({ items }) => items) }}>
        {(events) => (events.length === 0 ? <Empty title="Nothing yet" /> : <Events events={events} />)}
      </Loaded>
      {query.hasNextPage && (
        <div className="row pager">
          <Button size="small" onClick={() => void query.fetchNextPage()}>
            Older
          </Button>
        </div>
      )}
    </Card>
  );
}

function Events({ events }: { events: Schemas["AuditEvent"][] }) {
  return (
    <table className="table">
      <thead>
        <tr>
          <th scope="col">When</th>
          <th scope="col">Who</th>
          <th scope="col">What</th>
          <th scope="col">To which</th>
          <th scope="col">Why</th>
        </tr>
      </thead>
      <tbody>
        {events.map((event) => (
          <tr key={event.id}>
            <td>
              <Ago at={event.at} />
            </td>
            <td>
              {event.actor} <span className="muted small">{event.address}</span>
            </td>
            <td>{event.action}</td>
            <td className="wide mono">{event.target ?? "–"}</td>
            <td className="wide">{event.reason ?? "–"}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
