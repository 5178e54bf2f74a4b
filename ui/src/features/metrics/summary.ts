import type { Aggregate, MetricKind, MetricRange } from "../../lib/api";
import { valueFormat, type ValueFormat } from "../../lib/format";

/** The labels of a series as a person reads them: the value alone where there is one label. */
export function seriesName(labels: Record<string, string>, metric: string): string {
  const entries = Object.entries(labels);
  if (entries.length === 0) return metric;
  if (entries.length === 1) return entries[0]![1] || "(none)";
  return entries
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([key, value]) => `${key}=${value || "(none)"}`)
    .join(", ");
}

export function seriesKey(labels: Record<string, string>): string {
  return JSON.stringify(Object.entries(labels).toSorted(([a], [b]) => a.localeCompare(b)));
}

export interface Stats {
  last: number | undefined;
  min: number | undefined;
  avg: number | undefined;
  max: number | undefined;
}

export function stats(values: readonly (number | null)[]): Stats {
  let [n, sum] = [0, 0];
  const out: Stats = { last: undefined, min: undefined, avg: undefined, max: undefined };
  for (const value of values) {
    if (value === null) continue;
    n++;
    sum += value;
    out.last = value;
    out.min = out.min === undefined ? value : Math.min(out.min, value);
    out.max = out.max === undefined ? value : Math.max(out.max, value);
  }
  if (n > 0) out.avg = sum / n;
  return out;
}

/**
 * The unit of what a series counts. The buckets and the count of a histogram of seconds are no seconds, and a share of
 * one is read more easily as a percentage.
 */
export function seriesUnit(name: string, kind: MetricKind, unit: string): string {
  if ((kind === "histogram" || kind === "summary") && /_(count|bucket)$/.test(name)) return "";
  if ((unit === "1" || unit === "") && /(^|[._])(ratio|utili[sz]ation)$/.test(name)) return "ratio";
  return unit;
}

export function seriesFormat({ name, kind, unit, aggregate }: MetricRange): ValueFormat {
  return aggregate === "count" ? valueFormat("") : valueFormat(seriesUnit(name, kind, unit), aggregate === "rate");
}

const verbs: Record<Aggregate, string> = {
  avg: "Average of", sum: "Sum of", min: "Lowest", max: "Highest", last: "Last", count: "Samples of", rate: "Rate of",
};

/** The question in words: Rate of http.requests by route and method */
export function question(name: string, aggregate: Aggregate, by: readonly string[]): string {
  const labels = by.length > 1 ? `${by.slice(0, -1).join(", ")} and ${by.at(-1)}` : by[0];
  return `${verbs[aggregate]} ${name}${labels ? ` by ${labels}` : ""}`;
}

function cell(text: string): string {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The values as a table that a spreadsheet opens. */
export function csv(result: MetricRange, names: readonly string[], times: readonly number[], values: readonly (readonly (number | null)[])[]): string {
  const rows = times.map((time, i) => [new Date(time).toISOString(), ...values.map((row) => String(row[i] ?? ""))].join(","));
  return [["time", ...names.map((name) => cell(`${name} (${result.unit || "1"})`))].join(","), ...rows].join("\n");
}
