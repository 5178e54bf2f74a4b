import type { Log, MetricRange, Probe } from "../../lib/api";
import { count, duration, percent, plural } from "../../lib/format";
import { day, minute } from "../../lib/time";

/** What is known of a probe's last runs, by region. */
export interface Seen {
  region: string;
  ok: boolean;
}

export type Status = "up" | "failing" | "down" | "waiting" | "paused";

/** A result that is older says nothing about now. */
function fresh(probe: Probe): number {
  return 3 * (probe.interval_seconds ?? 30) * 1000 + minute;
}

/** The newest value of each series that has these labels, with its time. */
export function newest(range: MetricRange | undefined, labels: Record<string, string>): { at: number; value: number; labels: Record<string, string> }[] {
  const wanted = Object.entries(labels);
  return (range?.series ?? []).flatMap((line) => {
    const last = line.points.at(-1);
    return last && wanted.every(([key, value]) => line.labels[key] === value) ? [{ ...last, labels: line.labels }] : [];
  });
}

/** What each region saw last of a probe. */
export function seenOf(probe: Probe, up: MetricRange | undefined, now: number): Seen[] {
  return newest(up, { probe: probe.id })
    .filter((one) => now - one.at <= fresh(probe) && (!probe.regions?.length || probe.regions.includes(one.labels.region ?? "")))
    .map((one) => ({ region: one.labels.region ?? "", ok: one.value > 0 }))
    .toSorted((a, b) => a.region.localeCompare(b.region));
}

export function statusOf(probe: Probe, seen: Seen[]): Status {
  if (probe.paused) return "paused";
  if (seen.length === 0) return "waiting";
  const failing = seen.filter((one) => !one.ok).length;
  if (failing === 0) return "up";
  const regions = probe.regions?.length || seen.length;
  const need = probe.need ?? Math.floor(regions / 2) + 1;
  return failing >= Math.min(need, regions) ? "down" : "failing";
}

/** Why a probe failed last, as its logs tell. The lines are newest first. */
export function reasonOf(probe: Probe, seen: Seen[], lines: Log[]): string | undefined {
  const failing = seen.filter((one) => !one.ok).map((one) => one.region);
  return lines.find((line) => line.attributes.probe === probe.id && line.attributes.reason && failing.includes(line.attributes.region ?? ""))?.attributes.reason;
}

/** The last result in words. */
export function resultWords(status: Status, seen: Seen[], reason: string | undefined, tookMs: number | undefined): string {
  const failing = seen.filter((one) => !one.ok).map((one) => one.region);
  switch (status) {
    case "paused":
      return "Not run while paused.";
    case "waiting":
      return "No result yet.";
    case "up":
      return `answered${tookMs === undefined ? "" : ` in ${duration(tookMs)}`}${seen.length > 1 ? `, ${plural(seen.length, "region")}` : ""}`;
    default: {
      const all = failing.length === seen.length;
      const where = seen.length > 1 ? ` · ${count(failing.length)} of ${plural(seen.length, "region")}${all ? "" : `: ${failing.join(", ")}`}` : "";
      return `${reason ?? "failed"}${where}`;
    }
  }
}

/** The values of a line at every step of the range it was asked for, oldest first; 0 where there is none. */
export function steps(points: { at: number; value: number }[], stepSeconds: number, from: number, to: number): number[] {
  const step = stepSeconds * 1000;
  const first = Math.floor(from / step);
  const values = Array.from({ length: Math.min(2000, Math.max(1, Math.ceil(to / step) - first)) }, () => 0);
  for (const { at, value } of points) {
    const i = Math.floor(at / step) - first;
    if (i >= 0 && i < values.length) values[i] = value;
  }
  return values;
}

export interface CertificateState {
  words: string;
  tone: "text-muted" | "text-warn" | "text-bad";
}

/** How much of a certificate is left. What renews by itself does so with a third of its lifetime left. valid holds what each region says of it. */
export function certificateState(remaining: number | undefined, lifetime: number | undefined, valid: readonly number[] = []): CertificateState | undefined {
  if (remaining === undefined || !lifetime) return undefined;
  if (remaining <= 0) return { words: "certificate expired", tone: "text-bad" };
  const refused = valid.filter((one) => one === 0).length;
  if (refused > 0) return { words: refused === valid.length ? "not valid" : "not valid in some regions", tone: "text-bad" };
  const left = remaining * 1000 >= 2 * day ? plural(Math.floor((remaining * 1000) / day), "day") : duration(remaining * 1000);
  const share = remaining / lifetime;
  const tone = share <= 0.1 || remaining * 1000 <= 2 * day ? "text-bad" : share <= 0.25 ? "text-warn" : "text-muted";
  return { words: `${left} left, ${percent(remaining, lifetime)}`, tone };
}

/** The first line of the page. */
export function probesSentence(probes: Probe[], statuses: Map<string, Status>): string {
  const of = (status: Status) => probes.filter((one) => statuses.get(one.id) === status);
  const down = of("down");
  const failing = of("failing");
  const up = of("up");
  const running = probes.length - of("paused").length;
  if (down.length > 0) {
    const named = down.slice(0, 2).map((one) => one.name).join(" and ");
    const more = down.length > 2 ? ` and ${count(down.length - 2)} more` : "";
    return `${named}${more} ${down.length === 1 ? "does" : "do"} not answer.`;
  }
  if (failing.length > 0) return `${failing[0]!.name}${failing.length > 1 ? ` and ${count(failing.length - 1)} more` : ""} failed from some regions.`;
  if (running === 0) return `${plural(probes.length, "probe")}, paused.`;
  if (up.length === 0) return `${plural(running, "probe")}, waiting for a first result.`;
  if (up.length === running) return running === 1 ? `${up[0]!.name} answers.` : `All ${count(running)} probes answer.`;
  return `${count(up.length)} of ${plural(running, "probe")} answer; the others have no result yet.`;
}

/** "X-Key: secret" lines as headers. */
export function headersOf(text: string): Record<string, string> | undefined {
  const entries = text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
    .map((line) => {
      const colon = line.indexOf(":");
      return colon < 0 ? ([line, ""] as const) : ([line.slice(0, colon).trim(), line.slice(colon + 1).trim()] as const);
    });
  return entries.length ? Object.fromEntries(entries) : undefined;
}

export function headerLines(headers: Record<string, string> | undefined): string {
  return Object.entries(headers ?? {})
    .map(([name, value]) => `${name}: ${value}`)
    .join("\n");
}
