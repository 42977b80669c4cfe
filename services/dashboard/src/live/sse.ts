/** Server-sent events by `fetch`, which unlike `EventSource` shows credentials in a header and tells why it ended. */

import { createParser, type EventSourceMessage } from "eventsource-parser";
import { call } from "../api/client";
import { problemOf } from "../api/problem";
import { heard, lost } from "./freshness";

/** The api sends a comment each 15 s; a stream that is silent for longer has died on the way. */
const SILENCE_MS = 40_000;
const PAUSES_MS = [200, 500, 1_000, 2_000];
const NO_CONTENT = 204;

export interface Follow {
  /** The path, without what it goes on after. */
  url: string;
  onEvent(event: EventSourceMessage): void;
  /** Each time the stream stands, and each time it is lost. */
  onState?(open: boolean): void;
  /** The last event's id; where the stream goes on. */
  after?: string;
  signal: AbortSignal;
}

/** Follow a stream until `signal`, `event: end`, or an answer that says never; come back by itself after losses. */
export async function follow(wish: Follow): Promise<void> {
  const place = { id: wish.after ?? "", failures: 0 };
  while (!wish.signal.aborted) {
    try {
      if (await once(wish, place)) return;
    } catch (error) {
      if (wish.signal.aborted) return;
      if (error instanceof Error && error.name === "Problem" && isFinal(error)) throw error;
      lost();
    }
    wish.onState?.(false);
    const pause = PAUSES_MS[Math.min(place.failures++, PAUSES_MS.length - 1)] ?? 0;
    await rest(pause * (0.75 + Math.random() / 2), wish.signal);
  }
}

/** One connection; true: there is no more to come. */
async function once(wish: Follow, place: { id: string; failures: number }): Promise<boolean> {
  const watch = new AbortController();
  const signal = AbortSignal.any([wish.signal, watch.signal]);
  const headers: Record<string, string> = { accept: "text/event-stream" };
  if (place.id) headers["last-event-id"] = place.id;
  const answer = await call(wish.url, { headers, signal, cache: "no-store" });
  if (answer.status === NO_CONTENT) return true;
  if (!answer.ok || !answer.body) {
    throw problemOf(answer.status, await answer.json().catch(() => null));
  }
  let ended = false;
  const parser = createParser({
    onEvent(event) {
      if (event.id !== undefined) place.id = event.id;
      if (event.event === "end") ended = true;
      else if (event.event !== "bye") wish.onEvent(event);
    },
  });
  wish.onState?.(true);
  place.failures = 0;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let alarm = setTimeout(() => watch.abort(), SILENCE_MS);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return ended;
      heard();
      clearTimeout(alarm);
      alarm = setTimeout(() => watch.abort(), SILENCE_MS);
      parser.feed(value);
    }
  } finally {
    clearTimeout(alarm);
    watch.abort(); // whatever ended it, its connection is given back
  }
}

/** An answer that a second try would not change. */
function isFinal(error: Error & { status?: number }): boolean {
  const status = error.status ?? 0;
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
}

function rest(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}
