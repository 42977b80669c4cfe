/** A page of tasks that stays as it was read, row by row brought up to date; what came since is counted, not shown. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useRef } from "react";
import { api, body, type Schemas } from "../../api/client";
import type { FeedEvent } from "../../live/feed";
import { throttled } from "../../live/throttle";
import { useFeed } from "../../live/useFeed";
import { filters, type Search } from "../../search/grammar";

export type Row = Schemas["TaskItem"];
export type Page = Schemas["TaskList"];

export const PAGE_ROWS = 50;
const NEWS_MAX = 100;
const ROWS_MS = 150;
const NEWS_MS = 1_000;
const AT_ONCE = 8;

/** What a list is asked for: the search, from when on ages count, and where the page begins. */
export interface Wish {
  search: Search;
  text: string;
  at: number;
  cursor: string | undefined;
}

export function usePage({ search, text, at, cursor }: Wish) {
  const key = useMemo(() => ["tasks", "page", text, at, cursor ?? null], [text, at, cursor]);
  const query = useQuery({
    queryKey: key,
    queryFn: () =>
      body(
        api.GET("/api/v1/tasks", { params: { query: { ...filters(search, at), limit: PAGE_ROWS, cursor } } }),
      ),
    enabled: search.faults.length === 0,
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0, // nobody keeps a page true that is not shown
    refetchOnWindowFocus: false,
  });
  useLiveRows(key, query.data);
  return query;
}

/** Rows that move show their new status at once, and the rest of it as soon as it is read. */
function useLiveRows(key: readonly unknown[], page: Page | undefined): void {
  const client = useQueryClient();
  const moved = useRef(new Set<string>());
  const shown = useMemo(() => new Set(page?.items.map(({ id }) => id)), [page]);
  const patch = useCallback(
    (change: (row: Row) => Row) =>
      client.setQueryData<Page>(key, (known) => known && { ...known, items: known.items.map(change) }),
    [client, key],
  );
  const readAgain = useMemo(
    () =>
      throttled(async () => {
        const ids = [...moved.current];
        moved.current.clear();
        for (let from = 0; from < ids.length; from += AT_ONCE) {
          const read = await Promise.all(ids.slice(from, from + AT_ONCE).map(readRow));
          const byId = new Map(read.flatMap((row) => (row ? [[row.id, row]] : [])));
          patch((row) => newer(row, byId.get(row.id)));
        }
      }, ROWS_MS),
    [patch],
  );
  useEffect(() => readAgain.cancel, [readAgain]);
  useFeed(({ events }) => {
    const mine = events.filter(({ task_id }) => shown.has(task_id));
    if (mine.length === 0) return;
    for (const { task_id } of mine) moved.current.add(task_id);
    const last = new Map(mine.map((event) => [event.task_id, event]));
    patch((row) => moving(row, last.get(row.id)));
    readAgain();
  });
}

function moving(row: Row, event: FeedEvent | undefined): Row {
  if (!event || event.version <= row.version) return row;
  return { ...row, status: event.status as Row["status"], version: event.version, waiting_for: null };
}

function newer(row: Row, read: Row | undefined): Row {
  return read && read.version >= row.version ? read : row;
}

/** One that is gone by now, or cannot be read, stays as it was. */
function readRow(id: string): Promise<Row | undefined> {
  return body(api.GET("/api/v1/tasks/{task_id}", { params: { path: { task_id: id } } })).catch(
    () => undefined,
  );
}

/** How many tasks of this search came after the newest that is shown; `NEWS_MAX` and no more are counted. */
export function useNews(
  { search, text, at, cursor }: Wish,
  page: Page | undefined,
): { count: number; isMore: boolean } {
  const client = useQueryClient();
  const newest = page?.items[0]?.created_at;
  const isFirst = cursor === undefined && page !== undefined;
  const key = useMemo(() => ["tasks", "news", text, at, newest ?? null], [text, at, newest]);
  const look = useMemo(
    () => throttled(() => void client.invalidateQueries({ queryKey: key }), NEWS_MS),
    [client, key],
  );
  useEffect(() => look.cancel, [look]);
  const known = useMemo(() => new Set(page?.items.map(({ id }) => id)), [page]);
  const query = useQuery({
    queryKey: key,
    enabled: isFirst,
    queryFn: () => {
      const wanted = filters(search, at);
      const after = newest ?? wanted.created_after ?? new Date(at).toISOString();
      return body(
        api.GET("/api/v1/tasks", {
          params: { query: { ...wanted, created_before: undefined, created_after: after, limit: NEWS_MAX } },
        }),
      );
    },
    staleTime: Number.POSITIVE_INFINITY,
  });
  useFeed(({ events }) => {
    if (isFirst && events.some(({ kind, task_id }) => kind === "task" && !known.has(task_id))) look();
  });
  // An age that tasks must have reached excludes those that are new.
  if (!isFirst || search.olderThan !== null) return { count: 0, isMore: false };
  const news = (query.data?.items ?? []).filter(({ id }) => !known.has(id));
  return { count: news.length, isMore: Boolean(query.data?.next_cursor) };
}
