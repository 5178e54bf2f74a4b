import type { Checkin } from "./api";
import { duration } from "./format";
import { day, type Zone, stamp } from "./time";
import type { Range, RawRange } from "./range";
import { isLive } from "./range";

/** What a run came to, as it is drawn: each has its own shape. */
export type Outcome = "ok" | "error" | "running" | "note";

export function outcome(run: Checkin): Outcome {
  if (run.status === "in_progress") return "running";
  if (run.status === "log") return "note";
  return run.status;
}

export const outcomeWords: Record<Outcome, string> = { ok: "ok", error: "failed", running: "running", note: "note" };

/** "21 Aug 02:30:04 failed with exit code 1 after 12 min" */
export function runWords(run: Checkin, zone: Zone, now: number): string {
  const words = [stamp(Date.parse(run.time), zone, now, "second"), outcomeWords[outcome(run)]];
  if (run.exit_code) words.push(`with exit code ${run.exit_code}`);
  if (run.duration_ms !== undefined) words.push(`after ${duration(run.duration_ms)}`);
  return words.join(" ");
}

/**
 * Heights of the bars between 0 and 1. A run without a duration is half high. The square root keeps a short run in
 * sight beside a long one.
 */
export function heights(runs: readonly Checkin[]): number[] {
  const longest = Math.max(0, ...runs.map((run) => run.duration_ms ?? 0));
  return runs.map((run) => (run.duration_ms === undefined || longest === 0 ? 0.5 : Math.max(0.18, Math.sqrt(run.duration_ms / longest))));
}

/**
 * The range in which runs are looked for. A job that runs each night has none in the last hour, so a live range is
 * widened to 30 days; one with fixed ends is taken as it is.
 */
export function runRange(raw: RawRange, range: Range): Range {
  return isLive(raw) ? { from: Math.min(range.from, range.to - 30 * day), to: range.to } : range;
}
