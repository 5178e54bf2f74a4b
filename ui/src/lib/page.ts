import { useParams } from "@tanstack/react-router";
import { useEffect, useRef, useState, useSyncExternalStore } from "react";

/** The number of the project in the address. */
export function useProject(): { project: number; param: string } {
  const { project = "0" } = useParams({ strict: false });
  return { project: Number(project), param: project };
}

/** Names the page and its state in the tab: "3 new issues · Errors · shop". */
export function useTitle(...parts: (string | undefined | false)[]): void {
  const title = [...parts.filter(Boolean), "Midwatch"].join(" · ");
  useEffect(() => {
    document.title = title;
  }, [title]);
}

let spoken = "";
let timer: ReturnType<typeof setTimeout> | undefined;
const listeners = new Set<() => void>();

/** Tells a screen reader, politely, and at most once in a second; of several the last. */
export function announce(text: string): void {
  clearTimeout(timer);
  timer = setTimeout(() => {
    spoken = text;
    for (const listener of listeners) listener();
  }, 700);
}

export function useAnnounced(): string {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => spoken,
  );
}

/** Announces text when what was asked for changes, and not each time that the range moves on. */
export function useAnswer(text: string | undefined, asked: string): void {
  const told = useRef("");
  useEffect(() => {
    if (text === undefined || told.current === asked) return;
    told.current = asked;
    announce(text);
  }, [text, asked]);
}

/** Copies text; false where the browser refuses. */
export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No clipboard without TLS, except on loopback: the old way.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "fixed opacity-0";
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/** The time, moving every so many milliseconds: for "12 min ago". */
export function useNow(every = 10_000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const interval = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(interval);
  }, [every]);
  return now;
}

/** What is typed into a field whose value is in the address: it follows the address when that changes. */
export function useDraft(value: string): [string, (draft: string) => void] {
  const [draft, setDraft] = useState(value);
  const [was, setWas] = useState(value);
  if (was !== value) {
    setWas(value);
    setDraft(value);
  }
  return [draft, setDraft];
}
