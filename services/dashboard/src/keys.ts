/**
 * Keyboard shortcuts: one letter, or `g` and one letter. They are silent while one types, and can be turned off as a whole
 * (WCAG 2.1.4: speech input types letters that nobody meant).
 */

import { useEffect, useRef, useSyncExternalStore } from "react";

export interface Shortcut {
  keys: string;
  label: string;
  deed(): void;
}

const STORED = "taskflow.shortcuts";
const PREFIX_MS = 1_500;
const registered = new Set<{ current: Shortcut[] }>();
const listeners = new Set<() => void>();
let prefixedUntil = 0;

export function areOn(): boolean {
  return localStorage.getItem(STORED) !== "off";
}

export function turn(on: boolean): void {
  localStorage.setItem(STORED, on ? "on" : "off");
  for (const listener of listeners) listener();
}

export function useAreOn(): boolean {
  return useSyncExternalStore((changed) => {
    listeners.add(changed);
    return () => listeners.delete(changed);
  }, areOn);
}

/** Every shortcut of the screen that is shown, the newest last. */
export function shortcuts(): Shortcut[] {
  return [...registered].flatMap(({ current }) => current);
}

/** These shortcuts hold as long as the component stands; a newer component's go before. */
export function useShortcuts(mine: Shortcut[]): void {
  const latest = useRef(mine);
  latest.current = mine;
  useEffect(() => {
    registered.add(latest);
    return () => {
      registered.delete(latest);
    };
  }, []);
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName)) &&
    !(target instanceof HTMLInputElement && target.type === "checkbox")
  );
}

function hear(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (!areOn() || document.querySelector("dialog[open]")) return;
  const prefixed = Date.now() < prefixedUntil ? "g " : "";
  prefixedUntil = !prefixed && event.key === "g" ? Date.now() + PREFIX_MS : 0;
  const wanted = prefixed + event.key;
  // A button that has the focus takes Enter and Space for itself.
  const isPressed = event.target instanceof HTMLElement && event.target.closest("a, button, summary");
  if (isPressed && (event.key === "Enter" || event.key === " ")) return;
  const found = shortcuts().findLast(({ keys }) => keys === wanted);
  if (!found) return;
  event.preventDefault();
  found.deed();
}

export function listenToKeys(): () => void {
  document.addEventListener("keydown", hear);
  return () => document.removeEventListener("keydown", hear);
}
