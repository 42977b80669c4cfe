import { queryOptions } from "@tanstack/react-query";
import { api, body } from "../../api/client";

const DOCTOR_MS = 30_000;
const FACTS_MS = 5_000;

export const doctor = () =>
  queryOptions({
    queryKey: ["doctor"],
    queryFn: () => body(api.GET("/api/v1/doctor")),
    refetchInterval: DOCTOR_MS,
  });

export const system = () =>
  queryOptions({
    queryKey: ["system"],
    queryFn: () => body(api.GET("/api/v1/system")),
    refetchInterval: FACTS_MS,
  });

/** `/readyz` tells the same facts whether it says yes or no. */
export const readiness = () =>
  queryOptions({
    queryKey: ["readiness"],
    queryFn: async () => (await (await fetch("/readyz")).json()) as Record<string, unknown>,
    refetchInterval: FACTS_MS,
  });
