import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { ArrowLeft, ChevronRight, ScrollText } from "lucide-react";
import { Fragment, useMemo, useState, type ReactNode } from "react";
import { buttonClass, CopyButton } from "../../components/Button";
import { StatusWord } from "../../components/MonitorStatus";
import { Await, Empty, ErrorNote, Panel, Skeleton, When } from "../../components/Page";
import { Snippets } from "../../components/Snippets";
import { api, ApiError, data, type Checkin, type Monitor, type Schedule } from "../../lib/api";
import { count, duration, plural } from "../../lib/format";
import { useKeys } from "../../lib/keys";
import { useNow, useProject, useTitle } from "../../lib/page";
import { badgesQuery, edges, monitorsQuery, setupQuery } from "../../lib/query";
import { isSlow, logsOf, outcome, outcomeWords, runRange, trendWords } from "../../lib/runs";
import { isTrouble, troubleWords } from "../../lib/sentence";
import { badgeSnippets, checkinSnippets, movedSnippets, uuidURL } from "../../lib/snippets";
import { second } from "../../lib/time";
import { useRange } from "../../lib/useRange";
import { useStay } from "../../lib/useStay";
import { Waiting } from "../setup/SetupPanel";
import { MonitorActions } from "./MonitorActions";
import { RunBars } from "./RunBars";

const route = getRouteApi("/p/$project/monitors/$slug");

export function MonitorPage() {
  const { project } = useProject();
  const { slug } = route.useParams();
  const { range, raw, now } = useRange();
  const navigate = route.useNavigate();
  const looked = useMemo(() => runRange(raw, range), [raw, range]);
  const options = monitorsQuery(project, looked);
  const query = useStay(
    useQuery({
      ...options,
      placeholderData: keepPreviousData,
      // Whoever has just pasted the ping URL waits for its first run.
      refetchInterval: (one) => (one.state.data?.find((m) => m.slug === slug)?.last_checkin_at ? false : 2000),
    }),
    String(project),
  );
  useKeys({ Escape: () => void navigate({ to: "/p/$project/monitors" }) });
  const found = query.data?.find((one) => one.slug === slug);
  useTitle(found ? sentenceOf(found, now) : slug, "Monitors");
  return (
    <div className="pb-8">
      <Link from="/p/$project/monitors/$slug" to="/p/$project/monitors" className="inline-flex min-h-9 items-center gap-1.5 px-4 pt-1 text-data text-muted hover:text-ink">
        <ArrowLeft size={14} aria-hidden /> All monitors
      </Link>
      {!found && <h1 className="sr-only">Monitor {slug}</h1>}
      <Await query={query} queryKey={options.queryKey} skeleton={<Skeleton rows={10} />}>
        {() => (found ? <Detail monitor={found} /> : <ErrorNote className="m-4" error={new ApiError("not_found", `There is no monitor ${slug} in this project.`)} />)}
      </Await>
    </div>
  );
}

function sentenceOf(monitor: Monitor, now: number): string {
  const name = monitor.name || monitor.slug;
  if (isTrouble(monitor.status)) return `${name} ${troubleWords(monitor, now)}.`;
  switch (monitor.status) {
    case "ok":
      return `${name} is on time.`;
    case "running":
      return `${name} is running.`;
    case "paused":
      return `${name} is paused.`;
    default:
      return `${name} waits for its first run.`;
  }
}

const limit = 200;

function Detail({ monitor }: { monitor: Monitor }) {
  const { project } = useProject();
  const { range, raw } = useRange();
  const now = useNow();
  const looked = useMemo(() => runRange(raw, range), [raw, range]);
  const queryKey = ["checkins", project, monitor.slug, looked.from, looked.to, monitor.last_checkin_at];
  const query = useQuery({
    queryKey,
    queryFn: ({ signal }) =>
      data(
        api.GET("/projects/{project}/monitors/{slug}/checkins", { params: { path: { project, slug: monitor.slug }, query: { ...edges(looked), limit } }, signal }),
      ),
    placeholderData: keepPreviousData,
  });
  const setup = useQuery(setupQuery(project));
  const badges = useQuery(badgesQuery(project));
  const { schedule } = monitor;
  const trend = trendWords(monitor);
  const durations = query.data?.durations;
  return (
    <>
      <div className="flex flex-wrap items-start justify-between gap-x-6 gap-y-2 px-4 pb-4">
        <div className="min-w-0 flex-1 basis-80">
          <h1 className="text-lead font-medium">{sentenceOf(monitor, now)}</h1>
          <p className="mt-0.5 flex flex-wrap gap-x-4 text-muted">
            <StatusWord status={monitor.status} />
            <span>{monitor.schedule_words}</span>
            {monitor.next_expected_at && (
              <span>
                {Date.parse(monitor.next_expected_at) < now ? "was expected" : "next"} <When at={monitor.next_expected_at} />
              </span>
            )}
            {monitor.last_checkin_at && (
              <span>
                last <When at={monitor.last_checkin_at} />
              </span>
            )}
            {trend && (
              <span>
                {monitor.last_duration_ms !== undefined && `took ${duration(monitor.last_duration_ms)}, `}
                <span className={isSlow(monitor) ? "text-warn" : ""}>{trend}</span>
              </span>
            )}
          </p>
        </div>
        <MonitorActions monitor={monitor} />
      </div>
      <div className="grid items-start gap-4 px-4 xl:grid-cols-[minmax(0,1fr)_26rem]">
        <div className="flex min-w-0 flex-col gap-4">
          <Panel
            title={monitor.recent.length === 0 ? "Runs" : monitor.recent.length === 1 ? "The last run" : `Last ${plural(monitor.recent.length, "run")}`}
            more={
              durations &&
              durations.runs > 1 && (
                <p className="text-data text-muted" title={`Of the newest ${plural(durations.runs, "successful run")} of the range that tell their duration`}>
                  half within {duration(durations.p50_ms)}, 95{"\u00a0"}% within {duration(durations.p95_ms)}
                </p>
              )
            }
          >
            <div className="p-3">
              <RunBars runs={monitor.recent} slots={Math.max(20, Math.min(60, monitor.recent.length))} className="h-14 w-full" />
            </div>
          </Panel>
          <Panel title="Check-ins, newest first">
            <Await query={query} queryKey={queryKey}>
              {({ checkins }) =>
                checkins.length === 0 ? (
                  <div className="p-4">{monitor.last_checkin_at ? <p className="text-muted">None in this range.</p> : <Waiting>Waiting for the first ping…</Waiting>}</div>
                ) : (
                  <ul>
                    {checkins.map((one) => (
                      <CheckinRow key={one.id} checkin={one} />
                    ))}
                    {checkins.length >= limit && <Empty>The newest {limit}; narrow the range to see others.</Empty>}
                  </ul>
                )
              }
            </Await>
          </Panel>
        </div>
        <div className="flex min-w-0 flex-col gap-4">
          <Panel title="Ping URL" more={<CopyButton label="Copy" text={monitor.ping_url} />}>
            {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
            <pre tabIndex={0} role="region" aria-label="Ping URL" className="overflow-x-auto px-3 py-2.5 font-mono text-data">
              {monitor.ping_url}
            </pre>
            <p className="border-t border-line px-3 py-2 text-data text-muted">
              Add /start when the job begins, /fail or its exit code when it ends. Up to 100 kB of its output may be posted along.
            </p>
          </Panel>
          {setup.data && (
            <>
              <Panel title="Ping URL without a key" more={<CopyButton label="Copy" text={uuidURL(setup.data, monitor.uuid)} />}>
                {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
                <pre tabIndex={0} role="region" aria-label="Ping URL without a key" className="overflow-x-auto px-3 py-2.5 font-mono text-data">
                  {uuidURL(setup.data, monitor.uuid)}
                </pre>
                <p className="border-t border-line px-3 py-2 text-data text-muted">The same for this monitor alone, as Healthchecks has it: for machines that must not know the project's key.</p>
              </Panel>
              <section aria-label="How this job checks in" className="overflow-hidden rounded border border-line bg-s1">
                <Snippets all={checkinSnippets(setup.data, monitor.slug)} label="Ways to check in" />
              </section>
            </>
          )}
          <Panel title="Schedule">
            <dl className="grid grid-cols-[8rem_minmax(0,1fr)] gap-y-1 px-3 py-2.5 text-data">
              <dt className="text-muted">{schedule.kind === "interval" ? "every" : "cron"}</dt>
              <dd className="font-mono">
                {schedule.kind === "none" ? "not set" : schedule.kind === "interval" ? duration(Number(schedule.value) * second) : `${schedule.value} (${schedule.timezone || "UTC"})`}
              </dd>
              {schedule.kind !== "none" && (
                <>
                  <dt className="text-muted">missed after</dt>
                  <dd>{duration(schedule.margin_seconds * second)}</dd>
                </>
              )}
              <dt className="text-muted">stuck after</dt>
              <dd>{schedule.max_runtime_seconds > 0 ? duration(schedule.max_runtime_seconds * second) : "not watched"}</dd>
              <dt className="text-muted">it takes</dt>
              <dd>{thresholds(schedule)}</dd>
            </dl>
          </Panel>
          {badges.data && (
            <Panel title="Badge" className="overflow-hidden" more={<img src={badgePath(badges.data.badge_url, monitor.slug)} alt={`Badge of ${monitor.slug}`} height={20} />}>
              <Snippets all={badgeSnippets(badges.data.badge_url, monitor.slug)} label="Ways to show the badge" />
            </Panel>
          )}
          {setup.data && (
            <Panel title="Coming from another service" className="overflow-hidden">
              <Snippets all={movedSnippets(setup.data, monitor.slug, monitor.uuid)} label="URLs of other services" />
            </Panel>
          )}
        </div>
      </div>
    </>
  );
}

/** The badge's image on this server, by whatever name the browser reached it. */
function badgePath(badgeURL: string, slug: string): string {
  return new URL(badgeURL).pathname.replace(/\.svg$/, `/${slug}.svg`);
}

/** "1 failed or missed run, 1 good one" */
function thresholds({ kind, fail_after, miss_after, recover_after }: Schedule): string {
  const bad = kind === "none" ? plural(fail_after, "failed run") : fail_after === miss_after ? plural(fail_after, "failed or missed run") : `${count(fail_after)} failed or ${plural(miss_after, "missed run")}`;
  return `${bad}; ${plural(recover_after, "good one")} to be well again`;
}

const tones = { ok: "text-ok", error: "text-bad", running: "text-info", note: "text-quiet" } as const;

function CheckinRow({ checkin }: { checkin: Checkin }) {
  const [open, setOpen] = useState(false);
  const kind = outcome(checkin);
  return (
    <li className="border-b border-line last:border-b-0">
      <button type="button" aria-expanded={open} onClick={() => setOpen(!open)} className="block w-full px-3 py-0.5 text-left hover:bg-s2">
        <span className="grid min-h-8 w-full grid-cols-[1rem_10.5rem_minmax(0,1fr)_auto] items-center gap-x-3 text-data max-sm:grid-cols-[1rem_minmax(0,1fr)_auto]">
          <ChevronRight size={14} aria-hidden className={`text-muted ${open ? "rotate-90" : ""}`} />
          <When at={checkin.time} mode="clock" precision="second" />
          <span className="truncate max-sm:order-4 max-sm:col-span-3 max-sm:pl-7">
            <b className={`font-medium ${tones[kind]}`}>{outcomeWords[kind]}</b>
            <span className="text-muted">
              {checkin.exit_code ? ` exit code ${checkin.exit_code}` : ""}
              {checkin.environment && ` · ${checkin.environment}`}
              {checkin.message && !open && ` · ${checkin.message.split("\n", 1)[0]}`}
            </span>
          </span>
          <span className="text-right font-mono">{checkin.duration_ms === undefined ? "" : duration(checkin.duration_ms)}</span>
        </span>
      </button>
      {open && <RunDetail checkin={checkin} />}
    </li>
  );
}

/** When a run was, what it wrote, and where the logs of its time are. */
function RunDetail({ checkin }: { checkin: Checkin }) {
  const { param } = useProject();
  const now = useNow();
  const facts: [string, ReactNode][] = [
    ["began", checkin.started_at && <When key="began" at={checkin.started_at} precision="second" />],
    ["ended", checkin.status !== "in_progress" && checkin.status !== "log" && <When key="ended" at={checkin.time} precision="second" />],
    ["exit code", checkin.exit_code],
    ["release", checkin.release],
    ["sent by", checkin.source],
    ["run", checkin.run_id && <span className="font-mono wrap-anywhere">{checkin.run_id}</span>],
  ];
  return (
    <div className="border-t border-line bg-bg">
      <div className="flex flex-wrap items-start justify-between gap-x-6 gap-y-2 px-4 py-2.5">
        <dl className="grid grid-cols-[5rem_minmax(0,1fr)] gap-y-0.5 text-data">
          {facts.map(([name, value]) =>
            value === undefined || value === "" || value === false ? null : (
              <Fragment key={name}>
                <dt className="text-muted">{name}</dt>
                <dd>{value}</dd>
              </Fragment>
            ),
          )}
        </dl>
        <Link to="/p/$project/logs" params={{ project: param }} search={logsOf(checkin, now)} className={buttonClass()}>
          <ScrollText size={14} aria-hidden /> Logs of this time
        </Link>
      </div>
      {checkin.message ? (
        <>
          <div className="flex items-center justify-between border-t border-line pr-2 pl-4">
            <p className="text-data text-muted">Output</p>
            <CopyButton label="Copy" text={checkin.message} />
          </div>
          {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
          <pre tabIndex={0} role="region" aria-label="Output" className="max-h-96 overflow-auto border-t border-line px-4 py-2.5 font-mono text-data break-words whitespace-pre-wrap">
            {checkin.message}
          </pre>
        </>
      ) : (
        <p className="border-t border-line px-4 py-2 text-data text-muted">No output came with this run.</p>
      )}
    </div>
  );
}
