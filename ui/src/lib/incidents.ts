import type { Incident, IncidentDetail, IncidentEntry, Matcher, Severity } from "./api";
import { duration, roughly } from "./format";
import { clock, date, day, hour, minute, sameDay, second, stamp, type Zone } from "./time";

/** Worst first. */
const ranks: Record<Severity, number> = { page: 0, ticket: 1, mail: 2 };

export function isOpen(incident: Pick<Incident, "state">): boolean {
  return incident.state === "open";
}

/** Open ones first, of these the worst, then those that nobody looks after; then the newest. */
export function worstFirst(a: Incident, b: Incident): number {
  return Number(isOpen(b)) - Number(isOpen(a)) || (isOpen(a) ? ranks[a.severity] - ranks[b.severity] || Number(Boolean(a.acknowledged_by)) - Number(Boolean(b.acknowledged_by)) : 0) || b.opened_at.localeCompare(a.opened_at);
}

/** How long the trouble has lasted, or did, in milliseconds. */
export function lasted(incident: Pick<Incident, "since" | "resolved_at">, now: number): number {
  const end = incident.resolved_at ? Date.parse(incident.resolved_at) : now;
  return Math.max(0, end - Date.parse(incident.since));
}

/** "02:41 (12 min)": the clock and how long. */
export function sinceWords(incident: Incident, zone: Zone, now: number): string {
  return `${stamp(Date.parse(incident.since), zone, now)} (${duration(floor(lasted(incident, now)))})`;
}

/** What moves with a clock is told in whole minutes from the first on. */
function floor(ms: number): number {
  return ms < minute ? Math.floor(ms / second) * second : Math.floor(ms / minute) * minute;
}

/** The first line of the list. looked is in words how far back it was looked: "in the last 30 d". */
export function incidentsSentence(incidents: readonly Incident[], looked: string, zone: Zone, now: number): string {
  const open = incidents.filter(isOpen).toSorted(worstFirst);
  const first = open[0];
  if (first) {
    const more = open.length > 1 ? `, and ${open.length - 1} more` : "";
    return `${open.length} open: ${bare(first.title)} since ${sinceWords(first, zone, now)}${more}.`;
  }
  const quiet = quietFor(incidents, now);
  return quiet === undefined ? `All quiet: no incident ${looked}.` : `All quiet for ${roughly(quiet)}.`;
}

/** How long nothing has been open, in milliseconds; undefined where nothing was, or something is. */
export function quietFor(incidents: readonly Incident[], now: number): number | undefined {
  if (incidents.some(isOpen)) return undefined;
  const last = Math.max(...incidents.map((one) => (one.resolved_at ? Date.parse(one.resolved_at) : 0)));
  return last > 0 ? Math.max(0, now - last) : undefined;
}

/** The first line of one incident. */
export function incidentSentence(incident: Incident, zone: Zone, now: number): string {
  const title = bare(incident.title);
  if (incident.state === "merged") return `${title}: part of another incident.`;
  if (isOpen(incident)) return `${title} since ${sinceWords(incident, zone, now)}.`;
  const how = incident.false_alarm ? "a false alarm" : (incident.outcome ?? "over");
  return `${title}: ${how} after ${duration(floor(lasted(incident, now)))}.`;
}

/** Whether somebody looks after it, and what comes next where nobody does. */
export function careWords(detail: IncidentDetail, name: (id: string) => string, zone: Zone, now: number): string | undefined {
  const { incident } = detail;
  if (!isOpen(incident)) return undefined;
  if (incident.acknowledged_by) return `${name(incident.acknowledged_by)} looks after it${incident.acknowledged_at ? ` since ${stamp(Date.parse(incident.acknowledged_at), zone, now)}` : ""}.`;
  if (detail.held_by) return `Nobody is told: ${detail.held_by} is bad too, which explains it.`;
  if (detail.waits_for) return `Nobody is told yet: ${detail.waits_for}${detail.wait_until ? `, until ${stamp(Date.parse(detail.wait_until), zone, now)}` : ""}.`;
  if (incident.severity !== "page") return undefined;
  return incident.next_at && Date.parse(incident.next_at) > now ? `Nobody has acknowledged it; the next step is at ${stamp(Date.parse(incident.next_at), zone, now)}.` : "Nobody has acknowledged it.";
}

function bare(title: string): string {
  return title.replace(/[.\s]+$/, "");
}

export interface IncidentGroup {
  name: string;
  incidents: Incident[];
}

/** Open ones, then those of each day, newest first. */
export function byDay(incidents: readonly Incident[], zone: Zone, now: number): IncidentGroup[] {
  const out: IncidentGroup[] = [];
  for (const one of incidents.toSorted(worstFirst)) {
    const at = Date.parse(one.opened_at);
    const name = isOpen(one) ? "Open" : sameDay(at, now, zone) ? "Today" : sameDay(at, now - day, zone) ? "Yesterday" : date(at, zone, now);
    const last = out.at(-1);
    if (last?.name === name) last.incidents.push(one);
    else out.push({ name, incidents: [one] });
  }
  return out;
}

export type EntryTone = "bad" | "warn" | "ok" | "person" | "quiet";

const tones: Record<string, EntryTone> = {
  onset: "bad", opened: "bad", raised: "bad", exhausted: "bad", untold: "bad", unanswered: "bad", joined: "warn", gap: "warn", resolved: "ok", acknowledged: "person", comment: "person",
  note: "person", false_alarm: "person", escalated: "warn",
};

/** The timeline with its ends: the first symptom, and now as long as it lasts. */
export function timeline(detail: IncidentDetail, now: number): (IncidentEntry & { tone: EntryTone })[] {
  const { incident, entries } = detail;
  const out = entries.map((one) => ({ ...one, tone: tones[one.kind] ?? (one.person ? ("person" as const) : ("quiet" as const)) }));
  const first = entries[0];
  if (!first || Date.parse(incident.since) < Date.parse(first.at)) out.unshift({ id: "since", at: incident.since, kind: "onset", text: "First symptom", tone: "bad" });
  if (isOpen(incident)) out.push({ id: "now", at: new Date(now).toISOString(), kind: "now", text: `Still open after ${duration(floor(lasted(incident, now)))}`, tone: "bad" });
  return out;
}

/** A text of the server with the times in it as the page shows times. */
export function proseTimes(text: string, zone: Zone, now: number): string {
  return text.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)/g, (iso) => {
    const at = Date.parse(iso);
    return Number.isNaN(at) ? iso : stamp(at, zone, now);
  });
}

/** The conditions by which all of an incident is silenced: its group, or else its rules. */
export function silenceOf(detail: IncidentDetail): Matcher[] {
  const labels = Object.entries(detail.labels).filter(([, value]) => value !== "");
  if (labels.length > 0) return labels.map(([label, value]) => ({ label, op: "=" as const, value }));
  const own = detail.instances[0]?.labels ?? {};
  const kept = ["service", "environment", "area", "severity"].filter((name) => own[name]);
  return kept.map((label) => ({ label, op: "=" as const, value: own[label]! }));
}

export interface Dossier {
  sections: { title: string; lead: boolean; lines: { text: string; link: string }[] }[];
  facts: { name: string; value: string }[];
  /** A PNG in base64. */
  chart: { png: string; alt: string; link: string } | undefined;
  at: string;
}

/** What was frozen when people were first told, as far as it can be read. */
export function dossierOf(raw: Record<string, unknown> | undefined): Dossier | undefined {
  if (!raw) return undefined;
  const sections = many(raw, "sections").map((one) => ({
    title: string(one, "title"),
    lead: field(one, "lead") === true,
    lines: many(one, "lines").map((line) => ({ text: string(line, "text"), link: safeLink(string(line, "link")) })),
  }));
  const chart = record(field(raw, "chart"));
  const png = chart ? string(chart, "png") : "";
  return {
    sections: sections.filter((one) => one.lines.length > 0),
    facts: many(raw, "facts").map((one) => ({ name: string(one, "name"), value: string(one, "value") })),
    chart: chart && /^[A-Za-z0-9+/=]+$/.test(png) ? { png, alt: string(chart, "alt"), link: safeLink(string(chart, "link")) } : undefined,
    at: string(raw, "at"),
  };
}

/** Only pages: a link in a message must not run anything. */
export function safeLink(link: string): string {
  return /^(https?:\/\/|\/(?![/\\]))/i.test(link) ? link : "";
}

function field(of: Record<string, unknown>, name: string): unknown {
  return of[name] ?? of[name[0]!.toUpperCase() + name.slice(1)];
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
}

function many(of: Record<string, unknown>, name: string): Record<string, unknown>[] {
  const value = field(of, name);
  return Array.isArray(value) ? value.map(record).filter((one) => one !== undefined) : [];
}

function string(of: Record<string, unknown>, name: string): string {
  const value = field(of, name);
  return typeof value === "string" ? value : "";
}

const scales: Record<string, number> = {
  "%": 0.01, ms: 1e-3, s: 1, m: 60, min: 60, h: 3600, d: 86_400, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, kB: 1e3, MB: 1e6, GB: 1e9,
};
const unitScales: Record<string, number> = { ms: 1e-3, us: 1e-6, ns: 1e-9, "%": 0.01 };

/** The number of a limit such as ">= 5 %" in the unit of its metric; undefined where it has none. */
export function limitValue(limit: string | undefined, unit: string): number | undefined {
  const m = /(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*([A-Za-z%]*)/i.exec(limit ?? "");
  if (!m) return undefined;
  const name = m[2] ?? "";
  if (name === "") return Number(m[1]);
  const scale = scales[name];
  return scale === undefined ? Number(m[1]) : (Number(m[1]) * scale) / (unitScales[unit] ?? 1);
}

/** The part of time that a chart of an incident shows: what led to it, all of it, and what came after. */
export function chartRange(incident: Incident, now: number): { from: number; to: number } {
  const since = Date.parse(incident.since);
  const end = incident.resolved_at ? Date.parse(incident.resolved_at) : now;
  const margin = Math.min(Math.max(0.5 * (end - since), 30 * minute), 6 * hour);
  return { from: Math.floor((since - margin) / minute) * minute, to: Math.ceil(Math.min(end + (incident.resolved_at ? margin : 0), now) / minute) * minute };
}

/** "02:41 – 02:44", with the day where it is not today's. */
export function spanWords(from: string, to: string, zone: Zone, now: number): string {
  const a = Date.parse(from);
  const b = Date.parse(to);
  return `${stamp(a, zone, now)} – ${sameDay(a, b, zone) ? clock(b, zone) : stamp(b, zone, now)}`;
}
