import { queryOptions } from "@tanstack/react-query";
import { text } from "../../api/client";

/** What the API's doctor found. */
export interface Doctor {
  as_of: string;
  healthy: boolean;
  findings: { code: string; detail: string; count: number; examples: string[] }[];
  checks: { code: string; count: number }[];
}

export const doctor = () =>
  queryOptions({
    queryKey: ["doctor"],
    queryFn: async () => JSON.parse(await text("/api/v1/doctor")) as Doctor,
    refetchInterval: 30_000,
  });

/** Facts of what the system stands on. */
export interface SystemFacts {
  as_of: string;
  api: { version: string; python: string; uptime_seconds: number; streams_open: number; requests: number };
  postgres: {
    version: string | null;
    database: string | null;
    size_bytes: number | null;
    connections: number | null;
    connections_max: number | null;
    oldest_transaction_seconds: number | null;
    migration: string | null;
    ranges: { name: string; from: string; to: string; tasks_estimate: number | null }[];
    error: string | null;
  };
  nats: {
    connected: boolean;
    server: string | null;
    version: string | null;
    streams: {
      name: string;
      messages: number;
      bytes: number;
      storage: string;
      replicas: number;
      first_sequence: number;
      last_sequence: number;
    }[];
    consumers: { stream: string; name: string; pending: number; ack_pending: number; redelivered: number }[];
    error: string | null;
  };
  settings: Record<string, unknown>;
}

export const system = () =>
  queryOptions({
    queryKey: ["system"],
    queryFn: async () => JSON.parse(await text("/api/v1/system")) as SystemFacts,
    refetchInterval: 5_000,
  });

/** `/readyz` answers with the same facts whether it says yes or no. */
export const readiness = () =>
  queryOptions({
    queryKey: ["readiness"],
    queryFn: async () => (await (await fetch("/readyz")).json()) as Record<string, unknown>,
    refetchInterval: 5_000,
  });
