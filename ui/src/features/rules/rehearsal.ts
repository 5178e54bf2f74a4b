import { api, ApiError, data, type Rule } from "../../lib/api";
import type { components } from "../../lib/api.gen";

/** What a rule would have done in the past days. */
export type Rehearsal = components["schemas"]["Rehearsal"];

/** Replays a rule over the past days; undefined where this server cannot. */
export async function rehearse(project: number, rule: Rule, days: number, signal: AbortSignal): Promise<Rehearsal | undefined> {
  try {
    return await data(api.POST("/projects/{project}/rules/rehearse", { params: { path: { project } }, body: { rule, days }, signal }));
  } catch (error) {
    if (error instanceof ApiError && error.code === "not_found") return undefined;
    throw error;
  }
}

/** How many of the incidents that people marked as real would have been told of. */
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
