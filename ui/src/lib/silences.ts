import type { Incident, Matcher, Silence } from "./api";
import { plural } from "./format";
import { isOpen } from "./incidents";
import { day, hour, minute, stamp, week, type Zone } from "./time";

/** "service="checkout"" */
export function matcherText({ label, op, value }: Matcher): string {
  return `${label}${op}${JSON.stringify(value)}`;
}

export function matchersText(matchers: readonly Matcher[] | null): string {
  return matchers?.length ? matchers.map(matcherText).join(", ") : "everything";
}

/**
 * The conditions in a text such as service="checkout", route=~"/pay/.*": separated by commas or lines, values with or
 * without quotes. Throws with what a person has to change.
 */
export function parseMatchers(text: string): Matcher[] {
  const out: Matcher[] = [];
  let rest = text.trim();
  while (rest !== "") {
    const head = /^([A-Za-z0-9_.:/-]{1,128})\s*(=~|!~|!=|=)\s*/.exec(rest);
    if (!head) throw new Error(`${JSON.stringify(rest.slice(0, 20))} is no condition such as service="checkout".`);
    rest = rest.slice(head[0].length);
    const quoted = /^"((?:[^"\\]|\\.)*)"/.exec(rest);
    const plain = quoted ? undefined : /^[^,\n]*/.exec(rest)![0];
    if (!quoted && rest.startsWith('"')) throw new Error(`The value of ${head[1]} has no closing quotation mark.`);
    out.push({ label: head[1]!, op: head[2] as Matcher["op"], value: quoted ? quoted[1]!.replace(/\\(.)/g, "$1") : plain!.trim() });
    rest = rest.slice(quoted ? quoted[0].length : plain!.length);
    const gap = /^[\s,]*/.exec(rest)![0];
    rest = rest.slice(gap.length);
    if (rest !== "" && !/[,\n]/.test(gap)) throw new Error(`Put a comma before ${JSON.stringify(rest.slice(0, 20))}.`);
  }
  return out;
}

export const silenceSpans = [
  { name: "30 min", ms: 30 * minute },
  { name: "1 h", ms: hour },
  { name: "4 h", ms: 4 * hour },
  { name: "1 d", ms: day },
  { name: "7 d", ms: week },
] as const;

/** The longest that the server takes, less a minute for clocks that differ. */
export const longestSilence = 30 * day - minute;

export function silencesSentence(silences: readonly Silence[], windows: number, zone: Zone, now: number): string {
  const active = silences.filter((one) => one.state === "active");
  const first = active[0];
  const maintenance = windows > 0 ? `; ${plural(windows, "maintenance window")} open` : "";
  if (!first) {
    const coming = silences.filter((one) => one.state === "waiting").length;
    if (windows > 0) return `No silence, but ${plural(windows, "maintenance window")} open now.`;
    return coming > 0 ? `Nothing is silenced now; ${plural(coming, "silence")} to come.` : "Nothing is silenced.";
  }
  if (active.length > 1) return `${active.length} silences hold${maintenance}.`;
  const until = first.silence.until_resolved ? "until it is resolved" : `until ${stamp(Date.parse(first.silence.to), zone, now)}`;
  return `${matchersText(first.silence.matchers)} is silenced ${until}${maintenance}.`;
}

/** "It mutes 1 open incident now, and would have muted 4 in the last 7 d." */
export function previewSentence(now: readonly Incident[], past: readonly Incident[]): string {
  if (now.length + past.length === 0) return "It matches no open incident, and none of the last 7 d.";
  const head = now.length === 0 ? "It mutes nothing that is open now" : `It mutes ${plural(now.filter(isOpen).length || now.length, "open incident")} now`;
  return `${head}, and would have muted ${past.length === 0 ? "none" : past.length} in the last 7 d.`;
}

export const weekdays = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"] as const;
export type Weekday = (typeof weekdays)[number];

/** How a maintenance window comes again, as far as the form can say it. */
export interface Repeat {
  kind: "never" | "daily" | "weekly" | "monthly" | "other";
  interval: number;
  days: Weekday[];
  /** What the form cannot say, as it stands. */
  text: string;
}

export function repeatOf(text: string | undefined): Repeat {
  const none: Repeat = { kind: "never", interval: 1, days: [], text: text ?? "" };
  if (!text) return none;
  const parts = new Map(
    text
      .replace(/^RRULE:/i, "")
      .split(";")
      .map((one) => one.toUpperCase().split("=", 2) as [string, string]),
  );
  const kind = (parts.get("FREQ") ?? "").toLowerCase();
  const days = (parts.get("BYDAY") ?? "").split(",").filter(Boolean);
  const known = [...parts.keys()].every((one) => ["FREQ", "INTERVAL", "BYDAY"].includes(one)) && days.every((one) => weekdays.includes(one as Weekday));
  if (!known || !(kind === "daily" || kind === "weekly" || kind === "monthly") || (days.length > 0 && kind !== "weekly")) return { ...none, kind: "other" };
  return { kind, interval: Number(parts.get("INTERVAL") ?? 1), days: days as Weekday[], text };
}

export function repeatText({ kind, interval, days, text }: Repeat): string | undefined {
  if (kind === "never") return undefined;
  if (kind === "other") return text.trim() || undefined;
  const parts = [`FREQ=${kind.toUpperCase()}`];
  if (interval > 1) parts.push(`INTERVAL=${interval}`);
  if (kind === "weekly" && days.length > 0) parts.push(`BYDAY=${weekdays.filter((one) => days.includes(one)).join(",")}`);
  return parts.join(";");
}

const dayNames: Record<Weekday, string> = { MO: "Mon", TU: "Tue", WE: "Wed", TH: "Thu", FR: "Fri", SA: "Sat", SU: "Sun" };

export function weekdayName(one: Weekday): string {
  return dayNames[one];
}

/** "every 2 weeks on Sun" */
export function repeatWords(rule: string | undefined): string {
  const { kind, interval, days, text } = repeatOf(rule);
  if (kind === "never") return "once";
  if (kind === "other") return text;
  const unit = { daily: "day", weekly: "week", monthly: "month" }[kind];
  return `every ${interval > 1 ? `${interval} ${unit}s` : unit}${days.length > 0 ? ` on ${days.map(weekdayName).join(", ")}` : ""}`;
}
