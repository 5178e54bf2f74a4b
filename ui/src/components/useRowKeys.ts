import { useRef, type RefObject } from "react";
import { useKeys } from "../lib/keys";

/** j and k, and the arrows, move the focus between the elements marked data-row inside of the container. */
export function useRowKeys<T extends HTMLElement>(): RefObject<T | null> {
  const ref = useRef<T>(null);
  const move = (by: number) => {
    const rows = [...(ref.current?.querySelectorAll<HTMLElement>("[data-row]") ?? [])];
    if (rows.length === 0) return false;
    const at = rows.findIndex((row) => row === document.activeElement || row.contains(document.activeElement));
    const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1)];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
    return true;
  };
  const open = () => {
    const at = document.activeElement;
    if (!(at instanceof HTMLElement) || !ref.current?.contains(at)) return false;
    at.click();
    return true;
  };
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    ArrowDown: () => (ref.current?.contains(document.activeElement) ? move(1) : false),
    ArrowUp: () => (ref.current?.contains(document.activeElement) ? move(-1) : false),
    o: open,
  });
  return ref;
}
