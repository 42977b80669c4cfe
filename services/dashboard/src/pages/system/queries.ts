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
