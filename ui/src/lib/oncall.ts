import type { Hours, OncallLayer, Policy, Team } from "./api";
import { plural } from "./format";
import { slugFrom } from "./slug";

/** The id that a thing gets from its name. */
export function idFrom(name: string): string {
  return slugFrom(name, /[^a-z0-9_-]+/g);
}

export const hoursPattern = "([01]\\d|2[0-3]):[0-5]\\d|24:00";

/** "Mon-Fri 08:00–20:00, Sat 10:00–14:00" */
export function hoursWords(hours: readonly Hours[] | null | undefined): string {
  return (hours ?? []).map((one) => `${one.days || "every day"} ${one.from}–${one.to}`).join(", ");
}

const spans: Record<OncallLayer["every"], [string, string]> = { daily: ["day", "days"], weekly: ["week", "weeks"], monthly: ["month", "months"] };
const weekdays: Record<string, string> = { Mon: "Monday", Tue: "Tuesday", Wed: "Wednesday", Thu: "Thursday", Fri: "Friday", Sat: "Saturday", Sun: "Sunday" };

/** "Ada, Bo and Cy in turn, handed over each week on Monday at 09:00 (Europe/Berlin), only Mon-Fri 08:00–20:00" */
export function layerWords(layer: OncallLayer, name: (id: string) => string): string {
  const people = (layer.people ?? []).map(name);
  const [one, many] = spans[layer.every];
  const every = layer.interval > 1 ? `every ${layer.interval} ${many}` : `each ${one}`;
  const on = layer.every === "weekly" && layer.weekday ? ` on ${weekdays[layer.weekday] ?? layer.weekday}` : layer.every === "monthly" && layer.day ? ` on day ${layer.day}` : "";
  const turn = people.length < 2 ? "" : ` in turn, handed over ${every}${on} at ${layer.handover || "09:00"} (${layer.zone || "UTC"})`;
  const only = layer.restrictions?.length ? `, only ${hoursWords(layer.restrictions)}` : "";
  return `${people.length === 0 ? "Nobody" : all(people)}${turn}${only}`;
}

function all(names: readonly string[]): string {
  return names.length < 2 ? (names[0] ?? "") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

type Target = NonNullable<NonNullable<Policy["steps"]>[number]["targets"]>[number];

/** "1. Platform, 5 min to acknowledge; 2. Ada, 10 min; twice; then Slack every 30 min" */
export function policyWords(policy: Policy, name: (target: Target) => string): string {
  const steps = policy.steps ?? [];
  if (steps.length === 0) return "Tells nobody.";
  const parts = steps.map((step, i) => `${i + 1}. ${all((step.targets ?? []).map(name)) || "nobody"}, ${timeoutWords(step.ack_timeout)}${i === 0 ? " to acknowledge" : ""}`);
  if (policy.loops > 1) parts.push(`${plural(policy.loops, "time")} over`);
  const last = policy.exhausted_receivers ?? [];
  if (last.length > 0) parts.push(`then ${all(last.map((id) => name({ kind: "receiver", id })))} every ${timeoutWords(policy.repeat_exhausted || "30m")}`);
  return parts.join("; ");
}

/** "1h30m" as minutes; undefined for what is none. */
export function minutesOf(text: string): number | undefined {
  const m = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text.trim());
  if (!m || m[0] === "") return undefined;
  return Number(m[1] ?? 0) * 60 + Number(m[2] ?? 0) + Number(m[3] ?? 0) / 60;
}

/** Minutes as the API takes a length of time. */
export function timeoutOf(minutes: number): string {
  const seconds = Math.round(minutes * 60);
  return seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`;
}

function timeoutWords(text: string): string {
  const minutes = minutesOf(text);
  if (minutes === undefined) return text;
  return minutes >= 60 && minutes % 60 === 0 ? `${minutes / 60}\u00a0h` : `${Number(minutes.toFixed(1))}\u00a0min`;
}

const digestDays: Record<string, string> = { working: "on working days", daily: "each day", weekly: "on Mondays" };

export function digestWords({ digest, zone }: Pick<Team, "digest" | "zone">): string {
  if (digest.days === "off") return "no digest";
  return `digest ${digestDays[digest.days || "working"]} at ${digest.at || "08:30"} (${zone || "UTC"})`;
}
