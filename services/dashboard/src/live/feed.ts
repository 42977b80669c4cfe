/**
 * The feed of all events, one stream for all tabs of a browser: it allows six connections to an origin, and a tab that
 * waits for one hangs. The tab that holds the lock reads the stream and passes it on; when it closes another one takes over.
 * Where there are no locks (plain http on another machine) every tab reads for itself.
 */

import { onSession } from "../api/session";
import { heard, lost } from "./freshness";
import { follow } from "./sse";

export interface FeedEvent {
  kind: "task" | "log" | "progress";
  task_id: string;
  seq: number;
  version: number;
  status: string;
  type: string;
  queue: string;
  priority: string;
  at: string;
  fraction?: number;
  message?: string;
}

/** What tabs tell each other, and what listeners hear. `again`: something may have been missed. */
export interface FeedNews {
  events: FeedEvent[];
  open: boolean;
  again: boolean;
}

type Listener = (news: FeedNews) => void;
const NAME = "taskflow.feed";
const GATHER_MS = 50;

export class Feed {
  #listeners = new Set<Listener>();
  #channel: BroadcastChannel | null = null;
  #ending = new AbortController();
  #gathered: FeedEvent[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #open = false;
  #leads = false;
  #hasBeenOpen = false;

  get open(): boolean {
    return this.#open;
  }

  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Begin, and begin anew whenever somebody else signs in. Ends with the function it gives. */
  start(): () => void {
    this.#begin();
    const unhear = onSession(() => {
      this.#end();
      this.#begin();
    });
    return () => {
      unhear();
      this.#end();
    };
  }

  #begin(): void {
    this.#ending = new AbortController();
    const { signal } = this.#ending;
    if (!navigator.locks) {
      void this.#read(signal);
      return;
    }
    this.#channel = new BroadcastChannel(NAME);
    this.#channel.onmessage = ({ data }) => this.#hear(data as FeedNews | "hello");
    this.#channel.postMessage("hello");
    navigator.locks
      .request(NAME, { signal }, () => {
        this.#leads = true;
        return this.#read(signal);
      })
      .catch(() => undefined); // aborted while it waited
  }

  #end(): void {
    this.#ending.abort();
    this.#channel?.close();
    this.#channel = null;
    this.#leads = false;
    this.#open = false;
    clearTimeout(this.#timer);
    this.#gathered = [];
  }

  async #read(signal: AbortSignal): Promise<void> {
    const onEvent = ({ event, data }: { event?: string; data: string }) => {
      if (event === "resync") this.#tell({ events: [], open: true, again: true });
      else this.#gather({ kind: event as FeedEvent["kind"], ...JSON.parse(data) });
    };
    const onState = (open: boolean) => {
      this.#tell({ events: [], open, again: open && this.#hasBeenOpen });
    };
    try {
      await follow({ url: "/api/v1/events", onEvent, onState, signal });
    } catch {
      this.#tell({ events: [], open: false, again: false }); // not ours to read: the session is over
    }
  }

  /** Thousands of events a second come in some twenty parcels. */
  #gather(event: FeedEvent): void {
    this.#gathered.push(event);
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const events = this.#gathered;
      this.#gathered = [];
      this.#tell({ events, open: this.#open, again: false });
    }, GATHER_MS);
  }

  #tell(news: FeedNews): void {
    this.#channel?.postMessage(news);
    this.#pass(news);
  }

  #hear(data: FeedNews | "hello"): void {
    if (data === "hello") {
      if (this.#leads) this.#channel?.postMessage({ events: [], open: this.#open, again: false });
      return;
    }
    if (data.open) heard();
    else lost();
    this.#pass(data);
  }

  #pass(news: FeedNews): void {
    this.#open = news.open;
    this.#hasBeenOpen ||= news.open; // by another tab too: between its stream and ours something may be missed
    for (const listener of this.#listeners) listener(news);
  }
}

export const feed = new Feed();
