import { expect, test } from "vitest";
import type { Issue, LogHistogram, Monitor, Overview } from "./api";
import { issuesSentence, logsSentence, monitorsSentence, overviewSentence } from "./sentence";

const plain = (text: string) => text.replaceAll("\u00a0", " ");
const now = Date.parse("2026-08-21T12:00:00Z");
const before = (minutes: number) => new Date(now - minutes * 60_000).toISOString();

function overview(change: { errors?: Partial<Overview["errors"]>; logs?: Partial<Overview["logs"]>; monitors?: Partial<Overview["monitors"]> } = {}): Overview {
  return {
    step_seconds: 60,
    logs: { total: 0, errors: 0, trend: [], error_trend: [], ...change.logs },
    errors: { events: 0, issues: 0, new_issues: 0, users: 0, trend: [], top: [], ...change.errors },
    metrics: { metrics: 0, series: 0, samples: 0, trend: [] },
    monitors: { total: 0, ok: 0, late: 0, bad: 0, ...change.monitors },
  };
}

function monitor(slug: string, status: Monitor["status"], more: Partial<Monitor> = {}): Monitor {
  return {
    slug,
    name: "",
    uuid: slug,
    status,
    schedule: { kind: "interval", value: "60", timezone: "UTC", margin_seconds: 0, max_runtime_seconds: 0, fail_after: 1, miss_after: 1, recover_after: 1 },
    schedule_words: "",
    created_at: before(9999),
    ping_url: "",
    recent: [],
    ...more,
  };
}

test("the overview says what is wrong, worst first", () => {
  const say = (o: Overview, monitors?: Monitor[]) => plain(overviewSentence(o, monitors, "in the last hour", now));
  expect(say(overview())).toBe("All quiet in the last hour.");
  expect(say(overview({ logs: { total: 214603 }, monitors: { total: 47, ok: 47 } }))).toBe(
    "All quiet in the last hour: 214,603 log lines, none an error; 47 of 47 jobs on time.",
  );
  expect(say(overview({ logs: { total: 1000, errors: 3 } }))).toBe("No issues in the last hour; 3 of 1,000 log lines are errors.");
  expect(say(overview({ errors: { events: 9, issues: 3, new_issues: 3, users: 18 } }))).toBe("3 new issues in the last hour; errors reached 18 users.");
  expect(say(overview({ errors: { events: 9, issues: 2 } }))).toBe("Nothing new, but 9 errors of 2 known issues in the last hour.");
  expect(say(overview({ monitors: { total: 2, ok: 1, late: 1 } }))).toBe("1 job not on time.");
  expect(say(overview({ monitors: { total: 2, ok: 1, late: 1 } }), [monitor("a", "ok"), monitor("billing-export", "late", { next_expected_at: before(12) })])).toBe(
    "billing-export is 12 min late.",
  );
});

test("monitors", () => {
  const say = (...monitors: Monitor[]) => plain(monitorsSentence(monitors, now));
  expect(say(monitor("a", "ok"))).toBe("a is on time.");
  expect(say(monitor("a", "ok"), monitor("b", "running"))).toBe("All 2 jobs are on time.");
  expect(say(monitor("a", "new"))).toBe("1 monitor, waiting for a first run.");
  expect(say(monitor("a", "paused"))).toBe("The monitor is paused.");
  expect(say(monitor("a", "paused"), monitor("b", "paused"))).toBe("All 2 monitors are paused.");
  expect(say(monitor("a", "paused"), monitor("b", "new"))).toBe("2 monitors, waiting for a first run.");
  expect(say(monitor("a", "ok"), monitor("b", "failed", { status_since: before(180) }), monitor("c", "paused"))).toBe("1 of 2 on time; b failed 3 h ago.");
  expect(say(...["a", "b", "c"].map((slug) => monitor(slug, "missed")))).toBe("0 of 3 on time; a missed its run, b missed its run, 1 more need a look.");
});

test("logs", () => {
  const histogram = (total: number, ...services: [string, number][]): LogHistogram => ({
    total,
    step_seconds: 60,
    buckets: [],
    services: services.map(([service, count]) => ({ service, count })),
  });
  const say = (h: LogHistogram, filtered: boolean) => plain(logsSentence(h, filtered, "in the last hour"));
  expect(say(histogram(214603, ["worker", 87987], ["api", 126616]), true)).toBe("214,603 lines match; 41 % come from worker.");
  expect(say(histogram(10, ["api", 10]), false)).toBe("10 lines in the last hour; all come from api.");
  expect(say(histogram(1, ["api", 1]), true)).toBe("1 line matches.");
  expect(say(histogram(0), true)).toBe("No line matches in the last hour.");
  expect(say(histogram(0), false)).toBe("No lines in the last hour.");
});

test("issues", () => {
  const issue = (type: string, users: number, first: number): Issue => ({
    id: type, title: type, type, value: "", culprit: "", level: "error", platform: "", trend: [], events: 4, total_events: 4, users, status: "unresolved",
    first_seen: before(first), last_seen: before(1),
  });
  const say = (issues: Issue[], total = issues.length) => plain(issuesSentence(issues, total, now - 3_600_000, "in the last hour"));
  expect(say([])).toBe("No errors in the last hour.");
  expect(say([issue("KeyError", 18, 30), issue("Old", 2, 99)])).toBe("1 new issue in the last hour and 1 known one; KeyError reached 18 users.");
  expect(say([issue("Old", 0, 99)])).toBe("No new issues; 4 errors of 1 known issue in the last hour.");
});
