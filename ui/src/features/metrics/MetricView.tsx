import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { ChevronDown, Plus, Table2 } from "lucide-react";
import { useMemo, useState } from "react";
import { Button, CopyButton } from "../../components/Button";
import { Chart } from "../../components/Chart";
import { Menu, MenuChoice, MenuItem } from "../../components/Menu";
import { Await, Breakable, Empty, PageHead } from "../../components/Page";
import { colors, grid, type Series } from "../../components/series";
import { aggregates } from "../../lib/addresses";
import { api, data, type Aggregate, type Metric, type MetricRange } from "../../lib/api";
import { count, duration, plural, unitName, type ValueFormat } from "../../lib/format";
import { toggled } from "../../lib/logText";
import { useAnswer, useProject, useTitle } from "../../lib/page";
import { edges } from "../../lib/query";
import { stamp } from "../../lib/time";
import { useRange } from "../../lib/useRange";
import { useStay } from "../../lib/useStay";
import { csv, question, seriesFormat, seriesKey, seriesName, stats } from "./summary";

const route = getRouteApi("/p/$project/metrics");

const aggregateNames: Record<Aggregate, string> = {
  avg: "average", sum: "sum", min: "lowest", max: "highest", last: "last", count: "number of samples", rate: "rate per second",
};

export function MetricView({ name, metric }: { name: string; metric: Metric | undefined }) {
  const { project } = useProject();
  const { range, raw } = useRange();
  const { agg, by, view } = route.useSearch();
  const navigate = route.useNavigate();
  const queryKey = ["metric-range", project, name, range.from, range.to, agg, by];
  const query = useStay(
    useQuery({
      queryKey,
      queryFn: ({ signal }) =>
        data(
          api.GET("/projects/{project}/metrics/{metric}/range", {
            params: { path: { project, metric: name }, query: { ...edges(range), aggregate: agg, by } },
            signal,
          }),
        ),
      placeholderData: keepPreviousData,
    }),
    JSON.stringify([project, name, agg, by]),
  );
  const shown = query.data;
  const aggregate = agg ?? shown?.aggregate ?? (metric?.kind === "counter" ? "rate" : "avg");
  const title = question(name, aggregate, by ?? []);
  useTitle(title, "Metrics");
  useAnswer(shown && `${title}: ${shown.series.length} series`, JSON.stringify([name, agg, by, raw]));
  const labels = metric?.labels ?? by ?? [];

  return (
    <div className="pb-6">
      <PageHead
        title={<Breakable text={title} />}
        busy={query.isPlaceholderData}
        under={
          <>
            {metric?.description && <span className="block text-ink">{metric.description}</span>}
            {shown && (
              <>
                {shown.kind !== "unknown" && `${shown.kind}${unitName(shown.unit) && ` in ${unitName(shown.unit)}`}; `}
                {plural(shown.samples_read, "sample")} read, a point each {duration(shown.step_seconds * 1000)}
              </>
            )}
          </>
        }
        actions={
          <>
            <Menu
              align="end"
              label="Aggregate"
              trigger={
                <Button aria-label={`Aggregate: ${aggregateNames[aggregate]}`}>
                  {aggregateNames[aggregate]} <ChevronDown size={12} aria-hidden />
                </Button>
              }
            >
              <MenuChoice
                value={aggregate}
                onChange={(next) => void navigate({ search: (was) => ({ ...was, agg: next }) })}
                choices={aggregates.map((value) => ({ value, name: aggregateNames[value] }))}
              />
            </Menu>
            <Button aria-pressed={view === "table"} onClick={() => void navigate({ search: (was) => ({ ...was, view: view ? undefined : "table" }), replace: true })}>
              <Table2 size={14} aria-hidden /> View as table
            </Button>
          </>
        }
      />
      {labels.length > 0 && (
        <GroupBy labels={labels} by={by ?? []} onToggle={(label) => void navigate({ search: (was) => ({ ...was, by: toggled(was.by, label) }) })} />
      )}
      <Await query={query} queryKey={queryKey} skeleton={<div className="mx-4 h-80 rounded-sm bg-s2" aria-hidden />}>
        {(result) => <Result result={result} table={view === "table"} title={title} />}
      </Await>
    </div>
  );
}

const inSight = 8;

function GroupBy({ labels, by, onToggle }: { labels: string[]; by: string[]; onToggle: (label: string) => void }) {
  const sorted = labels.toSorted();
  const chips = [...new Set([...by, ...sorted.slice(0, inSight)])];
  const rest = sorted.filter((one) => !chips.includes(one));
  return (
    <div role="group" aria-label="Group by" className="flex items-center gap-1.5 px-4 pb-3 max-md:overflow-x-auto md:flex-wrap">
      <span className="text-data text-muted">by</span>
      {chips.map((label) => (
        <button
          key={label}
          type="button"
          aria-pressed={by.includes(label)}
          onClick={() => onToggle(label)}
          className="min-h-6.5 shrink-0 rounded-full border border-line bg-s1 px-2.5 font-mono text-data text-muted hover:bg-s2 aria-pressed:border-accent aria-pressed:bg-accent-soft aria-pressed:text-ink"
        >
          {label}
        </button>
      ))}
      {rest.length > 0 && (
        <Menu
          trigger={
            <Button kind="ghost">
              <Plus size={14} aria-hidden /> {rest.length} more
            </Button>
          }
        >
          {rest.map((label) => (
            <MenuItem key={label} onSelect={() => onToggle(label)}>
              {label}
            </MenuItem>
          ))}
        </Menu>
      )}
    </div>
  );
}

function Result({ result, table, title }: { result: MetricRange; table: boolean; title: string }) {
  const { range, zoom, zoomBack } = useRange();
  const [pinned, setPinned] = useState<string | undefined>(undefined);
  const [hovered, setHovered] = useState<string | undefined>(undefined);
  const stepMs = result.step_seconds * 1000;
  const format = useMemo(() => seriesFormat(result), [result]);
  const { times, series } = useMemo(() => {
    const aligned = grid(result.series, stepMs);
    const keys = result.series.map((one) => seriesKey(one.labels));
    const tokens = colors(keys);
    const all = result.series.map(
      (one, i): Series => ({
        key: keys[i]!,
        name: seriesName(one.labels, result.name),
        ...tokens.get(keys[i]!)!,
        values: aligned.values[i]!,
      }),
    );
    return { times: aligned.times, series: all };
  }, [result, stepMs]);
  const rows = useMemo(
    () => series.map((one) => ({ ...one, ...stats(one.values) })).toSorted((a, b) => (b.last ?? -Infinity) - (a.last ?? -Infinity)),
    [series],
  );

  if (times.length === 0) return <Empty>No value in this range.</Empty>;
  const top = rows[0]!;
  const label = `${title}: ${plural(series.length, "line")}. Highest now: ${top.name}, ${top.last === undefined ? "no value" : format.text(top.last)}.`;
  const lit = hovered ?? pinned;
  return (
    <>
      {table ? (
        <Values times={times} rows={rows} format={format} stepMs={stepMs} toCSV={() => csv(result, series.map((one) => one.name), times, series.map((one) => one.values))} />
      ) : (
        <div className="px-2">
          <Chart label={label} times={times} series={series} range={range} format={format} stepMs={stepMs} height={320} onZoom={zoom} onBack={zoomBack} lit={lit} />
        </div>
      )}
      {result.truncated && <p className="px-4 pt-2 text-data text-warn">More groups match than are shown: these are {count(series.length)} of them. Group by fewer labels to see all.</p>}
      {!table && (
        <div className="overflow-x-auto px-4 pt-3">
          <table className="w-full text-data">
            <caption className="sr-only">The lines of the chart with their figures</caption>
            <thead className="text-muted">
              <tr className="border-b border-line">
                <th scope="col" className="py-1 text-left font-normal">
                  {plural(rows.length, "line")}
                </th>
                {["last", "lowest", "average", "highest"].map((head) => (
                  <th key={head} scope="col" className={`py-1 pl-4 text-right font-normal ${head === "last" ? "" : "max-sm:hidden"}`}>
                    {head}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <tr key={row.key} onMouseEnter={() => setHovered(row.key)} onMouseLeave={() => setHovered(undefined)} className={`border-b border-line hover:bg-s2 ${pinned === row.key ? "bg-accent-soft" : ""}`}>
                  <th scope="row" className="max-w-0 min-w-40 py-0 text-left font-normal sm:w-1/2">
                    <button
                      type="button"
                      aria-pressed={pinned === row.key}
                      title={`${row.name}\nBring out this line`}
                      onClick={() => setPinned(pinned === row.key ? undefined : row.key)}
                      onFocus={() => setHovered(row.key)}
                      onBlur={() => setHovered(undefined)}
                      className="flex min-h-7 w-full items-center gap-2 text-left"
                    >
                      <span aria-hidden className={`size-2.5 shrink-0 rounded-full border-2 ${row.dashed ? "border-dashed bg-transparent!" : ""}`} style={{ borderColor: `var(${row.color})`, background: `var(${row.color})` }} />
                      <span className="truncate font-mono">{row.name}</span>
                    </button>
                  </th>
                  {[row.last, row.min, row.avg, row.max].map((value, i) => (
                    <td key={i} title={value === undefined ? undefined : String(value)} className={`py-1 pl-4 text-right font-mono whitespace-nowrap ${i === 0 ? "" : "text-muted max-sm:hidden"}`}>
                      {value === undefined ? "–" : format.text(value)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}

const columns = 12;

function Values({ times, rows, format, stepMs, toCSV }: { times: number[]; rows: Series[]; format: ValueFormat; stepMs: number; toCSV: () => string }) {
  const { zone, now } = useRange();
  const shown = rows.slice(0, columns);
  return (
    <div className="px-4">
      <div className="flex items-center justify-between py-1 text-data text-muted">
        <span>{rows.length > columns ? `The ${columns} highest of ${plural(rows.length, "line")}; the copy has all.` : "Newest first."}</span>
        <CopyButton kind="plain" label="Copy as CSV" text={toCSV} />
      </div>
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <div tabIndex={0} role="region" aria-label="Values" className="max-h-[60vh] overflow-auto rounded border border-line">
        <table className="w-full text-data">
          <thead className="sticky top-0 bg-s2 text-left">
            <tr>
              <th scope="col" className="px-3 py-1.5 font-normal text-muted">
                Time
              </th>
              {shown.map((one) => (
                <th key={one.key} scope="col" title={one.name} className="max-w-48 truncate px-3 py-1.5 text-right font-mono font-normal">
                  {one.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {times.toReversed().map((time, back) => (
              <tr key={time} className="border-t border-line">
                <th scope="row" className="px-3 py-1 text-left font-mono font-normal whitespace-nowrap text-muted">
                  {stamp(time, zone, now, stepMs < 60_000 ? "second" : "minute")}
                </th>
                {shown.map((one) => {
                  const value = one.values[times.length - 1 - back];
                  return (
                    <td key={one.key} title={value == null ? undefined : String(value)} className="px-3 py-1 text-right font-mono whitespace-nowrap">
                      {value == null ? "–" : format.text(value)}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}
