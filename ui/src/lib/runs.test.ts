import { expect, test } from "vitest";
import type { Checkin } from "./api";
import { heights, runRange, runWords } from "./runs";

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
