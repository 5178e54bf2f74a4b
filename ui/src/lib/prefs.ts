import { useSyncExternalStore } from "react";
import type { Zone } from "./time";

export type Theme = "system" | "light" | "dark";

/** What a person chose for this browser. Everything else is in the address. */
interface Prefs {
  theme: Theme;
  zone: Zone;
  /** Whether single keys are shortcuts (WCAG 2.1.4 wants them to be switchable). */
  keys: boolean;
  /** Whether long log lines wrap. */
  wrap: boolean;
  project: number;
}

const defaults: Prefs = { theme: "system", zone: "local", keys: true, wrap: false, project: 0 };

const listeners = new Set<() => void>();
let current = load();

function load(): Prefs {
  const out: Record<string, unknown> = { ...defaults };
  for (const key of Object.keys(defaults)) {
    try {
      const stored = localStorage.getItem(`midwatch.${key}`);
      const value: unknown = stored === null ? undefined : JSON.parse(stored);
      if (typeof value === typeof out[key]) out[key] = value;
    } catch {
      // No storage, or not ours: the default stands.
    }
  }
  return out as unknown as Prefs;
}

export function pref<K extends keyof Prefs>(key: K): Prefs[K] {
  return current[key];
}

export function setPref<K extends keyof Prefs>(key: K, value: Prefs[K]): void {
  current = { ...current, [key]: value };
  try {
    localStorage.setItem(`midwatch.${key}`, JSON.stringify(value));
  } catch {
    // Private windows may refuse; the choice lives as long as the page.
  }
  for (const listener of listeners) listener();
}

export function usePref<K extends keyof Prefs>(key: K): Prefs[K] {
  return useSyncExternalStore(subscribe, () => current[key]);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const light = typeof matchMedia === "function" ? matchMedia("(prefers-color-scheme: light)") : undefined;

/** Shows the chosen theme and follows the system's where it is the choice. */
export function startTheme(): void {
  const apply = () => {
    const theme = current.theme === "system" ? (light?.matches ? "light" : "dark") : current.theme;
    if (document.documentElement.dataset.theme === theme) return;
    document.documentElement.dataset.theme = theme;
    for (const listener of themeListeners) listener();
  };
  listeners.add(apply);
  light?.addEventListener("change", apply);
  apply();
}

const themeListeners = new Set<() => void>();

/** The theme on the screen; for what is painted on a canvas. */
export function useShownTheme(): string {
  return useSyncExternalStore(
    (listener) => {
      themeListeners.add(listener);
      return () => themeListeners.delete(listener);
    },
    () => document.documentElement.dataset.theme ?? "dark",
  );
}
