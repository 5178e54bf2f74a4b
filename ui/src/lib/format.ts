import { day, hour, minute, second } from "./time";

/** A no-break space: a number and its unit stay on one line. */
const nb = "\u00a0";

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** 214,603 */
export function count(n: number): string {
  return whole.format(n);
}

/** 214 k: three digits at most, for axes and tight places; the exact figure belongs in the title. */
export function compact(n: number): string {
  const abs = Math.abs(n);
  for (const [limit, name] of [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    if (abs >= limit * 0.9995) return `${digits(n / limit)}${nb}${name}`;
  }
  return digits(n);
}

/** Three significant digits without trailing zeros; very small numbers keep an exponent. */
export function digits(n: number): string {
  if (n === 0) return "0";
  const abs = Math.abs(n);
  if (abs >= 1000) return whole.format(n);
  if (abs < 0.001) return n.toExponential(1).replace(".0e", "e");
  return String(Number(n.toPrecision(3)));
}

/** one line, 2 lines */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)}${nb}${n === 1 ? one : many}`;
}

/** 41 %, and never 0 % or 100 % for what is a little more or less. */
export function percent(part: number, total: number): string {
  if (total <= 0) return `0${nb}%`;
  const p = (part / total) * 100;
  if (p > 0 && p < 0.1) return `under 0.1${nb}%`;
  if (p > 99.9 && p < 100) return `over 99.9${nb}%`;
  const text = p < 10 || p > 99 ? p.toFixed(1).replace(/\.0$/, "") : p.toFixed(0);
  return `${text}${nb}%`;
}

/** 340 ms, 1.2 s, 12 min, 2 h 5 min, 3 d 4 h: two units at most. */
export function duration(ms: number): string {
  const abs = Math.abs(ms);
  if (abs < 1) return ms === 0 ? `0${nb}ms` : `${digits(ms)}${nb}ms`;
  if (abs < second) return `${Math.round(ms)}${nb}ms`;
  if (abs < 10 * second) return `${Number((ms / second).toFixed(1))}${nb}s`;
  if (abs < minute) return `${Math.round(ms / second)}${nb}s`;
  return two(ms, abs < hour ? [minute, "min", second, "s"] : abs < day ? [hour, "h", minute, "min"] : [day, "d", hour, "h"]);
}

function two(ms: number, [big, bigName, small, smallName]: [number, string, number, string]): string {
  const sign = ms < 0 ? "-" : "";
  const units = Math.round(Math.abs(ms) / small);
  const per = big / small;
  const rest = units % per;
  const head = `${sign}${Math.floor(units / per)}${nb}${bigName}`;
  return rest === 0 ? head : `${head}${nb}${rest}${nb}${smallName}`;
}

/** One unit only: 12 min, 3 h, 5 d. */
export function roughly(ms: number): string {
  const abs = Math.abs(ms);
  if (abs < second) return `${Math.round(abs)}${nb}ms`;
  if (abs < minute) return `${Math.round(abs / second)}${nb}s`;
  if (abs < hour) return `${Math.round(abs / minute)}${nb}min`;
  if (abs < 2 * day) return `${Math.round(abs / hour)}${nb}h`;
  return `${Math.round(abs / day)}${nb}d`;
}

/** 12 min ago, in 3 h, just now */
export function relative(at: number, now: number): string {
  const d = now - at;
  // A clock that shows this moves every ten seconds, so what is newer than it is not in the future.
  if (d < 5 * second && d > -15 * second) return "just now";
  return d > 0 ? `${roughly(d)} ago` : `in ${roughly(d)}`;
}

/** How a metric's values are written. */
export interface ValueFormat {
  /** With the unit: 12.3 MiB */
  text: (value: number) => string;
  /** For an axis: without a unit that each tick would only repeat. */
  tick: (value: number) => string;
  /** What the tick distance of an axis is a multiple of: 1024 for bytes, 1000 otherwise. */
  base: 1000 | 1024;
}

const seconds: Record<string, number> = { ns: 1e-9, us: 1e-6, "µs": 1e-6, ms: 1e-3, s: 1, sec: 1, seconds: 1, milliseconds: 1e-3, min: 60, h: 3600, d: 86400 };
const bytes: Record<string, number> = {
  By: 1, B: 1, byte: 1, bytes: 1, KiBy: 2 ** 10, MiBy: 2 ** 20, GiBy: 2 ** 30, kBy: 1e3, KBy: 1e3, MBy: 1e6, GBy: 1e9,
};

function own(name: string, base: 1000 | 1024, text: (v: number) => string, tick = text): ValueFormat {
  return { base, tick, text: (v) => (Number.isFinite(v) ? text(v) : `${v}${nb}${name}`) };
}

/** The format for an OpenTelemetry (UCUM) or Prometheus unit; perSecond is for rates of it. */
export function valueFormat(unit: string, perSecond = false): ValueFormat {
  const perSlash = /^(.*)\/s$/.exec(unit);
  if (perSlash) return valueFormat(perSlash[1] ?? "", true);
  const suffix = perSecond ? "/s" : "";
  if (unit in seconds) {
    const scale = seconds[unit]!;
    // Seconds per second is a share of one core or worker, not a duration.
    if (perSecond) return own("s/s", 1000, (v) => `${digits(v * scale)}${nb}s/s`);
    return own("s", 1000, (v) => time(v * scale));
  }
  if (unit in bytes) {
    const scale = bytes[unit]!;
    return own("B", 1024, (v) => size(v * scale) + suffix);
  }
  if (unit === "ratio") return own("%", 1000, (v) => `${digits(v * 100)}${nb}%${suffix}`);
  if (unit === "%" || unit === "percent") return own("%", 1000, (v) => `${digits(v)}${nb}%${suffix}`);
  if (unit === "" || unit === "1") return own("", 1000, (v) => compact(v) + (suffix && `${nb}${suffix}`), compact);
  const name = unit.replace(/[{}]/g, "");
  return own(name, 1000, (v) => `${compact(v)}${nb}${name}${suffix}`, compact);
}

const unitNames: Record<string, string> = { By: "bytes", s: "seconds", ms: "milliseconds", us: "microseconds", ns: "nanoseconds", min: "minutes", "%": "percent", "1": "" };

/** A unit as a word where there is one: By is bytes, {request} is request. */
export function unitName(unit: string): string {
  return unitNames[unit] ?? unit.replace(/[{}]/g, "");
}

function time(s: number): string {
  const abs = Math.abs(s);
  if (s === 0) return `0${nb}s`;
  if (abs < 1e-6) return `${digits(s * 1e9)}${nb}ns`;
  if (abs < 1e-3) return `${digits(s * 1e6)}${nb}µs`;
  if (abs < 1) return `${digits(s * 1e3)}${nb}ms`;
  if (abs < 120) return `${digits(s)}${nb}s`;
  return duration(s * second);
}

function size(n: number): string {
  const abs = Math.abs(n);
  for (const [limit, name] of [
    [2 ** 40, "TiB"],
    [2 ** 30, "GiB"],
    [2 ** 20, "MiB"],
    [2 ** 10, "KiB"],
  ] as const) {
    if (abs >= limit) return `${digits(n / limit)}${nb}${name}`;
  }
  return `${digits(n)}${nb}B`;
}
