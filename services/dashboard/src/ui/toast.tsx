/** Short messages about what was done. Errors stay until they are put away; the rest goes by itself. */

import { useSyncExternalStore } from "react";
import { tell } from "../api/problem";
import { Button } from "./parts";

interface Toast {
  id: number;
  text: string;
  tone: "good" | "bad";
}

const STAYS_MS = 5_000;
let toasts: Toast[] = [];
let next = 1;
const listeners = new Set<() => void>();

export function say(text: string, tone: Toast["tone"] = "good"): void {
  const id = next++;
  become([...toasts.slice(-3), { id, text, tone }]);
  if (tone === "good") setTimeout(() => dismiss(id), STAYS_MS);
}

export function complain(error: unknown): void {
  say(tell(error), "bad");
}

function dismiss(id: number): void {
  become(toasts.filter((toast) => toast.id !== id));
}

function become(all: Toast[]): void {
  toasts = all;
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function Toasts() {
  const shown = useSyncExternalStore(subscribe, () => toasts);
  return (
    <div className="toasts" role="status" aria-live="polite">
      {shown.map((toast) => (
        <div key={toast.id} className="note" data-tone={toast.tone}>
          <span>{toast.text}</span>
          <Button
            size="small"
            kind="plain"
            onClick={() => dismiss(toast.id)}
            aria-label={`put away: ${toast.text}`}
          >
            OK
          </Button>
        </div>
      ))}
    </div>
  );
}
