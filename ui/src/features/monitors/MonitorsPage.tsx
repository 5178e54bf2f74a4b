import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Plus } from "lucide-react";
import { useMemo } from "react";
import { Button, buttonClass, CopyButton } from "../../components/Button";
import { StatusWord, statusWord } from "../../components/MonitorStatus";
import { Await, Empty, PageHead, Skeleton, When } from "../../components/Page";
import { useRowKeys } from "../../components/useRowKeys";
import { monitorStatuses } from "../../lib/addresses";
import type { Monitor, MonitorStatus } from "../../lib/api";
import { count, duration } from "../../lib/format";
import { toggled } from "../../lib/logText";
import { useAnswer, useNow, useProject, useTitle } from "../../lib/page";
import { monitorsQuery } from "../../lib/query";
import { isSlow, runRange, trendWords } from "../../lib/runs";
import { isTrouble, monitorsSentence } from "../../lib/sentence";
import { useRange } from "../../lib/useRange";
import { useStay } from "../../lib/useStay";
import { FirstEvent } from "../setup/SetupPanel";
import { useSignals } from "../setup/useSignals";
import { RunBars } from "./RunBars";

const route = getRouteApi("/p/$project/monitors");

export function MonitorsPage() {
  const { status } = route.useSearch();
  const navigate = route.useNavigate();
  const { project, param } = useProject();
  const { range, raw } = useRange();
  const signals = useSignals("checkins");
  const looked = useMemo(() => runRange(raw, range), [raw, range]);
  const options = monitorsQuery(project, looked);
  const query = useStay(
    useQuery({
      ...options,
      placeholderData: keepPreviousData,
      // A monitor may be made by its first ping, so an empty list is asked again like a signal that has not come.
      refetchInterval: (one) => (one.state.data?.length === 0 ? 2000 : false),
    }),
    String(project),
  );
  const now = useNow();
  const monitors = query.data;
  const list = useRowKeys<HTMLUListElement>();
  const none = monitors?.length === 0;
  const sentence = monitors && (none ? "No job has checked in yet" : monitorsSentence(monitors, now));
  useTitle(sentence, "Monitors");
  useAnswer(sentence, String(project));
  const create = (
    <Link to="/p/$project/new-monitor" params={{ project: param }} className={buttonClass("primary")}>
      <Plus size={14} aria-hidden /> New monitor
    </Link>
  );

  if (none) {
    return (
      <>
        <FirstEvent
          signal="checkins"
          title="No job has checked in yet."
          under="One line at the end of a job tells that it ran. The first ping makes its monitor; a schedule makes it notice a run that did not happen."
        />
        <div className="mx-auto max-w-230 px-4">{create}</div>
      </>
    );
  }
  return (
    <>
      <PageHead
        title={sentence ?? "Monitors"}
        under={monitors && signals && !signals.checkins.received ? "No check-in has come yet. Open a monitor to see how a job sends one." : monitors && slowWords(monitors)}
        actions={create}
      />
      <Await query={query} queryKey={options.queryKey} skeleton={<Skeleton rows={8} />}>
        {(all) => (
          <>
            <Filter all={all} status={status} onChange={(next) => void navigate({ search: (was) => ({ ...was, status: next }), replace: true })} />
            <div aria-hidden className={`grid border-y border-line bg-s1 py-1.5 pr-2 pl-4 text-tiny text-muted max-lg:hidden ${columns}`}>
              <span>State</span>
              <span>Job</span>
              <span>Last 60 runs of 30 days</span>
              <span>Last run</span>
              <span>Next expected</span>
              <span className="w-7" />
            </div>
            <ul ref={list} aria-label="Monitors" className={query.isPlaceholderData ? "stale" : ""}>
              {all
                .filter((one) => !status || status.includes(one.status))
                .toSorted(worstFirst)
                .map((one) => (
                  <Row key={one.uuid} monitor={one} now={now} />
                ))}
            </ul>
            {status && !all.some((one) => status.includes(one.status)) && <Empty>No monitor is {status.map(statusWord).join(" or ")}.</Empty>}
          </>
        )}
      </Await>
    </>
  );
}

/** Which statuses are shown; those that no monitor has are not offered. */
function Filter({ all, status, onChange }: { all: Monitor[]; status: MonitorStatus[] | undefined; onChange: (status: MonitorStatus[] | undefined) => void }) {
  const counts = monitorStatuses.map((one) => ({ one, n: all.filter((m) => m.status === one).length })).filter(({ one, n }) => n > 0 || status?.includes(one));
  if (counts.length < 2 && !status) return null;
  return (
    <div role="group" aria-label="Show only" className="flex flex-wrap gap-1.5 px-4 pb-3">
      <Button aria-pressed={!status} onClick={() => onChange(undefined)}>
        all <span className="text-muted">{count(all.length)}</span>
      </Button>
      {counts.map(({ one, n }) => (
        <Button key={one} aria-pressed={status?.includes(one) ?? false} onClick={() => onChange(toggled(status, one))}>
          <StatusWord status={one} /> <span className="text-muted">{count(n)}</span>
        </Button>
      ))}
    </div>
  );
}

/** "backup took 3 times as long as usual" for the first jobs that were slow. */
function slowWords(monitors: Monitor[]): string | undefined {
  const slow = monitors.filter((one) => one.status !== "paused" && isSlow(one));
  if (slow.length === 0) return undefined;
  const named = slow.slice(0, 2).map((one) => `${one.slug} was ${trendWords(one)}`);
  if (slow.length > named.length) named.push(`${count(slow.length - named.length)} more were slow`);
  return `${named.join("; ")}.`;
}

const columns = "gap-x-4 grid-cols-[minmax(0,1fr)_auto] lg:grid-cols-[6rem_minmax(0,1fr)_minmax(12rem,19rem)_10rem_8rem_1.75rem]";

function worstFirst(a: Monitor, b: Monitor): number {
  return Number(isTrouble(b.status)) - Number(isTrouble(a.status)) || a.slug.localeCompare(b.slug);
}

function Row({ monitor, now }: { monitor: Monitor; now: number }) {
  const { param } = useProject();
  return (
    <li className={`relative grid min-h-14 items-center border-b border-line py-2 pr-2 pl-4 hover:bg-s2 max-lg:gap-y-1.5 ${columns}`}>
      <StatusWord status={monitor.status} className="max-lg:order-2 max-lg:justify-self-end" />
      <div className="min-w-0 max-lg:order-1">
        <Link
          data-row
          to="/p/$project/monitors/$slug"
          params={{ project: param, slug: monitor.slug }}
          aria-label={`${monitor.name || monitor.slug}, ${statusWord(monitor.status)}`}
          className="block truncate font-medium after:absolute after:inset-0 after:content-['']"
        >
          {monitor.name || monitor.slug}
        </Link>
        <p className="truncate text-data text-muted">
          {monitor.name && monitor.name !== monitor.slug && <span className="font-mono">{monitor.slug} · </span>}
          {monitor.schedule_words}
        </p>
      </div>
      <RunBars runs={monitor.recent} className="h-7 w-full max-lg:order-3 max-lg:col-span-2" />
      <p className="text-data max-lg:order-4">
        {monitor.last_checkin_at ? <When at={monitor.last_checkin_at} mode="ago" /> : <span className="text-muted">never</span>}
        {monitor.last_duration_ms !== undefined && <span className="text-muted lg:block"> took {duration(monitor.last_duration_ms)}</span>}
        {isSlow(monitor) && <span className="text-warn lg:block"> {trendWords(monitor)}</span>}
      </p>
      <p className="text-data text-muted max-lg:order-5 max-lg:justify-self-end">
        {monitor.next_expected_at && (Date.parse(monitor.next_expected_at) < now ? "was due " : <span className="lg:hidden">next </span>)}
        {monitor.next_expected_at ? <When at={monitor.next_expected_at} mode="ago" /> : <span className="max-lg:hidden">none</span>}
      </p>
      <CopyButton bare label={`Copy the ping URL of ${monitor.slug}`} text={monitor.ping_url} className="relative max-lg:hidden" />
    </li>
  );
}
