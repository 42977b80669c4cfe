/** Light, dark, or what the system says. */

import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";
const STORED = "taskflow.theme";
const listeners = new Set<() => void>();

export function theme(): Theme {
  const kept = localStorage.getItem(STORED);
  return kept === "light" || kept === "dark" ? kept : "system";
}

export function setTheme(next: Theme): void {
  localStorage.setItem(STORED, next);
  applyTheme();
}

export function applyTheme(): void {
  const chosen = theme();
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  for (const listener of listeners) listener();
}

/** From light to dark to the system's. */
export function nextTheme(): void {
  const order: Theme[] = ["system", "light", "dark"];
  setTheme(order[(order.indexOf(theme()) + 1) % order.length] as Theme);
}

/** What is shown now; charts are drawn anew when it changes. */
export function useIsDark(): boolean {
  return useSyncExternalStore(
    (changed) => {
      const media = window.matchMedia("(prefers-color-scheme: dark)");
      media.addEventListener("change", changed);
      listeners.add(changed);
      return () => {
        media.removeEventListener("change", changed);
        listeners.delete(changed);
      };
    },
    () =>
      theme() === "dark" ||
      (theme() === "system" && window.matchMedia("(prefers-color-scheme: dark)").matches),
  );
}

export function useTheme(): Theme {
  return useSyncExternalStore((changed) => {
    listeners.add(changed);
    return () => listeners.delete(changed);
  }, theme);
}
