import { expect, test } from "vitest";
import type { Schedule } from "./api";
import { formOf, newForm, scheduleOf } from "./schedule";

const schedule = (more: Partial<Schedule>): Schedule => ({
  kind: "none", value: "", timezone: "", margin_seconds: 0, max_runtime_seconds: 0, fail_after: 1, miss_after: 1, recover_after: 1, ...more,
});

test("a schedule that is opened and saved stays as it is", () => {
  for (const one of [
    schedule({ kind: "crontab", value: "*/5 * * * *", timezone: "Europe/Berlin", margin_seconds: 90, max_runtime_seconds: 3601, fail_after: 2, miss_after: 1, recover_after: 3 }),
    schedule({ kind: "interval", value: "5400", margin_seconds: 5 }),
    schedule({ kind: "interval", value: "86400", margin_seconds: 604_800, max_runtime_seconds: 2_592_000 }),
    schedule({ max_runtime_seconds: 60, fail_after: 4, miss_after: 4 }),
  ]) {
    expect({ timezone: "", ...scheduleOf(formOf(one, "UTC")) }).toEqual(one);
  }
});

test("an interval is in its largest whole unit", () => {
  const shown = (value: string) => {
    const { every, unit } = formOf(schedule({ kind: "interval", value }), "UTC");
    return `${every} ${unit}`;
  };
  expect(["45", "90", "120", "5400", "7200", "86400", "90000"].map(shown)).toEqual(["45 seconds", "90 seconds", "2 minutes", "90 minutes", "2 hours", "1 days", "25 hours"]);
});

test("a new monitor expects a run each night", () => {
  expect(scheduleOf(newForm("Europe/Berlin"))).toEqual({
    kind: "crontab", value: "30 2 * * *", timezone: "Europe/Berlin", margin_seconds: 600, max_runtime_seconds: 3600, fail_after: 1, miss_after: 1, recover_after: 1,
  });
});
