import { expect, test } from "vitest";
import type { Checkin } from "./api";
import { heights, isSlow, logsOf, runRange, runWords, trendWords } from "./runs";

const run = (more: Partial<Checkin>): Checkin => ({ id: "1", time: "2026-08-21T02:30:04Z", status: "ok", environment: "", source: "ping", message: "", ...more });
const now = Date.parse("2026-08-21T12:00:00Z");

test("bars are between nothing and all, and short runs stay in sight", () => {
  expect(heights([run({ duration_ms: 100 }), run({ duration_ms: 1 }), run({})])).toEqual([1, 0.18, 0.5]);
  expect(heights([])).toEqual([]);
});

test("a run in words", () => {
  expect(runWords(run({ status: "error", exit_code: 1, duration_ms: 720_000 }), "utc", now).replaceAll("\u00a0", " ")).toBe("02:30:04 failed with exit code 1 after 12 min");
});

test("runs are looked for in 30 days unless the range is fixed", () => {
  const range = { from: now - 3_600_000, to: now };
  expect(runRange({ from: "now-1h", to: "now" }, range).from).toBe(now - 30 * 86_400_000);
  expect(runRange({ from: "2026-08-21T11:00:00Z", to: "2026-08-21T12:00:00Z" }, range)).toBe(range);
});

test("the trend of durations in words", () => {
  const words = (usual: number | undefined, ratio?: number) =>
    trendWords({ ...(usual === undefined ? {} : { usual_duration_ms: usual }), ...(ratio === undefined ? {} : { duration_ratio: ratio }) })?.replaceAll("\u00a0", " ");
  expect(words(undefined)).toBeUndefined();
  expect(words(240_000, 3)).toBe("3 times slower than usual (4 min)");
  expect(words(240_000, 2.46)).toBe("2.5 times slower than usual (4 min)");
  expect(words(240_000, 12.4)).toBe("12 times slower than usual (4 min)");
  expect(words(240_000, 0.25)).toBe("4 times faster than usual (4 min)");
  expect(words(240_000, 1.2)).toBe("usually 4 min");
  expect(words(20, 3)).toBe("usually 20 ms");
  expect(words(0)).toBe("usually 0 ms");
});

test("only what took long is slow", () => {
  expect(isSlow({ usual_duration_ms: 240_000, duration_ratio: 3 })).toBe(true);
  expect(isSlow({ usual_duration_ms: 240_000, duration_ratio: 0.2 })).toBe(false);
  expect(isSlow({ usual_duration_ms: 20, duration_ratio: 30 })).toBe(false);
  expect(isSlow({})).toBe(false);
});

test("the logs of a run", () => {
  expect(logsOf(run({ started_at: "2026-08-21T02:00:00Z" }), now)).toEqual({ from: "2026-08-21T01:59:55Z", to: "2026-08-21T02:30:34Z" });
  expect(logsOf(run({}), now)).toEqual({ from: "2026-08-21T02:14:59Z", to: "2026-08-21T02:30:34Z" });
  expect(logsOf(run({ status: "in_progress", started_at: "2026-08-21T02:30:04Z" }), now)).toEqual({ from: "2026-08-21T02:29:59Z", to: "2026-08-21T12:00:00Z" });
});
