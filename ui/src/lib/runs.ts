import type { Checkin, Monitor } from "./api";
import { duration } from "./format";
import { day, iso, minute, second, type Zone, stamp } from "./time";
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

/** "3 times slower than usual (4 min)", "usually 4 min"; undefined where nothing is usual yet. */
export function trendWords(monitor: Pick<Monitor, "usual_duration_ms" | "duration_ratio">): string | undefined {
  const { usual_duration_ms: usual, duration_ratio: ratio } = monitor;
  if (usual === undefined) return undefined;
  const change = changeOf(usual, ratio);
  return change === undefined ? `usually ${duration(usual)}` : `${timesWords(change < 1 ? 1 / change : change)} ${change < 1 ? "faster" : "slower"} than usual (${duration(usual)})`;
}

/** Whether the newest run took so much longer than usual that a person should see it. */
export function isSlow(monitor: Pick<Monitor, "usual_duration_ms" | "duration_ratio">): boolean {
  return (changeOf(monitor.usual_duration_ms ?? 0, monitor.duration_ratio) ?? 0) > 1;
}

/** The ratio where it says something: a job of a few milliseconds is often twice as slow by chance. */
function changeOf(usual: number, ratio: number | undefined): number | undefined {
  if (ratio === undefined || ratio <= 0 || Math.abs(ratio - 1) * usual < second) return undefined;
  return ratio >= 1.5 || ratio <= 1 / 1.5 ? ratio : undefined;
}

function timesWords(times: number): string {
  return `${times < 10 ? Number(times.toFixed(1)) : Math.round(times)}\u00a0times`;
}

/**
 * The range of the logs that were written while a run went on, with some seconds at both ends for what its machine
 * sent late. Where the start is not known, the quarter of an hour before the end.
 */
export function logsOf(run: Checkin, now: number): RawRange {
  const end = Date.parse(run.time);
  const start = run.started_at ? Date.parse(run.started_at) : end - 15 * minute;
  const to = run.status === "in_progress" ? now : end + 30 * second;
  return { from: iso(start - 5 * second, "utc"), to: iso(Math.max(to, start + second), "utc") };
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
