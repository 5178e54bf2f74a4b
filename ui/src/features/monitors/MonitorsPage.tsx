import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Plus } from "lucide-react";
import { useMemo } from "react";
import { buttonClass, CopyButton } from "../../components/Button";
import { StatusWord, statusWord } from "../../components/MonitorStatus";
import { Await, PageHead, Skeleton, When } from "../../components/Page";
import { useRowKeys } from "../../components/useRowKeys";
import type { Monitor } from "../../lib/api";
import { duration } from "../../lib/format";
import { useAnswer, useNow, useProject, useTitle } from "../../lib/page";
import { monitorsQuery } from "../../lib/query";
import { runRange } from "../../lib/runs";
import { isTrouble, monitorsSentence } from "../../lib/sentence";
import { useRange } from "../../lib/useRange";
import { useStay } from "../../lib/useStay";
import { FirstEvent } from "../setup/SetupPanel";
import { useSignals } from "../setup/useSignals";
import { RunBars } from "./RunBars";

export function MonitorsPage() {
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
        under={monitors && signals && !signals.checkins.received ? "No check-in has come yet. Open a monitor to see how a job sends one." : undefined}
        actions={create}
      />
      <Await query={query} queryKey={options.queryKey} skeleton={<Skeleton rows={8} />}>
        {(all) => (
          <>
            <div aria-hidden className={`grid border-y border-line bg-s1 py-1.5 pr-2 pl-4 text-tiny text-muted max-lg:hidden ${columns}`}>
              <span>State</span>
              <span>Job</span>
              <span>Last 60 runs of 30 days</span>
              <span>Last run</span>
              <span>Next expected</span>
              <span className="w-7" />
            </div>
            <ul ref={list} aria-label="Monitors" className={query.isPlaceholderData ? "stale" : ""}>
              {all.toSorted(worstFirst).map((one) => (
                <Row key={one.uuid} monitor={one} now={now} />
              ))}
            </ul>
          </>
        )}
      </Await>
    </>
  );
}

const columns = "gap-x-4 grid-cols-[minmax(0,1fr)_auto] lg:grid-cols-[6rem_minmax(0,1fr)_minmax(12rem,19rem)_8rem_8rem_1.75rem]";

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
      </p>
      <p className="text-data text-muted max-lg:order-5 max-lg:justify-self-end">
        {monitor.next_expected_at && Date.parse(monitor.next_expected_at) < now ? "was due " : <span className="lg:hidden">next </span>}
        {monitor.next_expected_at ? <When at={monitor.next_expected_at} mode="ago" /> : "none"}
      </p>
      <CopyButton bare label={`Copy the ping URL of ${monitor.slug}`} text={monitor.ping_url} className="relative max-lg:hidden" />
    </li>
  );
}
