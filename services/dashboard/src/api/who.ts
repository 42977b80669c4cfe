import { useQuery } from "@tanstack/react-query";
import type { Schemas } from "./client";
import { profile } from "./queries";

export type Scope = Schemas["Profile"]["scopes"][number];

/** What the one who sits here may do. While that is not known: nothing. */
export function useMay(): (scope: Scope) => boolean {
  const { data } = useQuery(profile());
  return (scope) => data?.scopes.includes(scope) ?? false;
}
