import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { CalendarCheck, ChartLine, OctagonAlert, ScrollText, type LucideIcon } from "lucide-react";
import type { ReactNode } from "react";
import { buttonClass } from "../../components/Button";
import { IssueLine } from "../../components/IssueLine";
import { StatusWord } from "../../components/MonitorStatus";
import { Notices } from "../../components/Notices";
import { Await, Empty, PageHead, Panel, Skeleton, When } from "../../components/Page";
import { Sparkline } from "../../components/Sparkline";
import { digestQuery, openIncidentsQuery } from "../../lib/alerting";
import { api, data, type Incident, type Monitor, type Overview, type Signal, type Signals } from "../../lib/api";
import { linesOf, withIncidents } from "../../lib/digest";
import { compact, count, duration, percent, plural } from "../../lib/format";
import { useAnswer, useNow, useProject, useTitle } from "../../lib/page";
import { edges, monitorsQuery } from "../../lib/query";
import { isTrouble, overviewSentence, troubleWords } from "../../lib/sentence";
import { second } from "../../lib/time";
import { useRange } from "../../lib/useRange";
import { useStay } from "../../lib/useStay";
import { SetupPanel, Waiting } from "../setup/SetupPanel";
import { useSignals } from "../setup/useSignals";

export function OverviewPage() {
  const { project } = useProject();
  const { range, words, raw, zone } = useRange();
  const signals = useSignals("logs", "metrics", "errors", "checkins");
  const now = useNow();
  const overviewKey = ["overview", project, range.from, range.to];
  const overview = useStay(
    useQuery({
      queryKey: overviewKey,
      queryFn: ({ signal }) => data(api.GET("/projects/{project}/overview", { params: { path: { project }, query: edges(range) }, signal })),
      placeholderData: keepPreviousData,
    }),
    `${project} ${raw.from} ${raw.to}`,
  );
  const monitors = useStay(useQuery({ ...monitorsQuery(project, range), placeholderData: keepPreviousData }), String(project));
  const nothing = signals && !Object.values(signals).some((one) => one.received) && monitors.data?.length === 0;
  const open = useQuery(openIncidentsQuery(project)).data ?? [];
  const digest = useQuery(digestQuery(project, undefined)).data;
  const sentence =
    overview.data && withIncidents(overviewSentence(overview.data, monitors.data, words, now), open, digest ? linesOf(digest, "healed") : 0, zone, now);
  useTitle(nothing ? "Waiting for data" : sentence, "Overview");
  useAnswer(nothing ? "Nothing has arrived yet" : sentence, `${project} ${raw.from} ${raw.to}`);

  if (nothing && open.length === 0) {
    return (
      <>
        <Notices />
        <Start />
      </>
    );
  }
  return (
    <>
      <PageHead
        title={sentence ?? "Overview"}
        busy={overview.isPlaceholderData}
        actions={open.length > 0 ? <OpenIncident incidents={open} /> : undefined}
      />
      <Notices />
      <Await query={overview} queryKey={overviewKey} skeleton={<Skeleton rows={10} />}>
        {(found) => (
          <div className="flex flex-col gap-4 px-4 pb-6">
            <div className="grid gap-3 sm:grid-cols-2 xl:grid-cols-4">
              <LogsBlock overview={found} signals={signals} />
              <ErrorsBlock overview={found} signals={signals} />
              <MetricsBlock overview={found} signals={signals} />
              <MonitorsBlock overview={found} monitors={monitors.data} signals={signals} />
            </div>
            <div className="grid items-start gap-4 xl:grid-cols-[minmax(0,3fr)_minmax(0,2fr)]">
              <Panel title="Issues with most errors" more={<More to="/p/$project/errors">All issues</More>}>
                {found.errors.top.length === 0 ? (
                  <Empty>No errors {words}.</Empty>
                ) : (
                  <ul>
                    {found.errors.top.map((issue) => (
                      <li key={issue.id} className="border-b border-line last:border-b-0">
                        <IssueLine issue={issue} from={range.from} />
                      </li>
                    ))}
                  </ul>
                )}
              </Panel>
              <Jobs monitors={monitors.data} now={now} />
            </div>
          </div>
        )}
      </Await>
    </>
  );
}

/** To the incident that needs a person, or to all of them. */
function OpenIncident({ incidents }: { incidents: Incident[] }) {
  const { param } = useProject();
  const look = buttonClass("primary");
  return incidents.length === 1 ? (
    <Link to="/p/$project/incidents/$incident" params={{ project: param, incident: incidents[0]!.id }} className={look}>
      Open the incident
    </Link>
  ) : (
    <Link to="/p/$project/incidents" params={{ project: param }} search={{ state: "open" }} className={look}>
      Open incidents
    </Link>
  );
}

function More({ to, children }: { to: "/p/$project/errors" | "/p/$project/monitors"; children: string }) {
  const { param } = useProject();
  return (
    <Link to={to} params={{ project: param }} className="text-data text-muted underline-offset-2 hover:text-ink hover:underline">
      {children}
    </Link>
  );
}

interface BlockProps {
  overview: Overview;
  signals: Signals | undefined;
}

type BlockPage = "/p/$project/logs" | "/p/$project/metrics" | "/p/$project/errors" | "/p/$project/monitors";

function Block({ to, name, icon: Icon, signal, signals, figure, unit, under, children }: { to: BlockPage; name: string; icon: LucideIcon; signal: Signal; signals: Signals | undefined; figure: string; unit: string; under: ReactNode; children: ReactNode }) {
  const { param } = useProject();
  const missing = signals && !signals[signal].received;
  return (
    <section aria-label={name} className="relative flex flex-col rounded border border-line bg-s1 hover:border-edge">
      <div className="flex items-center gap-2 px-4 pt-3 text-data text-muted">
        <Icon size={14} aria-hidden />
        <h2>
          <Link to={to} params={{ project: param }} className="after:absolute after:inset-0 after:content-['']">
            {name}
          </Link>
        </h2>
      </div>
      {missing ? (
        <div className="flex flex-1 flex-col justify-center gap-1 px-4 py-5">
          <p className="text-head">Nothing sent yet</p>
          <p className="text-data text-accent">Show how to send {name.toLowerCase()}</p>
        </div>
      ) : (
        <>
          <p className="px-4 pt-1">
            <span className="text-hero font-medium">{figure}</span> <span className="text-muted">{unit}</span>
          </p>
          <p className="min-h-5 px-4 text-data text-muted">{under}</p>
          <div className="mt-auto px-4 pt-3 pb-3">{children}</div>
        </>
      )}
    </section>
  );
}

function per(stepSeconds: number): string {
  return `each bar is ${duration(stepSeconds * second)}`;
}

function LogsBlock({ overview: { logs, step_seconds }, signals }: BlockProps) {
  return (
    <Block to="/p/$project/logs" name="Logs" icon={ScrollText} signal="logs" signals={signals} figure={count(logs.total)} unit={logs.total === 1 ? "line" : "lines"} under={logs.errors > 0 ? <span><b className="font-medium text-bad">{plural(logs.errors, "error")}</b>, {percent(logs.errors, logs.total)}</span> : "none an error"}>
      <Sparkline values={logs.trend} over={logs.error_trend} label={`Log lines over time, errors in front; ${per(step_seconds)}, the tallest is ${count(Math.max(0, ...logs.trend))}`} />
    </Block>
  );
}

function ErrorsBlock({ overview: { errors, step_seconds }, signals }: BlockProps) {
  const parts = [plural(errors.issues, "issue")];
  if (errors.users > 0) parts.push(`${plural(errors.users, "user")} affected`);
  return (
    <Block
      to="/p/$project/errors"
      name="Errors"
      icon={OctagonAlert}
      signal="errors"
      signals={signals}
      figure={count(errors.events)}
      unit={errors.events === 1 ? "event" : "events"}
      under={errors.events === 0 ? "no issue" : <span>{errors.new_issues > 0 && <b className="font-medium text-bad">{count(errors.new_issues)} new of </b>}{parts.join(", ")}</span>}
    >
      <Sparkline values={errors.trend} tone="text-bar-bad" label={`Error events over time; ${per(step_seconds)}, the tallest is ${count(Math.max(0, ...errors.trend))}`} />
    </Block>
  );
}

function MetricsBlock({ overview: { metrics, step_seconds }, signals }: BlockProps) {
  return (
    <Block to="/p/$project/metrics" name="Metrics" icon={ChartLine} signal="metrics" signals={signals} figure={count(metrics.series)} unit="series" under={<span title={count(metrics.samples)}>{plural(metrics.metrics, "metric")}, {compact(metrics.samples)} {metrics.samples === 1 ? "sample" : "samples"}</span>}>
      <Sparkline values={metrics.trend} label={`Samples over time; ${per(step_seconds)}, the tallest is ${count(Math.max(0, ...metrics.trend))}`} />
    </Block>
  );
}

function MonitorsBlock({ overview: { monitors }, monitors: all, signals }: BlockProps & { monitors: Monitor[] | undefined }) {
  const parts: string[] = [];
  if (monitors.bad > 0) parts.push(`${count(monitors.bad)} failed or missed`);
  if (monitors.late > 0) parts.push(`${count(monitors.late)} late`);
  const state = signals && monitors.total > 0 ? { ...signals, checkins: { received: true } } : signals;
  return (
    <Block
      to="/p/$project/monitors"
      name="Monitors"
      icon={CalendarCheck}
      signal="checkins"
      signals={state}
      figure={`${count(monitors.ok)} of ${count(monitors.total)}`}
      unit="on time"
      under={parts.length > 0 ? <b className="font-medium text-bad">{parts.join(", ")}</b> : monitors.total === 0 ? "no job yet" : "none late"}
    >
      <div role="img" aria-label={`${plural(monitors.total, "job")}: ${count(monitors.ok)} on time${parts.length > 0 ? `, ${parts.join(", ")}` : ""}`} className="flex h-10 items-end gap-[2px] overflow-hidden">
        {all?.slice(0, 60).map((one) => (
          <span key={one.uuid} className={`min-w-1 flex-1 rounded-[1px] ${isTrouble(one.status) ? "h-10 bg-bar-bad" : one.status === "ok" || one.status === "running" ? "h-5 bg-bar-ok" : "h-2 bg-faint"}`} />
        ))}
      </div>
    </Block>
  );
}

/** What is not well; or else what runs next. */
function Jobs({ monitors, now }: { monitors: Monitor[] | undefined; now: number }) {
  const { param } = useProject();
  const troubled = monitors?.filter((one) => isTrouble(one.status)) ?? [];
  const next = monitors
    ?.filter((one) => one.next_expected_at)
    .toSorted((a, b) => a.next_expected_at!.localeCompare(b.next_expected_at!))
    .slice(0, 5);
  const rows = troubled.length > 0 ? troubled.slice(0, 8) : (next ?? []);
  return (
    <Panel title={troubled.length > 0 ? "Jobs that need a look" : "Next jobs"} more={<More to="/p/$project/monitors">All monitors</More>}>
      {rows.length === 0 ? (
        <Empty>{monitors ? "No job is expected." : "…"}</Empty>
      ) : (
        <ul>
          {rows.map((one) => (
            <li key={one.uuid} className="border-b border-line last:border-b-0">
              <Link to="/p/$project/monitors/$slug" params={{ project: param, slug: one.slug }} className="flex min-h-11 items-center gap-3 px-3 py-1.5 hover:bg-s2">
                <span className="w-18 shrink-0">
                  <StatusWord status={one.status} />
                </span>
                <span className="min-w-0 flex-1">
                  <span className="block truncate">{one.name || one.slug}</span>
                  <span className="block truncate text-data text-muted">{one.schedule_words}</span>
                </span>
                <span className="text-right text-data text-muted">
                  {troubled.length > 0 ? troubleWords(one, now) : <When at={one.next_expected_at!} mode="ago" />}
                </span>
              </Link>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

const steps: { signal: Signal; name: string; under: string }[] = [
  { signal: "logs", name: "Logs", under: "What happens in your services, line by line." },
  { signal: "metrics", name: "Metrics", under: "How much, how fast, how full; over time." },
  { signal: "errors", name: "Errors", under: "Exceptions of your code, grouped, with their stack." },
  { signal: "checkins", name: "Check-ins", under: "Whether your jobs ran, and when one did not." },
];

/** A project without any data. */
function Start() {
  return (
    <div className="mx-auto max-w-230 p-4 pt-8 pb-10">
      <h1 className="text-lead font-medium">Nothing has arrived yet. Send a first event, any of the four.</h1>
      <p className="mt-1 mb-4 text-muted">The lines hold this project's own key. This page notices what comes and shows it.</p>
      <Waiting />
      {steps.map((one) => (
        <section key={one.signal} className="mt-7">
          <h2 className="text-head font-medium">{one.name}</h2>
          <p className="mb-2 text-data text-muted">{one.under}</p>
          <SetupPanel signal={one.signal} />
        </section>
      ))}
    </div>
  );
}
