import type { OncallGap, OncallShift } from "./api";
import { duration } from "./format";
import { clock, date, day, fromWall, sameDay, wall, week as weekMs, type Zone } from "./time";

const names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] as const;

export interface CalendarDay {
  from: number;
  to: number;
  /** "Mon 17 Aug" */
  label: string;
}

export interface CalendarWeek {
  from: number;
  to: number;
  days: CalendarDay[];
}

/** The start of the Monday of the week of a time. */
export function monday(at: number, zone: Zone): number {
  const w = wall(at, zone);
  return fromWall(zone, w.year, w.month, w.day - weekdayOf(at, zone));
}

/** 0 for Monday. */
function weekdayOf(at: number, zone: Zone): number {
  const w = wall(at, zone);
  return (new Date(Date.UTC(w.year, w.month, w.day)).getUTCDay() + 6) % 7;
}

/** The Monday that an address names, 2026-08-17; that of now where it names none. */
export function mondayOf(text: string | undefined, zone: Zone, now: number): number {
  const m = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text ?? "");
  return monday(m ? fromWall(zone, Number(m[1]), Number(m[2]) - 1, Number(m[3])) : now, zone);
}

/** A Monday as an address names it, so many weeks on. */
export function mondayText(at: number, weeks: number, zone: Zone): string {
  const w = wall(at, zone);
  return new Date(Date.UTC(w.year, w.month, w.day + 7 * weeks)).toISOString().slice(0, 10);
}

/** So many weeks from a Monday on. Days are those of the clock on the wall: where it is changed one has 23 or 25 hours. */
export function weeks(from: number, n: number, zone: Zone, now: number): CalendarWeek[] {
  const w = wall(from, zone);
  const start = (k: number) => fromWall(zone, w.year, w.month, w.day + k);
  return Array.from({ length: n }, (_, i) => ({
    from: start(7 * i),
    to: start(7 * i + 7),
    days: Array.from({ length: 7 }, (_, d) => {
      const at = start(7 * i + d);
      return { from: at, to: start(7 * i + d + 1), label: `${names[d]} ${date(at, zone, now)}` };
    }),
  }));
}

/** Where a time is in its week, from 0 to 1; each day is a seventh, however many hours it has. */
export function place(at: number, week: CalendarWeek): number {
  if (at <= week.from) return 0;
  if (at >= week.to) return 1;
  const i = week.days.findLastIndex((one) => one.from <= at);
  const { from, to } = week.days[i]!;
  return (i + (at - from) / (to - from)) / 7;
}

export interface Bar {
  left: number;
  width: number;
  shift: OncallShift;
  /** Whether it begins, or ends, in another week. */
  before: boolean;
  after: boolean;
}

/** The shifts of a week as bars. */
export function bars(shifts: readonly OncallShift[], week: CalendarWeek): Bar[] {
  const out: Bar[] = [];
  for (const shift of shifts) {
    const from = Date.parse(shift.from);
    const to = Date.parse(shift.to);
    if (to <= week.from || from >= week.to) continue;
    const left = place(from, week);
    out.push({ left, width: place(to, week) - left, shift, before: from < week.from, after: to > week.to });
  }
  return out;
}

/** "Mon 17 Aug 09:00", without the date for one of the next six days and without the day for today. */
export function moment(at: number, zone: Zone, now: number): string {
  const time = clock(at, zone);
  if (sameDay(at, now, zone)) return time;
  const name = names[weekdayOf(at, zone)]!;
  return at > now && at - now < 6 * day ? `${name} ${time}` : `${name} ${date(at, zone, now)} ${time}`;
}

/** Shifts of one person that touch are one: a hand-over to oneself is none. apart keeps overrides by themselves. */
export function joined(shifts: readonly OncallShift[], apart = false): OncallShift[] {
  const out: OncallShift[] = [];
  for (const shift of shifts) {
    const last = out.at(-1);
    if (last && last.person === shift.person && !(apart && last.override !== shift.override) && Date.parse(last.to) >= Date.parse(shift.from)) out[out.length - 1] = { ...last, to: shift.to };
    else out.push(shift);
  }
  return out;
}

export interface Duty {
  now: OncallShift | undefined;
  next: OncallShift | undefined;
}

/** Who is on call, until when, and who is after that. */
export function duty(shifts: readonly OncallShift[], now: number): Duty {
  const all = joined(shifts);
  return {
    now: all.find((one) => Date.parse(one.from) <= now && now < Date.parse(one.to)),
    next: all.find((one) => Date.parse(one.from) > now),
  };
}

/** "Ada until Mon 09:00, then Bo" */
export function dutyWords({ now: current, next }: Duty, name: (id: string) => string, zone: Zone, now: number): string {
  if (!current) return next ? `nobody until ${moment(Date.parse(next.from), zone, now)}, then ${name(next.person)}` : "nobody";
  const until = Date.parse(current.to);
  if (!next || until - now > 10 * weekMs) return name(current.person);
  const then = Date.parse(next.from) > until ? ", then nobody" : `, then ${name(next.person)}`;
  return `${name(current.person)} until ${moment(until, zone, now)}${then}`;
}

/** The gaps that a person should close, in words: the first of those of the next 7 days, and how many more there are. */
export function gapWords(gaps: readonly OncallGap[], zone: Zone, now: number): string[] {
  const all = gaps
    .map((one) => ({ from: Math.max(Date.parse(one.from), now), to: Date.parse(one.to) }))
    .filter((one) => one.to > now && one.from < now + weekMs)
    .map(({ from, to }) => {
      const begin = from <= now ? "now" : `from ${moment(from, zone, now)}`;
      // A gap that goes beyond what was looked at has no end that is known.
      if (to >= now + 2 * weekMs) return `Nobody is on call ${begin === "now" ? "now and in the next 7 d" : `${begin} on`}.`;
      return `Nobody is on call ${begin === "now" ? "from now" : begin} to ${moment(to, zone, now)} (${duration(to - from)}).`;
    });
  return all.length <= 3 ? all : [...all.slice(0, 2), `And ${all.length - 2} more times in the next 7\u00a0d.`];
}

/** The first line of the page. */
export function oncallSentence(all: readonly { schedule: string; duty: Duty; gaps: readonly string[] }[], name: (id: string) => string): string {
  if (all.length === 0) return "Nobody is on call: there is no schedule yet.";
  const manned = all.filter((one) => one.duty.now);
  const empty = all.filter((one) => !one.duty.now);
  const parts = manned.slice(0, 2).map((one) => `${name(one.duty.now!.person)} is on call for ${one.schedule}`);
  if (manned.length > 2) parts.push(`${manned.length - 2} more schedules have somebody`);
  if (empty.length > 0) parts.push(`nobody ${manned.length === 0 ? "is on call " : ""}for ${empty.length <= 2 ? empty.map((one) => one.schedule).join(" and ") : `${empty.length} schedules`}`);
  const text = parts.join("; ");
  return `${text[0]!.toUpperCase()}${text.slice(1)}.`;
}
