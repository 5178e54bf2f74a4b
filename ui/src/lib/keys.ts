import { useEffect, useRef } from "react";
import { pref } from "./prefs";

/** Key names ("j", "Escape", "g l", "mod+k") and what they do. Handled keys do nothing else; false passes the key on. */
export type KeyMap = Record<string, (event: KeyboardEvent) => void | boolean>;

const layers: { current: KeyMap }[] = [];
let prefix = "";
let prefixAt = 0;

/** Shortcuts for as long as the component is shown; those mounted later come first. */
export function useKeys(map: KeyMap): void {
  const latest = useRef(map);
  useEffect(() => {
    latest.current = map;
  });
  useEffect(() => {
    layers.push(latest);
    return () => {
      layers.splice(layers.indexOf(latest), 1);
    };
  }, []);
}

/** The name of a pressed key. */
export function keyName(event: Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "altKey">): string {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.altKey) return "";
  return event.ctrlKey || event.metaKey ? `mod+${key}` : key;
}

/** Whether the key belongs to the element that has the focus. */
function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

/** Whether something floats above the page and owns the keys. */
function covered(): boolean {
  return document.querySelector("dialog[open], [data-radix-popper-content-wrapper]") !== null;
}

export function startKeys(): void {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    const name = keyName(event);
    if (name === "") return;
    const command = name.startsWith("mod+");
    if (!command) {
      if (typing(event.target) || covered()) return;
      const single = event.key.length === 1;
      if (single && !pref("keys")) return;
      // Enter presses the button or follows the link that has the focus.
      if (name === "Enter" && event.target instanceof Element && event.target.closest("button, a[href], summary")) return;
    }
    const now = Date.now();
    const sequence = prefix !== "" && now - prefixAt < 1500 ? `${prefix} ${name}` : "";
    prefix = "";
    if (sequence && run(sequence, event)) return;
    if (!command && layers.some((layer) => Object.keys(layer.current).some((key) => key.startsWith(`${name} `)))) {
      prefix = name;
      prefixAt = now;
      return;
    }
    run(name, event);
  });
}

function run(name: string, event: KeyboardEvent): boolean {
  for (const layer of layers.toReversed()) {
    const action = layer.current[name];
    if (action && action(event) !== false) {
      event.preventDefault();
      return true;
    }
  }
  return false;
}

/** Cmd on a Mac, Ctrl elsewhere. */
export const modifier = typeof navigator === "object" && /Mac|iPhone|iPad/.test(navigator.platform) ? "⌘" : "Ctrl ";
