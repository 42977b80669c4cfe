/**
 * The screens, each a part of the page by itself. What is loaded is shown at once; what is not yet suspends, and React
 * then holds back what it shows by 0.3 s. So the first one is loaded before anything is shown, and the others soon after.
 */

import { type ComponentType, lazy, useState } from "react";

type Shown = ComponentType<{ id: string }>;

const PARTS = {
  overview: () => import("./pages/overview"),
  tasks: () => import("./pages/tasks"),
  task: () => import("./pages/task"),
  submit: () => import("./pages/submit"),
  queues: () => import("./pages/queues"),
  workers: () => import("./pages/workers"),
  deadLetters: () => import("./pages/deadLetters"),
  deadLetter: () => import("./pages/deadLetter"),
  operations: () => import("./pages/operations"),
  operation: () => import("./pages/operation"),
  webhooks: () => import("./pages/webhooks"),
  access: () => import("./pages/access"),
  system: () => import("./pages/system"),
} satisfies Record<string, () => Promise<{ default: Shown }>>;

export type Name = keyof typeof PARTS;

export const ROUTES: readonly (readonly [path: string, name: Name])[] = [
  ["/", "overview"],
  ["/tasks", "tasks"],
  ["/tasks/:id", "task"],
  ["/submit", "submit"],
  ["/queues", "queues"],
  ["/workers", "workers"],
  ["/dead-letters", "deadLetters"],
  ["/dead-letters/:id", "deadLetter"],
  ["/operations", "operations"],
  ["/operations/:id", "operation"],
  ["/webhooks", "webhooks"],
  ["/access", "access"],
  ["/system", "system"],
];

const NAMES = Object.keys(PARTS) as Name[];
const loaded = new Map<Name, Shown>();
const awaited = new Map<Name, Shown>(NAMES.map((name) => [name, lazy<Shown>(PARTS[name])]));
const FIRST_VIEW_MS = 1_500;

/** The screen at a path; undefined: there is none. */
export function nameAt(path: string): Name | undefined {
  return ROUTES.find(([pattern]) => new RegExp(`^${pattern.replace(":id", "[^/]+")}/?$`).test(path))?.[1];
}

/** Fetch a screen; it is asked for again when one goes there, if that fails. */
export async function load(name: Name): Promise<void> {
  try {
    loaded.set(name, (await PARTS[name]()).default);
  } catch {
    // the API is away: what is shown says so
  }
}

/** All other screens, once the first one stands: one can go to them while the API is away. */
export function loadAll(): () => void {
  const timer = setTimeout(() => void Promise.all(NAMES.map(load)), FIRST_VIEW_MS);
  return () => clearTimeout(timer);
}

export function Screen({ name, id }: { name: Name; id: string }) {
  // Chosen once: the same part in its other form would be another screen to React, and forget what is written in it.
  const [Part] = useState(() => (loaded.get(name) ?? awaited.get(name)) as Shown);
  return <Part id={id} />;
}
