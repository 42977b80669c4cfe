import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useSyncExternalStore } from "react";
import { type FeedNews, feed } from "./feed";
import { throttled } from "./throttle";

/** Hear the feed for as long as the component stands. */
export function useFeed(listener: (news: FeedNews) => void): void {
  const latest = useRef(listener);
  latest.current = listener;
  useEffect(() => feed.listen((news) => latest.current(news)), []);
}

/** Whether events come in now. */
export function useFeedOpen(): boolean {
  return useSyncExternalStore(
    (changed) => feed.listen(changed),
    () => feed.open,
  );
}

/**
 * Read `key` again when any task has moved: at once, at most every `ms`, and once more `ms` after it. The API shares
 * readings for a moment, and the first one may be of before.
 */
export function useRefreshOnMoves(key: readonly unknown[], ms: number): void {
  const client = useQueryClient();
  const refresh = useRef<() => void>(undefined);
  const name = JSON.stringify(key);
  useEffect(() => {
    const again = throttled(() => void client.invalidateQueries({ queryKey: JSON.parse(name) }), ms);
    let later: ReturnType<typeof setTimeout> | undefined;
    refresh.current = () => {
      again();
      later ??= setTimeout(() => {
        later = undefined;
        again();
      }, ms);
    };
    return () => {
      again.cancel();
      clearTimeout(later);
    };
  }, [client, name, ms]);
  useFeed(({ events }) => {
    if (events.some(({ kind }) => kind === "task")) refresh.current?.();
  });
}
