import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { ArrowLeft, Search } from "lucide-react";
import { useDeferredValue } from "react";
import { Await, Breakable, Empty, PageHead, Skeleton } from "../../components/Page";
import { useRowKeys } from "../../components/useRowKeys";
import { api, data, type Metric } from "../../lib/api";
import { count, plural, unitName } from "../../lib/format";
import { useAnswer, useDraft, useProject, useTitle } from "../../lib/page";
import { edges } from "../../lib/query";
import { useRange } from "../../lib/useRange";
import { useStay } from "../../lib/useStay";
import { FirstEvent } from "../setup/SetupPanel";
import { useSignals } from "../setup/useSignals";
import { MetricView } from "./MetricView";

const route = getRouteApi("/p/$project/metrics");

export function MetricsPage() {
  const signals = useSignals("metrics");
  if (signals && !signals.metrics.received) {
    return <FirstEvent signal="metrics" title="No metric has arrived yet." under="OTLP and Prometheus remote write, with this project's own key." />;
  }
  return <Metrics />;
}

function Metrics() {
  const { project } = useProject();
  const { range, words } = useRange();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const [find, setFind] = useDraft(search.find ?? "");
  const q = useDeferredValue(find.trim()) || undefined;
  const queryKey = ["metrics", project, range.from, range.to, q];
  const metrics = useStay(
    useQuery({
      queryKey,
      queryFn: ({ signal }) => data(api.GET("/projects/{project}/metrics", { params: { path: { project }, query: { ...edges(range), q } }, signal })),
      placeholderData: keepPreviousData,
    }),
    `${project} ${q}`,
  );
  const all = metrics.data?.metrics;
  const list = useRowKeys<HTMLUListElement>();
  // With one metric there is nothing to choose.
  const name = search.metric ?? (all?.length === 1 && q === undefined ? all[0]!.name : undefined);
  const chosen = all?.find((one) => one.name === name);

  return (
    <div className="grid h-full min-h-0 md:grid-cols-[280px_minmax(0,1fr)]">
      <aside aria-label="Metrics" className={`flex min-h-0 flex-col border-r border-line ${name ? "max-md:hidden" : ""}`}>
        <div className="relative m-3 mb-2">
          <Search size={15} className="pointer-events-none absolute top-2.5 left-2.5 text-muted" aria-hidden />
          <input
            type="search"
            aria-label="Find a metric"
            placeholder="Find a metric"
            value={find}
            maxLength={200}
            autoComplete="off"
            autoCapitalize="none"
            spellCheck={false}
            onChange={(event) => setFind(event.target.value)}
            onBlur={() => void navigate({ search: (was) => ({ ...was, find: find.trim() || undefined }), replace: true })}
            onKeyDown={(event) => {
              if (event.key === "Escape") event.currentTarget.blur();
              if (event.key === "Enter" || event.key === "ArrowDown") list.current?.querySelector<HTMLElement>("[data-row]")?.focus();
            }}
            className="min-h-9 w-full rounded border border-edge bg-bg pr-2 pl-8 text-data"
          />
        </div>
        <div className="min-h-0 flex-1 overflow-auto">
          <Await query={metrics} queryKey={queryKey}>
            {(found) =>
              found.metrics.length === 0 ? (
                <Empty>{q ? `No metric has “${q}” in its name.` : `No metric ${words}.`}</Empty>
              ) : (
                <ul ref={list} className={metrics.isPlaceholderData ? "stale" : ""}>
                  {found.metrics.map((one) => (
                    <MetricRow key={one.name} metric={one} current={one.name === name} />
                  ))}
                </ul>
              )
            }
          </Await>
        </div>
        {all && (
          <p className="border-t border-line px-3 py-1.5 text-tiny text-muted">
            {metrics.data?.truncated ? `The first ${plural(all.length, "metric")}; type a part of a name to see others` : `${plural(all.length, "metric")}, ${count(all.reduce((n, one) => n + one.series, 0))} series`}
          </p>
        )}
      </aside>
      <div className={`min-h-0 overflow-auto ${name ? "" : "max-md:row-start-1"}`}>
        {search.metric && (
          <Link from="/p/$project/metrics" to="." search={(was) => ({ ...was, metric: undefined, by: undefined, agg: undefined })} className="flex min-h-9 items-center gap-2 px-4 text-data text-muted md:hidden">
            <ArrowLeft size={14} aria-hidden /> All metrics
          </Link>
        )}
        {name ? <MetricView key={name} name={name} metric={chosen} /> : <Choose all={all} truncated={metrics.data?.truncated ?? false} />}
      </div>
    </div>
  );
}

function MetricRow({ metric, current }: { metric: Metric; current: boolean }) {
  return (
    <li className="[contain-intrinsic-size:auto_46px] [content-visibility:auto]">
      <Link
        data-row
        from="/p/$project/metrics"
        to="."
        search={(was) => ({ ...was, metric: metric.name, by: undefined, agg: undefined })}
        aria-current={current || undefined}
        title={metric.description || metric.name}
        className="block border-l-2 border-transparent py-1.5 pr-3 pl-2.5 hover:bg-s2 aria-current:border-accent aria-current:bg-accent-soft"
      >
        <span className="line-clamp-2 font-mono text-data">
          <Breakable text={metric.name} />
        </span>
        <span className="flex justify-between gap-2 text-tiny text-muted">
          <span className="truncate">
            {metric.kind === "unknown" ? "" : metric.kind}
            {unitName(metric.unit) && ` in ${unitName(metric.unit)}`}
          </span>
          <span>{count(metric.series)} series</span>
        </span>
      </Link>
    </li>
  );
}

function Choose({ all, truncated }: { all: Metric[] | undefined; truncated: boolean }) {
  const { words, raw } = useRange();
  const series = all?.reduce((n, one) => n + one.series, 0) ?? 0;
  const sentence = all && (all.length === 0 ? `No metric ${words}.` : `${truncated ? "More than " : ""}${plural(all.length, "metric")} with ${count(series)} series ${words}.`);
  useTitle(sentence, "Metrics");
  useAnswer(sentence, JSON.stringify(raw));
  return (
    <>
      <PageHead title={sentence ?? "Metrics"} under="Choose one to see it over time." />
      {!all && (
        <div className="max-md:hidden">
          <Skeleton />
        </div>
      )}
    </>
  );
}
