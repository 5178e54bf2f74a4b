import { queryOptions, useQuery } from "@tanstack/react-query";
import { api, ApiError, data, type Aggregate, type MetricRange } from "../../lib/api";
import { edges } from "../../lib/query";
import type { Range } from "../../lib/range";
import { minute } from "../../lib/time";

/** How often the list and what was seen last are asked for. */
const every = 15_000;
/** The slowest probe runs every five minutes; its reason is told again as often. */
const lookback = 20 * minute;

export const probesQuery = (project: number) =>
  queryOptions({
    queryKey: ["probes", project],
    queryFn: async ({ signal }) => (await data(api.GET("/projects/{project}/probes", { params: { path: { project } }, signal }))).probes,
    staleTime: 5000,
    refetchInterval: every,
  });

async function metric(project: number, name: string, range: Range, aggregate: Aggregate, by: string[], step: number | undefined, signal: AbortSignal): Promise<MetricRange | undefined> {
  try {
    return await data(
      api.GET("/projects/{project}/metrics/{metric}/range", {
        params: { path: { project, metric: name }, query: { ...edges(range), aggregate, by, ...(step ? { step } : {}) } },
        signal,
      }),
    );
  } catch (error) {
    // No probe has run in the range.
    if (error instanceof ApiError && error.code === "not_found") return undefined;
    throw error;
  }
}

/** What the regions saw last, where there are probes to be run: whether it answers, how long that took, what is left of certificates, and reasons. */
export function useSeen(project: number, enabled: boolean) {
  return useQuery({
    enabled,
    queryKey: ["probes-seen", project],
    queryFn: async ({ signal }) => {
      const to = Date.now();
      const range = { from: to - lookback, to };
      const last = (name: string, by: string[]) => metric(project, name, range, "last", by, 60, signal);
      const [up, took, remaining, lifetime, valid, logs] = await Promise.all([
        last("midwatch_probe_up", ["probe", "region"]),
        last("midwatch_probe_duration_seconds", ["probe", "region"]),
        metric(project, "midwatch_probe_certificate_remaining_seconds", range, "min", ["probe"], 60, signal),
        metric(project, "midwatch_probe_certificate_lifetime_seconds", range, "min", ["probe"], 60, signal),
        last("midwatch_probe_certificate_valid", ["probe", "region"]),
        data(api.GET("/projects/{project}/logs", { params: { path: { project }, query: { ...edges(range), service: ["midwatch-probe"], limit: 500 } }, signal })),
      ]);
      return { up, took, remaining, lifetime, valid, lines: logs.rows, at: to };
    },
    staleTime: 5000,
    refetchInterval: every,
  });
}

/** How long the runs of each probe took, over a range. */
export function useDurations(project: number, range: Range, enabled: boolean) {
  return useQuery({
    enabled,
    queryKey: ["probes-took", project, range.from, range.to],
    queryFn: ({ signal }) => metric(project, "midwatch_probe_duration_seconds", range, "avg", ["probe"], undefined, signal).then((found) => found ?? null),
    placeholderData: (was) => was,
  });
}
