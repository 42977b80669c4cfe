/** What the screens read. The first word of a key names the resource, so that one call makes all of it stale. */

import { keepPreviousData, QueryClient, queryOptions } from "@tanstack/react-query";
import { api, body, text } from "./client";
import { Problem } from "./problem";

const RETRIES = 3;

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 2_000,
      retry: (failures, error) => !(error instanceof Problem && error.status < 500) && failures < RETRIES,
      retryDelay: (failures) => 250 * 2 ** failures,
      networkMode: "always",
      refetchOnWindowFocus: true,
    },
    mutations: { networkMode: "always" },
  },
});

/** Lists of things there are few of: pages are read on until the last. */
async function whole<T>(
  page: (cursor?: string) => Promise<{ items: T[]; next_cursor: string | null }>,
): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const read = await page(cursor);
    items.push(...read.items);
    cursor = read.next_cursor ?? undefined;
  } while (cursor && items.length < 2_000);
  return items;
}

export const profile = () =>
  queryOptions({
    queryKey: ["profile"],
    queryFn: () => body(api.GET("/api/v1/auth/profile")),
    staleTime: 60_000,
  });

export const stats = () =>
  queryOptions({
    queryKey: ["stats"],
    queryFn: () => body(api.GET("/api/v1/tasks/stats")),
    refetchInterval: 15_000,
  });

export const queues = () =>
  queryOptions({
    queryKey: ["queues"],
    queryFn: () =>
      whole((cursor) => body(api.GET("/api/v1/queues", { params: { query: { limit: 200, cursor } } }))),
    refetchInterval: 5_000,
  });

export const workers = () =>
  queryOptions({
    queryKey: ["workers"],
    queryFn: () =>
      whole((cursor) => body(api.GET("/api/v1/workers", { params: { query: { limit: 200, cursor } } }))),
    refetchInterval: 5_000,
  });

export const types = () =>
  queryOptions({
    queryKey: ["types"],
    queryFn: () =>
      whole((cursor) => body(api.GET("/api/v1/types", { params: { query: { limit: 200, cursor } } }))),
    staleTime: 30_000,
  });

/** One task, with the text as it came: numbers in a payload may be larger than JavaScript's. */
export const task = (id: string) =>
  queryOptions({
    queryKey: ["task", id],
    queryFn: () => text(`/api/v1/tasks/${id}`),
    staleTime: 0,
  });

export const executions = (id: string) =>
  queryOptions({
    queryKey: ["task", id, "executions"],
    queryFn: () =>
      whole((cursor) =>
        body(
          api.GET("/api/v1/tasks/{task_id}/executions", {
            params: { path: { task_id: id }, query: { limit: 200, cursor } },
          }),
        ),
      ),
    staleTime: 0,
  });

export const explanation = (id: string) =>
  queryOptions({
    queryKey: ["task", id, "explain"],
    queryFn: () => body(api.GET("/api/v1/tasks/{task_id}/explain", { params: { path: { task_id: id } } })),
    staleTime: 0,
  });

export type GroupBy = "queue" | "type";

/** The last `seconds`, step by step. */
export const series = (seconds: number, step: 60 | 300 | 900 | 3600 | 21600 | 86400, groupBy?: GroupBy) =>
  queryOptions({
    queryKey: ["series", seconds, step, groupBy ?? null],
    queryFn: () =>
      body(
        api.GET("/api/v1/stats/series", {
          params: {
            query: {
              from: new Date(Date.now() - seconds * 1000).toISOString(),
              step_seconds: step,
              group_by: groupBy,
            },
          },
        }),
      ),
    refetchInterval: 15_000,
    placeholderData: keepPreviousData,
  });

export const letterGroups = (status: "pending" | undefined, limit = 100) =>
  queryOptions({
    queryKey: ["dead-letters", "groups", status ?? "any", limit],
    queryFn: () =>
      body(
        api.GET("/api/v1/dead-letters/groups", {
          params: { query: { status: status ? [status] : undefined, limit } },
        }),
      ),
    placeholderData: keepPreviousData,
  });

export const letter = (id: string) =>
  queryOptions({
    queryKey: ["dead-letters", id],
    queryFn: () => text(`/api/v1/dead-letters/${id}`),
  });

const OPERATION_MS = 400;

export const operation = (id: string) =>
  queryOptions({
    queryKey: ["operations", id],
    queryFn: () =>
      body(api.GET("/api/v1/operations/{operation_id}", { params: { path: { operation_id: id } } })),
    refetchInterval: ({ state }) =>
      state.data?.status === "running" ? OPERATION_MS : state.data?.status === "paused" ? 2_000 : false,
    staleTime: 0,
  });

export const operations = (limit = 50) =>
  queryOptions({
    queryKey: ["operations", "list", limit],
    queryFn: () => body(api.GET("/api/v1/operations", { params: { query: { limit } } })),
    refetchInterval: 5_000,
  });
