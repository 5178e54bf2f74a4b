import type { NewSchedule, Schedule } from "./api";

/** What is typed to say when a job should run, in the units in which a person says it. */
export interface ScheduleForm {
  kind: Schedule["kind"];
  cron: string;
  timezone: string;
  every: number;
  unit: Unit;
  /** In minutes. */
  margin: number;
  /** In minutes; 0 is any time. */
  runtime: number;
  failAfter: number;
  missAfter: number;
  recoverAfter: number;
}

export const units = { seconds: 1, minutes: 60, hours: 3600, days: 86_400 } as const;
export type Unit = keyof typeof units;

/** What a new monitor begins with. */
export function newForm(timezone: string): ScheduleForm {
  return { kind: "crontab", cron: "30 2 * * *", timezone, every: 1, unit: "hours", margin: 10, runtime: 60, failAfter: 1, missAfter: 1, recoverAfter: 1 };
}

/** The form of a schedule that there is; what its kind does not use is that of a new one. */
export function formOf(schedule: Schedule, timezone: string): ScheduleForm {
  const form: ScheduleForm = {
    ...newForm(timezone),
    kind: schedule.kind,
    margin: schedule.kind === "none" ? newForm(timezone).margin : minutes(schedule.margin_seconds),
    runtime: minutes(schedule.max_runtime_seconds),
    failAfter: schedule.fail_after,
    missAfter: schedule.miss_after,
    recoverAfter: schedule.recover_after,
  };
  if (schedule.kind === "crontab") return { ...form, cron: schedule.value, timezone: schedule.timezone || "UTC" };
  if (schedule.kind === "interval") return { ...form, ...interval(Number(schedule.value)) };
  return form;
}

/** The schedule as the API takes it. */
export function scheduleOf(form: ScheduleForm): NewSchedule {
  const limits = {
    margin_seconds: Math.round(form.margin * 60),
    max_runtime_seconds: Math.round(form.runtime * 60),
    fail_after: form.failAfter,
    miss_after: form.missAfter,
    recover_after: form.recoverAfter,
  };
  switch (form.kind) {
    case "crontab":
      return { kind: "crontab", value: form.cron.trim(), timezone: form.timezone, ...limits };
    case "interval":
      return { kind: "interval", value: String(Math.round(form.every * units[form.unit])), ...limits };
    default:
      return { kind: "none", value: "", ...limits, margin_seconds: 0 };
  }
}

/** Whole minutes where they are, and what remains so exact that the seconds come back. */
function minutes(seconds: number): number {
  return Number((seconds / 60).toFixed(3));
}

/** The seconds in the largest unit that they are whole in. */
function interval(seconds: number): Pick<ScheduleForm, "every" | "unit"> {
  for (const unit of ["days", "hours", "minutes"] as const) {
    if (seconds % units[unit] === 0) return { every: seconds / units[unit], unit };
  }
  return { every: seconds, unit: "seconds" };
}
