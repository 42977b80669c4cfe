import { type QueryKey, useMutation, useQueryClient } from "@tanstack/react-query";
import { complain, say } from "./toast";

/** A command: what it did is said, what it made stale is read again, and why it was refused is told. */
export function useAct<T = void, R = unknown>(
  deed: (wish: T) => Promise<R>,
  after: { stale: QueryKey[]; said?: (result: R, wish: T) => string | null; onDone?: (result: R) => void },
) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: deed,
    onSuccess(result, wish) {
      const text = after.said?.(result, wish);
      if (text) say(text);
      for (const queryKey of after.stale) void client.invalidateQueries({ queryKey });
      after.onDone?.(result);
    },
    onError: complain,
  });
}
