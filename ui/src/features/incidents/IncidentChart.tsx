import { useQuery } from "@tanstack/react-query";
import { useMemo, useState, type ReactNode } from "react";
import { Chart } from "../../components/Chart";
import { Panel } from "../../components/Page";
import { colors, grid, type Series } from "../../components/series";
import { aggregates } from "../../lib/addresses";
import { api, data, type Aggregate, type IncidentDetail, type IncidentInstance } from "../../lib/api";
import { chartRange, isOpen, limitValue, type Dossier } from "../../lib/incidents";
import { useProject } from "../../lib/page";
import { edges } from "../../lib/query";
import type { Range } from "../../lib/range";
import { seriesFormat, seriesKey, seriesName } from "../metrics/summary";

/** The value against its limit: drawn from the metric where the rule reads one whole, or the picture that people got. */
export function IncidentChart({ detail, dossier }: { detail: IncidentDetail; dossier: Dossier | undefined }) {
  const { project } = useProject();
  const worst = detail.instances.find((one) => !one.resolved_at && one.rule) ?? detail.instances.find((one) => one.rule);
  const rule = useQuery({
    queryKey: ["rule-of-incident", project, worst?.rule],
    enabled: worst !== undefined && worst.kind === "threshold",
    retry: false,
    queryFn: async ({ signal }) => (await data(api.GET("/projects/{project}/rules/{id}", { params: { path: { project, id: worst!.rule } }, signal }))).effective,
  }).data;
  const aggregate = aggregates.find((one) => one === rule?.query.aggregate);
  const whole = rule?.query.metric && aggregate && !rule.query.bad?.length && !rule.query.where?.length && !rule.environment;
  const picture = dossier?.chart && <Picture chart={dossier.chart} />;
  if (!worst || !whole) return picture ?? null;
  return <Live detail={detail} instance={worst} metric={rule.query.metric!} aggregate={aggregate} by={rule.query.by ?? []} only={onlyOf(rule)} otherwise={picture} />;
}

/** The labels of the series that a rule is about: metrics have the service under its name in Prometheus. */
function onlyOf(rule: { service?: string }): Record<string, string> {
  return rule.service ? { service_name: rule.service } : {};
}

function Picture({ chart }: { chart: NonNullable<Dossier["chart"]> }) {
  return (
    <Panel title="As it was when people were told">
      <img src={`data:image/png;base64,${chart.png}`} alt={chart.alt || "The value against its limit"} className="w-full max-w-180 bg-white p-2" />
      {chart.alt && <p className="px-3 pb-2 text-data text-muted">{chart.alt}</p>}
    </Panel>
  );
}

function Live({ detail, instance, metric, aggregate, by, only, otherwise }: { detail: IncidentDetail; instance: IncidentInstance; metric: string; aggregate: Aggregate; by: string[]; only: Record<string, string>; otherwise: ReactNode }) {
  const { project } = useProject();
  const { incident } = detail;
  const [now] = useState(() => Date.now());
  const range = useMemo(() => chartRange(incident, now), [incident, now]);
  const [part, setPart] = useState<Range | undefined>(undefined);
  const asked = [...new Set([...by, ...Object.keys(only)])];
  const query = useQuery({
    queryKey: ["metric-range", project, metric, range.from, range.to, aggregate, asked],
    refetchInterval: isOpen(incident) ? 60_000 : false,
    queryFn: ({ signal }) =>
      data(api.GET("/projects/{project}/metrics/{metric}/range", { params: { path: { project, metric }, query: { ...edges(range), aggregate, ...(asked.length > 0 ? { by: asked } : {}) } }, signal })),
  });
  const found = query.data;
  const kept = JSON.stringify(only);
  const result = useMemo(() => {
    const labels = Object.entries(JSON.parse(kept) as Record<string, string>);
    return found && { ...found, series: found.series.filter((one) => labels.every(([label, value]) => one.labels[label] === value)) };
  }, [found, kept]);
  const drawn = useMemo(() => {
    if (!result) return undefined;
    const { times, values } = grid(result.series, result.step_seconds * 1000);
    if (times.length === 0) return undefined;
    const keys = result.series.map((one) => seriesKey(one.labels));
    const tokens = colors(keys);
    const series = result.series.map((one, i): Series => ({ key: keys[i]!, name: seriesName(one.labels, result.name), ...tokens.get(keys[i]!)!, values: values[i]! }));
    const limit = limitValue(instance.limit, result.unit);
    if (limit !== undefined) series.push({ key: "\u0000limit", name: `limit ${instance.limit}`, color: "--bad", dashed: true, values: times.map(() => limit) });
    return { times, series };
  }, [result, instance.limit]);
  const format = useMemo(() => (result ? seriesFormat(result) : undefined), [result]);
  if (!result || !drawn || !format) return otherwise ?? null;
  const lit = instanceKey(instance, asked);
  return (
    <Panel title={`${metric}${instance.limit ? `, limit ${instance.limit}` : ""}`}>
      <div className="px-1 pb-1">
        <Chart
          label={`${metric} around the incident${instance.limit ? `; its limit is ${instance.limit}` : ""}; the worst was ${format.text(instance.worst)}.`}
          times={drawn.times}
          series={drawn.series}
          range={part ?? range}
          format={format}
          stepMs={result.step_seconds * 1000}
          height={180}
          onZoom={setPart}
          onBack={() => setPart(undefined)}
          lit={drawn.series.length > 3 && drawn.series.some((one) => one.key === lit) ? lit : undefined}
        />
      </div>
    </Panel>
  );
}

/** The key of the line of an instance among those of its metric. */
function instanceKey(instance: IncidentInstance, by: readonly string[]): string {
  return seriesKey(Object.fromEntries(by.map((label) => [label, instance.labels?.[label] ?? ""])));
}
