import type { Level } from "../lib/api";

/** Worst first. */
export const levels: readonly Level[] = ["fatal", "error", "warn", "info", "debug", "trace", "unknown"];

/** The token of a level's colour; always shown beside its word. */
export const levelToken: Record<Level, string> = {
  fatal: "--bar-fatal", error: "--bar-bad", warn: "--bar-warn", info: "--calm", debug: "--low", trace: "--edge", unknown: "--faint",
};

const bar: Record<Level, string> = {
  fatal: "bg-bar-fatal", error: "bg-bar-bad", warn: "bg-bar-warn", info: "bg-calm", debug: "bg-low", trace: "bg-edge", unknown: "bg-faint",
};
const word: Record<Level, string> = {
  fatal: "text-fatal", error: "text-bad", warn: "text-warn", info: "text-muted", debug: "text-quiet", trace: "text-quiet", unknown: "text-quiet",
};

/** The 3 px bar at the left edge of a row; its parent is positioned. */
export function LevelBar({ level }: { level: Level }) {
  return <span aria-hidden className={`absolute inset-y-0 left-0 w-[3px] ${bar[level]}`} />;
}

export function LevelDot({ level }: { level: Level }) {
  return <span aria-hidden className={`inline-block h-3 w-[3px] rounded-full ${bar[level]}`} />;
}

export function LevelWord({ level, className = "" }: { level: Level; className?: string }) {
  return <span className={`${word[level]} ${className}`}>{level}</span>;
}

/** The level for what SDKs call theirs ("warning", "log"). */
export function toLevel(name: string): Level {
  if (name === "warning") return "warn";
  if (name === "critical") return "fatal";
  return levels.find((level) => level === name) ?? "unknown";
}
