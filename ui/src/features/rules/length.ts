// Lengths of time as rules write them (5m, 1h30m, 3d), and limits (">= 5%"). See alerts/rule/rule.go.

const units = [
  ["w", 604_800, ""],
  ["d", 86_400, "day"],
  ["h", 3600, "hour"],
  ["m", 60, "minute"],
  ["s", 1, "second"],
] as const;

/** The seconds of 1h30m; undefined for what is no length of time. */
export function seconds(text: string): number | undefined {
  if (text === "0") return 0;
  if (!/^(\d{1,9}w)?(\d{1,9}d)?(\d{1,9}h)?(\d{1,9}m)?(\d{1,9}s)?$/.test(text) || text === "") return undefined;
  let sum = 0;
  for (const [, n, unit] of text.matchAll(/(\d+)([wdhms])/g)) sum += Number(n) * units.find(([name]) => name === unit)![1];
  return sum;
}

/** The shortest text for so many seconds; weeks are written as days. */
export function lengthText(s: number): string {
  let rest = Math.round(s);
  if (rest <= 0) return "0s";
  let out = "";
  for (const [name, size] of units.slice(1)) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0) out += `${n}${name}`;
  }
  return out;
}

/** 1 region, 2 regions: with a common space, as the server writes it */
export function many(n: number, word: string): string {
  return `${n} ${word}${n === 1 ? "" : "s"}`;
}

/** 1 hour 30 minutes */
export function spell(s: number): string {
  if (s > 0 && s < 120 && s % 60 !== 0) return many(s, "second");
  const out: string[] = [];
  let rest = s;
  let parts = 2;
  for (const [, size, word] of units.slice(1)) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0 && out.length < parts) out.push(many(n, word));
    else if (out.length > 0) parts--;
  }
  return out.join(" ") || "0 seconds";
}

export const operators = [">=", ">", "<=", "<"] as const;
export type Operator = (typeof operators)[number];

export interface Bound {
  op: Operator;
  /** As a plain number: 5% is 0.05. */
  value: number;
  /** As it is written: 5% */
  text: string;
}

export function bound(text: string): Bound | undefined {
  const m = /^\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(%?)\s*$/i.exec(text);
  if (!m) return undefined;
  const value = Number(m[2]);
  // A hundredth as written: 7 / 100 and not 0.07000000000000001.
  return { op: m[1] as Operator, value: m[3] ? Number((value / 100).toPrecision(15)) : value, text: `${m[2]}${m[3]}` };
}

/** The limit with another value, written as the one before was. */
export function withValue(old: string, value: number): string {
  const was = bound(old);
  const op = was?.op ?? ">=";
  return was?.text.endsWith("%") ? `${op} ${Number((value * 100).toPrecision(12))}%` : `${op} ${Number(value.toPrecision(12))}`;
}
