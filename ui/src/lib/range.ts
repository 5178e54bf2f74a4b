import { clock, date, day, fromWall, hour, iso, minute, monthFromName, sameDay, second, wall, week, type Zone } from "./time";

/** A range as it stands in the URL. An edge is now, now-1h, now/d (the start of the day) or an absolute time. */
export interface RawRange {
  from: string;
  to: string;
}

/** A range in milliseconds, half open: from is in it, to is not. */
export interface Range {
  from: number;
  to: number;
}

export const defaultRange: RawRange = { from: "now-1h", to: "now" };

const units: Record<string, number> = { s: second, m: minute, h: hour, d: day, w: week };
const unitNames: Record<string, string> = { s: "s", m: "min", h: "h", d: "d", w: "w" };

export const presets: { raw: RawRange; name: string }[] = [
  ...["15m", "1h", "6h", "24h", "7d", "30d"].map((span) => {
    const raw = { from: `now-${span}`, to: "now" };
    return { raw, name: describe(raw, "utc", 0) };
  }),
  { raw: { from: "now/d", to: "now" }, name: "Today" },
  { raw: { from: "now-1d/d", to: "now/d" }, name: "Yesterday" },
];

const relativeEdge = /^now(?:-(\d{1,5})([smhdw]))?(?:\/([dw]))?$/;

/** The time of one edge, or undefined for a text that is none. */
export function parseEdge(text: string, now: number, zone: Zone): number | undefined {
  const m = relativeEdge.exec(text);
  if (m) {
    const at = now - Number(m[1] ?? 0) * (units[m[2] ?? "s"] ?? 0);
    if (!m[3]) return at;
    const w = wall(at, zone);
    // A week begins on Monday.
    const back = m[3] === "w" ? (new Date(Date.UTC(w.year, w.month, w.day)).getUTCDay() + 6) % 7 : 0;
    return fromWall(zone, w.year, w.month, w.day - back);
  }
  if (/^\d{12,14}$/.test(text)) return Number(text);
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : at;
}

/** The range in milliseconds, or undefined where an edge is unreadable or nothing lies between them. */
export function resolve(raw: RawRange, now: number, zone: Zone): Range | undefined {
  // A full second, so that what arrived in the current one is in the range.
  const ceiling = Math.ceil((now + 1) / second) * second;
  const from = parseEdge(raw.from, ceiling, zone);
  const to = parseEdge(raw.to, ceiling, zone);
  if (from === undefined || to === undefined || from >= to) return undefined;
  return { from, to };
}

/** Whether the range moves with time. */
export function isLive(raw: RawRange): boolean {
  return raw.to.startsWith("now") || raw.from.startsWith("now");
}

/** The same range with fixed edges, for a link that shows tomorrow what it shows now. */
export function freeze(range: Range): RawRange {
  return { from: iso(range.from, "utc"), to: iso(range.to, "utc") };
}

export function same(a: RawRange, b: RawRange): boolean {
  return a.from === b.from && a.to === b.to;
}

/** "Last 1 h", "Yesterday", "21 Aug 02:00 – 03:00" */
export function describe(raw: RawRange, zone: Zone, now: number): string {
  if (raw.to === "now") {
    const m = /^now-(\d+)([smhdw])$/.exec(raw.from);
    if (m) return `Last ${m[1]}\u00a0${unitNames[m[2]!]}`;
    if (raw.from === "now/d") return "Today";
    if (raw.from === "now/w") return "This week";
  }
  if (raw.from === "now-1d/d" && raw.to === "now/d") return "Yesterday";
  if (raw.from === "now-1w/w" && raw.to === "now/w") return "Last week";
  const range = resolve(raw, now, zone);
  if (!range) return "Unreadable range";
  const precision = range.from % minute || (raw.to !== "now" && range.to % minute) ? "second" : "minute";
  const from = `${date(range.from, zone, now)} ${clock(range.from, zone, precision)}`;
  if (raw.to === "now") return `Since ${from}`;
  // Midnight belongs to the day that it ends.
  const end = sameDay(range.from, range.to - 1, zone)
    ? clock(range.to, zone, precision)
    : `${date(range.to, zone, now)} ${clock(range.to, zone, precision)}`;
  return `${from} – ${end}`;
}

/** The range as part of a sentence: "in the last 1 h", "yesterday", "from 21 Aug 02:00 to 03:00". */
export function inWords(raw: RawRange, zone: Zone, now: number): string {
  const text = describe(raw, zone, now);
  if (text === "Last 1\u00a0h") return "in the last hour";
  if (text.startsWith("Last ") && text !== "Last week") return `in the last ${text.slice(5)}`;
  if (/^(Today|Yesterday|This week|Last week|Since)/.test(text)) return text[0]!.toLowerCase() + text.slice(1);
  return `from ${text.replace(" – ", " to ")}`;
}

/** The range before or after this one, of the same length; none reaches beyond now. */
export function step(raw: RawRange, direction: -1 | 1, now: number, zone: Zone): RawRange {
  const range = resolve(raw, now, zone);
  if (!range) return defaultRange;
  const span = range.to - range.from;
  const to = range.to + direction * span;
  if (to >= now) return { from: `now-${spanText(span)}`, to: "now" };
  return freeze({ from: to - span, to });
}

/** The span in the largest unit that fits it whole. */
function spanText(span: number): string {
  const seconds = Math.max(1, Math.round(span / second));
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["m", 60]] as const) {
    if (seconds % size === 0) return `${seconds / size}${unit}`;
  }
  return `${seconds}s`;
}

const longUnits: Record<string, string> = {
  s: "s", sec: "s", secs: "s", second: "s", seconds: "s",
  m: "m", min: "m", mins: "m", minute: "m", minutes: "m",
  h: "h", hr: "h", hrs: "h", hour: "h", hours: "h",
  d: "d", day: "d", days: "d",
  w: "w", week: "w", weeks: "w",
};

/**
 * What a person types: "3h", "last 2 days", "today", "yesterday", "14:00", "2026-08-21", "21 Aug 02:00 to 03:30",
 * "now-6h to now-1h". Undefined for what cannot be read.
 */
export function parseTyped(text: string, now: number, zone: Zone): RawRange | undefined {
  const s = text.trim().toLowerCase().replace(/\s+/g, " ");
  const words: Record<string, RawRange> = {
    today: { from: "now/d", to: "now" },
    yesterday: { from: "now-1d/d", to: "now/d" },
    "this week": { from: "now/w", to: "now" },
    "last week": { from: "now-1w/w", to: "now/w" },
  };
  if (words[s]) return words[s];
  const span = /^(?:last |past |now-|-)?(\d{1,5}) ?([a-z]+)$/.exec(s);
  if (span && longUnits[span[2]!]) {
    const raw = { from: `now-${Number(span[1])}${longUnits[span[2]!]}`, to: "now" };
    return resolve(raw, now, zone) && raw;
  }
  const parts = s.split(/ to | – | — | - |\.\.|–/).map((part) => part.trim());
  if (parts.length > 2) return undefined;
  const from = parsePoint(parts[0]!, now, zone, now);
  if (!from) return undefined;
  let to: Point;
  if (parts.length === 1) {
    to = from.wholeDay ? { at: nextDay(from.at, zone), text: "" } : { at: now, text: "now" };
  } else {
    const end = parsePoint(parts[1]!, now, zone, from.at);
    if (!end) return undefined;
    // A day that ends a range is in it, and a time of day that is not later means the next day.
    to = end;
    if (end.wholeDay) to = { at: nextDay(end.at, zone), text: "" };
    else if (end.timeOnly && end.at <= from.at) to = { at: nextDay(end.at, zone, true), text: "" };
  }
  const raw = { from: from.text || iso(from.at, "utc"), to: to.text || iso(to.at, "utc") };
  return resolve(raw, now, zone) && raw;
}

interface Point {
  at: number;
  /** Set for an edge that is relative to now. */
  text: string;
  wholeDay?: boolean;
  timeOnly?: boolean;
}

function nextDay(at: number, zone: Zone, keepTime = false): number {
  const w = wall(at, zone);
  return keepTime
    ? fromWall(zone, w.year, w.month, w.day + 1, w.hour, w.minute, w.second)
    : fromWall(zone, w.year, w.month, w.day + 1);
}

/** One end of a typed range; a time without a day is on the day of base. */
function parsePoint(text: string, now: number, zone: Zone, base: number): Point | undefined {
  if (text.startsWith("now")) {
    const at = parseEdge(text, now, zone);
    return at === undefined ? undefined : { at, text };
  }
  const absolute = parseEdge(text.toUpperCase(), now, zone);
  if (absolute !== undefined) return { at: absolute, text: "" };
  const today = wall(base, zone);
  let rest = text;
  let [year, month, dayOfMonth] = [today.year, today.month, today.day];
  let dated = false;
  const numeric = /^(\d{4})-(\d{1,2})-(\d{1,2})(?:[ t]|$)/.exec(rest);
  const named = /^(\d{1,2})\.? ([a-z]{3,9})\.?(?: (\d{4}))?(?: |$)/.exec(rest);
  if (numeric) {
    [year, month, dayOfMonth] = [Number(numeric[1]), Number(numeric[2]) - 1, Number(numeric[3])];
    rest = rest.slice(numeric[0].length);
    dated = true;
  } else if (named && monthFromName(named[2]!) >= 0) {
    [year, month, dayOfMonth] = [Number(named[3] ?? today.year), monthFromName(named[2]!), Number(named[1])];
    rest = rest.slice(named[0].length);
    dated = true;
  } else if (/^(today|yesterday)\b/.test(rest)) {
    const w = wall(now, zone);
    [year, month, dayOfMonth] = [w.year, w.month, w.day - (rest.startsWith("y") ? 1 : 0)];
    rest = rest.replace(/^\w+ ?/, "");
    dated = true;
  }
  if (month < 0 || month > 11 || dayOfMonth > 31) return undefined;
  if (rest === "") return dated ? { at: fromWall(zone, year, month, dayOfMonth), text: "", wholeDay: true } : undefined;
  const time = /^(\d{1,2}):(\d\d)(?::(\d\d))?$/.exec(rest);
  if (!time) return undefined;
  const [h, m, sec] = [Number(time[1]), Number(time[2]), Number(time[3] ?? 0)];
  if (h > 24 || m > 59 || sec > 59) return undefined;
  return { at: fromWall(zone, year, month, dayOfMonth, h, m, sec), text: "", timeOnly: !dated };
}
