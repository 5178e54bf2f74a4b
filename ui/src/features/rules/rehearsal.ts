import { ApiError, type ErrorCode, type Problem, type Rule } from "../../lib/api";

/** What a rule would have done in the past days. Times are ISO 8601, points and holds as named. */
export interface Rehearsal {
  took_ms: number;
  from: string;
  to: string;
  pages: number;
  pages_at_night: number;
  tickets: number;
  mails: number;
  self_resolved: number;
  held: number;
  /** Incidents that people marked as real, and whether the rule would have told of them. */
  incidents: { id?: string; title: string; from: string; to: string; caught: boolean; after_seconds: number }[];
  firings: { group: string; level: string; from: string; to: string; worst: number; reason: string }[];
  /** Points are milliseconds and values. */
  series: { group: string; points: [number, number][] }[];
  threshold: number | null;
  /** Pages for each threshold (rows) and hold in seconds (columns). */
  heat: { thresholds: number[]; holds: number[]; pages: number[][] };
  problems: Problem[];
}

/** Replays a rule over the past days; undefined where this server cannot. */
export async function rehearse(project: number, rule: Rule, days: number, signal: AbortSignal): Promise<Rehearsal | undefined> {
  let response: Response;
  try {
    response = await fetch(`/api/v1/midwatch/projects/${project}/rules/rehearse`, {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ rule, days }),
      signal,
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError("unreachable", "Midwatch does not answer.");
  }
  // A server without rehearsals takes the address for a rule's, which cannot be posted to.
  if (response.status === 404 || response.status === 405) return undefined;
  if (response.ok) return (await response.json()) as Rehearsal;
  const body = (await response.json().catch(() => ({}))) as { code?: ErrorCode; message?: string; request_id?: string };
  throw new ApiError(body.code ?? "internal", body.message ?? `The server answered ${response.status}.`, body.request_id ?? "");
}

/** "0 pages, 2 tickets" and how many of the marked incidents would have been caught. */
export function caught(rehearsal: Rehearsal): string | undefined {
  const all = rehearsal.incidents.length;
  if (all === 0) return undefined;
  const n = rehearsal.incidents.filter((one) => one.caught).length;
  return `${n} of ${all} known ${all === 1 ? "incident" : "incidents"} caught`;
}

/** The nights between two times (ms), from 22 to 7 o'clock by the clock of this browser. */
export function nights(from: number, to: number): { from: number; to: number }[] {
  const out: { from: number; to: number }[] = [];
  const first = new Date(from);
  for (let i = -1; i < 62; i++) {
    const start = new Date(first.getFullYear(), first.getMonth(), first.getDate() + i, 22).getTime();
    const end = new Date(first.getFullYear(), first.getMonth(), first.getDate() + i + 1, 7).getTime();
    if (start >= to) break;
    if (end > from) out.push({ from: Math.max(start, from), to: Math.min(end, to) });
  }
  return out;
}
