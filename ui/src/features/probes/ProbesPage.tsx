import { Link } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { CircleAlert, CircleCheck, CircleDot, CirclePause, CircleX, Plus, type LucideIcon } from "lucide-react";
import { buttonClass } from "../../components/Button";
import { Await, PageHead, Skeleton } from "../../components/Page";
import { Sparkline } from "../../components/Sparkline";
import { useRowKeys } from "../../components/useRowKeys";
import type { MetricRange, Probe } from "../../lib/api";
import { duration } from "../../lib/format";
import { useAnswer, useProject, useTitle } from "../../lib/page";
import type { Range } from "../../lib/range";
import { useRange } from "../../lib/useRange";
import { certificateState, newest, probesSentence, reasonOf, resultWords, seenOf, statusOf, steps, type CertificateState, type Status } from "./state";
import { probesQuery, useDurations, useSeen } from "./useProbes";

const looks: Record<Status, { icon: LucideIcon; tone: string; word: string }> = {
  up: { icon: CircleCheck, tone: "text-ok", word: "up" },
  failing: { icon: CircleAlert, tone: "text-warn", word: "failing" },
  down: { icon: CircleX, tone: "text-bad", word: "down" },
  waiting: { icon: CircleDot, tone: "text-quiet", word: "waiting" },
  paused: { icon: CirclePause, tone: "text-quiet", word: "paused" },
};

export function ProbesPage() {
  const { project, param } = useProject();
  const { range } = useRange();
  const options = probesQuery(project);
  const query = useQuery(options);
  const some = query.data !== undefined && query.data.length > 0;
  const seen = useSeen(project, some);
  const durations = useDurations(project, range, some);
  const list = useRowKeys<HTMLUListElement>();
  const rows = query.data?.map((probe) => rowOf(probe, seen.data, durations.data ?? undefined, range));
  const none = rows?.length === 0;
  const statuses = new Map(rows?.map((row) => [row.probe.id, row.status]));
  const sentence = query.data && (none ? "Nothing is probed yet" : seen.data ? probesSentence(query.data, statuses) : undefined);
  useTitle(sentence, "Probes");
  useAnswer(sentence, String(project));
  const create = (
    <Link to="/p/$project/new-probe" params={{ project: param }} className={buttonClass("primary")}>
      <Plus size={14} aria-hidden /> New probe
    </Link>
  );
  if (none) {
    return (
      <PageHead
        title="Nothing is probed yet."
        under="A probe asks an address from outside whether it answers, every 30 seconds: a page, a port, a name, a certificate. It notices what your own metrics cannot tell when nobody gets through."
        actions={create}
      />
    );
  }
  return (
    <>
      <PageHead title={sentence ?? "Probes"} under={seen.data?.up?.truncated ? "There are more results than are shown here; some states are missing." : undefined} actions={create} />
      <Await query={query} queryKey={options.queryKey} skeleton={<Skeleton rows={8} />}>
        {() => (
          <>
            <div aria-hidden className={`grid border-y border-line bg-s1 py-1.5 pr-4 pl-4 text-tiny text-muted max-lg:hidden ${columns}`}>
              <span>State</span>
              <span>Probe</span>
              <span>Time to answer</span>
              <span>Last result</span>
              <span>Certificate</span>
            </div>
            <ul ref={list} aria-label="Probes">
              {rows?.toSorted(worstFirst).map((row) => (
                <Line key={row.probe.id} row={row} />
              ))}
            </ul>
          </>
        )}
      </Await>
    </>
  );
}

interface Row {
  probe: Probe;
  status: Status;
  words: string;
  certificate: CertificateState | undefined;
  /** Milliseconds, oldest first. */
  trend: number[];
}

function rowOf(probe: Probe, data: ReturnType<typeof useSeen>["data"], durations: MetricRange | undefined, range: Range): Row {
  const seen = data ? seenOf(probe, data.up, data.at) : [];
  const status = statusOf(probe, seen);
  const took = newest(data?.took, { probe: probe.id }).map((one) => one.value * 1000);
  const certificate = certificateState(
    newest(data?.remaining, { probe: probe.id })[0]?.value,
    newest(data?.lifetime, { probe: probe.id })[0]?.value,
    newest(data?.valid, { probe: probe.id }).map((one) => one.value),
  );
  const line = durations?.series.find((one) => one.labels.probe === probe.id);
  return {
    probe,
    status,
    words: data ? resultWords(status, seen, reasonOf(probe, seen, data.lines), took.length ? Math.max(...took) : undefined) : "",
    certificate,
    trend: line && durations ? steps(line.points, durations.step_seconds, range.from, range.to).map((s) => s * 1000) : [],
  };
}

const order: Status[] = ["down", "failing", "waiting", "up", "paused"];

function worstFirst(a: Row, b: Row): number {
  return order.indexOf(a.status) - order.indexOf(b.status) || a.probe.name.localeCompare(b.probe.name);
}

const columns = "gap-x-4 grid-cols-[minmax(0,1fr)_auto] lg:grid-cols-[6rem_minmax(0,1fr)_minmax(8rem,14rem)_minmax(0,1fr)_9rem]";

function Line({ row: { probe, status, words, certificate, trend } }: { row: Row }) {
  const { param } = useProject();
  const { icon: Icon, tone, word } = looks[status];
  const most = Math.max(0, ...trend);
  return (
    <li className={`relative grid min-h-14 items-center border-b border-line px-4 py-2 hover:bg-s2 max-lg:gap-y-1.5 ${columns}`}>
      <span className={`inline-flex items-center gap-1.5 text-data whitespace-nowrap max-lg:order-2 max-lg:justify-self-end ${tone}`}>
        <Icon size={14} aria-hidden />
        {word}
      </span>
      <div className="min-w-0 max-lg:order-1">
        <Link data-row to="/p/$project/probes/$probe" params={{ project: param, probe: probe.id }} aria-label={`${probe.name}, ${word}`} className="block truncate font-medium after:absolute after:inset-0 after:content-['']">
          {probe.name}
        </Link>
        <p className="truncate font-mono text-data text-muted" title={probe.target}>
          {probe.kind === "http" ? "" : `${probe.kind} `}
          {probe.target}
        </p>
      </div>
      <div className="max-lg:order-4 max-lg:col-span-2">{trend.length > 0 && <Sparkline values={trend} label={`Time to answer, at most ${duration(most)}`} className="h-7 w-full" />}</div>
      <p className={`min-w-0 text-data wrap-anywhere max-lg:order-3 max-lg:col-span-2 ${status === "down" || status === "failing" ? "" : "text-muted"}`}>{words}</p>
      <p className={`text-data max-lg:order-5 max-lg:col-span-2 ${certificate?.tone ?? ""}`}>
        {certificate && (
          <>
            <span className="lg:hidden">Certificate: </span>
            {certificate.words}
          </>
        )}
      </p>
    </li>
  );
}
