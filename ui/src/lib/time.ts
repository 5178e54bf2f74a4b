/** Where a day begins: in the browser's time zone or in UTC. */
export type Zone = "local" | "utc";

export const second = 1000;
export const minute = 60 * second;
export const hour = 60 * minute;
export const day = 24 * hour;
export const week = 7 * day;

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"] as const;

/** The parts of a point in time as a clock on the wall shows them; the month counts from 0. */
export interface Wall {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
  milli: number;
}

export function wall(at: number, zone: Zone): Wall {
  const d = new Date(at);
  return zone === "utc"
    ? {
        year: d.getUTCFullYear(),
        month: d.getUTCMonth(),
        day: d.getUTCDate(),
        hour: d.getUTCHours(),
        minute: d.getUTCMinutes(),
        second: d.getUTCSeconds(),
        milli: d.getUTCMilliseconds(),
      }
    : {
        year: d.getFullYear(),
        month: d.getMonth(),
        day: d.getDate(),
        hour: d.getHours(),
        minute: d.getMinutes(),
        second: d.getSeconds(),
        milli: d.getMilliseconds(),
      };
}

/** The milliseconds of a wall time; parts beyond their range carry over, as in Date. */
export function fromWall(zone: Zone, year: number, month: number, dayOfMonth: number, h = 0, m = 0, s = 0): number {
  return zone === "utc"
    ? Date.UTC(year, month, dayOfMonth, h, m, s)
    : new Date(year, month, dayOfMonth, h, m, s).getTime();
}

export function monthFromName(name: string): number {
  return months.findIndex((m) => m.toLowerCase() === name.slice(0, 3).toLowerCase());
}

const two = (n: number) => String(n).padStart(2, "0");

export type Precision = "minute" | "second" | "milli";

/** 02:41, 02:41:09 or 02:41:09.123 */
export function clock(at: number, zone: Zone, precision: Precision = "minute"): string {
  const w = wall(at, zone);
  let s = `${two(w.hour)}:${two(w.minute)}`;
  if (precision !== "minute") s += `:${two(w.second)}`;
  if (precision === "milli") s += `.${String(w.milli).padStart(3, "0")}`;
  return s;
}

/** 21 Aug, with the year where it is not now's. */
export function date(at: number, zone: Zone, now: number): string {
  const w = wall(at, zone);
  const s = `${w.day} ${months[w.month]}`;
  return w.year === wall(now, zone).year ? s : `${s} ${w.year}`;
}

export function sameDay(a: number, b: number, zone: Zone): boolean {
  const x = wall(a, zone);
  const y = wall(b, zone);
  return x.year === y.year && x.month === y.month && x.day === y.day;
}

/** The clock for today, with the date before it for any other day. */
export function stamp(at: number, zone: Zone, now: number, precision: Precision = "minute"): string {
  const time = clock(at, zone, precision);
  return sameDay(at, now, zone) ? time : `${date(at, zone, now)} ${time}`;
}

/** ISO 8601 in the zone, whole seconds unless there are milliseconds: for titles and for links. */
export function iso(at: number, zone: Zone): string {
  const full = new Date(at).toISOString();
  if (zone === "utc") return full.replace(".000Z", "Z");
  const w = wall(at, zone);
  const offset = -new Date(at).getTimezoneOffset();
  const sign = offset < 0 ? "-" : "+";
  const abs = Math.abs(offset);
  const milli = w.milli === 0 ? "" : `.${String(w.milli).padStart(3, "0")}`;
  return (
    `${w.year}-${two(w.month + 1)}-${two(w.day)}T${two(w.hour)}:${two(w.minute)}:${two(w.second)}${milli}` +
    `${sign}${two(Math.floor(abs / 60))}:${two(abs % 60)}`
  );
}

/** What an <input type="datetime-local"> holds. */
export function inputValue(at: number, zone: Zone): string {
  const w = wall(at, zone);
  return `${w.year}-${two(w.month + 1)}-${two(w.day)}T${two(w.hour)}:${two(w.minute)}:${two(w.second)}`;
}

/** The time that an <input type="datetime-local"> holds, or undefined. */
export function fromInputValue(value: string, zone: Zone): number | undefined {
  const m = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d))?/.exec(value);
  if (!m) return undefined;
  return fromWall(zone, Number(m[1]), Number(m[2]) - 1, Number(m[3]), Number(m[4]), Number(m[5]), Number(m[6] ?? 0));
}
