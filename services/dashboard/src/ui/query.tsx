import type { ReactNode } from "react";
import { Problem, tell } from "../api/problem";
import { Button, Empty, Note } from "./parts";

interface Reading<T> {
  data: T | undefined;
  error: Error | null;
  isPending: boolean;
  fetchStatus: string;
  refetch(): unknown;
}

/** What a query has, or why it has nothing. What it had before an error stays: the banner tells how old it is. */
export function Loaded<T>({ query, children }: { query: Reading<T>; children(data: T): ReactNode }) {
  if (query.data !== undefined) return children(query.data);
  if (query.isPending && query.fetchStatus !== "paused") {
    return (
      <div className="empty" aria-busy="true">
        Loading…
      </div>
    );
  }
  if (query.error instanceof Problem && query.error.status === 403) {
    return <Empty title="Not yours to see">{tell(query.error)}</Empty>;
  }
  return (
    <Note tone="bad">
      <span>{tell(query.error)}</span>
      <Button size="small" onClick={() => query.refetch()}>
        Try again
      </Button>
    </Note>
  );
}
