import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { ArrowLeft, Braces, ChevronLeft, ChevronRight } from "lucide-react";
import { Button, CopyButton } from "../../components/Button";
import { LevelWord, toLevel } from "../../components/Level";
import { Await, Empty, Panel, Skeleton, When } from "../../components/Page";
import { Sparkline } from "../../components/Sparkline";
import { api, ApiError, data, type Event, type EventSummary, type Issue, type IssueDetail } from "../../lib/api";
import { count, duration, percent, plural } from "../../lib/format";
import { useKeys } from "../../lib/keys";
import { useProject, useTitle } from "../../lib/page";
import { edges } from "../../lib/query";
import { useRange } from "../../lib/useRange";
import { useStay } from "../../lib/useStay";
import { Breadcrumbs } from "./Breadcrumbs";
import { Fields } from "./Fields";
import { IssueActions } from "./IssueActions";
import { Stack } from "./Stack";

const route = getRouteApi("/p/$project/errors/$issue");

export function IssuePage() {
  const { project } = useProject();
  const { issue: id } = route.useParams();
  const { range, setRaw } = useRange();
  const queryKey = ["issue", project, id, range.from, range.to];
  const query = useStay(
    useQuery({
      queryKey,
      queryFn: ({ signal }) => data(api.GET("/projects/{project}/issues/{issue}", { params: { path: { project, issue: id }, query: edges(range) }, signal })),
      placeholderData: (before, last) => (last?.queryKey[2] === id ? before : undefined),
    }),
    `${project} ${id}`,
  );
  useTitle(query.data?.issue.title, "Errors");
  return (
    <div className="pb-8">
      <Link from="/p/$project/errors/$issue" to="/p/$project/errors" className="inline-flex min-h-9 items-center gap-1.5 px-4 pt-1 text-data text-muted hover:text-ink">
        <ArrowLeft size={14} aria-hidden /> All issues
      </Link>
      {!query.data && <h1 className="sr-only">Issue</h1>}
      <Await query={query} queryKey={queryKey} skeleton={<Skeleton rows={14} />}>
        {(detail) => <Detail key={id} detail={detail} />}
      </Await>
      {query.error instanceof ApiError && query.error.code === "not_found" && (
        <p className="px-4">
          <Button onClick={() => setRaw({ from: "now-30d", to: "now" })}>Look in the last 30 days</Button>
        </p>
      )}
    </div>
  );
}

function Detail({ detail }: { detail: IssueDetail }) {
  const { issue, events } = detail;
  const { project } = useProject();
  const { range, setRaw } = useRange();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const at = Math.max(0, events.findIndex((one) => one.id === search.event));
  // An event that a link names may be older than the newest hundred.
  const id = search.event ?? events[0]?.id;
  const queryKey = ["event", project, id, range.from, range.to];
  const query = useQuery({
    queryKey,
    queryFn: ({ signal }) => data(api.GET("/projects/{project}/events/{event}", { params: { path: { project, event: id! }, query: edges(range) }, signal })),
    placeholderData: keepPreviousData,
    enabled: id !== undefined,
  });
  const show = (next: EventSummary | undefined) => {
    if (!next) return false;
    void navigate({ search: (was) => ({ ...was, event: next.id }), replace: true });
    return true;
  };
  useKeys({
    j: () => show(events[at + 1]),
    k: () => show(events[at - 1]),
    Escape: () => void navigate({ to: "/p/$project/errors" }),
  });

  return (
    <>
      <Head issue={issue} step={detail.step_seconds} />
      <IssueActions issue={issue} newest={detail.newest_release} />
      {id === undefined ? (
        <Empty>
          No event of this issue is in the range. <Button onClick={() => setRaw(around(issue))}>Show the newest</Button>
        </Empty>
      ) : (
        <div className="grid items-start gap-4 px-4 xl:grid-cols-[minmax(0,1fr)_20rem]">
          <div className="min-w-0">
            <EventBar event={query.data} events={events} at={at} known={search.event === undefined || events[at]?.id === search.event} raw={search.raw === "1"} onShow={show} onRaw={() => void navigate({ search: (was) => ({ ...was, raw: was.raw ? undefined : "1" }), replace: true })} />
            <Await query={query} queryKey={queryKey} skeleton={<Skeleton rows={10} />}>
              {(event) => (search.raw === "1" ? <Raw event={event} /> : <EventView event={event} />)}
            </Await>
          </div>
          <div className="flex min-w-0 flex-col gap-4">
            <Tags tags={detail.tags} />
            <Events events={events} total={issue.events} current={id} onShow={show} />
          </div>
        </div>
      )}
    </>
  );
}

function around(issue: Issue): { from: string; to: string } {
  const last = Date.parse(issue.last_seen);
  return { from: new Date(last - 12 * 3_600_000).toISOString(), to: new Date(last + 1000).toISOString() };
}

function Head({ issue, step }: { issue: Issue; step: number }) {
  const { words } = useRange();
  return (
    <div className="flex flex-wrap items-end justify-between gap-x-6 gap-y-2 px-4 pb-3">
      <div className="min-w-0 flex-1 basis-96">
        <h1 className="text-lead font-medium break-words">
          {issue.type || issue.title}
          {issue.type && issue.value && <span className="font-normal text-muted"> {issue.value}</span>}
        </h1>
        <p className="flex flex-wrap gap-x-2 text-data text-muted">
          <LevelWord level={toLevel(issue.level)} />
          {issue.culprit && <span className="font-mono break-all">{issue.culprit}</span>}
        </p>
        <p className="mt-1 flex flex-wrap gap-x-4 gap-y-0.5">
          <span title={`${count(issue.total_events)} ever`}>
            <b className="font-medium">{count(issue.events)}</b> {issue.events === 1 ? "event" : "events"} {words}
          </span>
          {issue.users > 0 && (
            <span>
              <b className="font-medium">{count(issue.users)}</b> {issue.users === 1 ? "user" : "users"}
            </span>
          )}
          <span>
            <span className="text-muted">last</span> <When at={issue.last_seen} />
            {issue.last_release && <span className="text-muted"> in {issue.last_release}</span>}
          </span>
          <span>
            <span className="text-muted">first</span> <When at={issue.first_seen} />
            {issue.first_release && <span className="text-muted"> in {issue.first_release}</span>}
          </span>
        </p>
      </div>
      <Sparkline values={issue.trend} tone="text-bar-bad" className="h-12 w-72 max-w-full" label={`Events over time; each bar is ${duration(step * 1000)}, the tallest is ${count(Math.max(0, ...issue.trend))}`} />
    </div>
  );
}

function EventBar({ event, events, at, known, raw, onShow, onRaw }: { event: Event | undefined; events: EventSummary[]; at: number; known: boolean; raw: boolean; onShow: (event: EventSummary | undefined) => void; onRaw: () => void }) {
  return (
    <div className="mb-3 flex flex-wrap items-center gap-x-4 gap-y-1 border-y border-line py-1 text-data">
      <div className="flex items-center gap-1">
        <Button kind="ghost" tight disabled={!known || at === 0} onClick={() => onShow(events[at - 1])} title="Newer (k)">
          <ChevronLeft size={14} aria-hidden /> Newer
        </Button>
        <Button kind="ghost" tight disabled={!known || at >= events.length - 1} onClick={() => onShow(events[at + 1])} title="Older (j)">
          Older <ChevronRight size={14} aria-hidden />
        </Button>
      </div>
      {event && (
        <>
          <h2 className="font-normal">
            Event <When at={event.time} precision="second" />
          </h2>
          {event.environment && <span className="text-muted">{event.environment}</span>}
          {event.release && <span className="truncate text-muted">{event.release}</span>}
          <span className="flex items-center gap-1 font-mono text-muted" title={event.id}>
            {event.id.slice(0, 8)}
            <CopyButton bare label="Copy the event id" text={event.id} />
          </span>
        </>
      )}
      <Button kind="ghost" aria-pressed={raw} onClick={onRaw} className="ml-auto">
        <Braces size={14} aria-hidden /> Raw JSON
      </Button>
    </div>
  );
}

function Raw({ event }: { event: Event }) {
  const text = JSON.stringify(event.raw, null, 2);
  return (
    <Panel title="The event as it was kept" more={<CopyButton label="Copy" text={text} />}>
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <pre tabIndex={0} role="region" aria-label="Raw JSON" className="max-h-[75vh] overflow-auto p-3 font-mono text-data">
        {text}
      </pre>
    </Panel>
  );
}

function EventView({ event }: { event: Event }) {
  return (
    <div className="flex flex-col gap-4">
      {event.message && event.exceptions.length === 0 && (
        <Panel title="Message">
          <p className="p-3 font-mono text-data break-words whitespace-pre-wrap">{event.message}</p>
        </Panel>
      )}
      {event.exceptions.map((one, i) => (
        <Stack key={i} exception={one} cause={i > 0} />
      ))}
      {event.breadcrumbs.length > 0 && <Breadcrumbs breadcrumbs={event.breadcrumbs} event={event} />}
      <Fields name="User" of={event.user} />
      <Fields name="Request" of={event.request} />
      {Object.entries(event.contexts ?? {}).map(([name, value]) => (
        <Fields key={name} name={`Context: ${name}`} of={asObject(value)} />
      ))}
      <Fields name="Extra" of={event.extra} />
      <Fields
        name="Where it came from"
        of={{
          transaction: event.transaction || undefined,
          server: event.server_name || undefined,
          platform: event.platform || undefined,
          sdk: event.sdk,
          "trace id": event.trace_id,
          "received at": event.received_at,
        }}
      />
    </div>
  );
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : { value };
}

function Tags({ tags }: { tags: IssueDetail["tags"] }) {
  if (tags.length === 0) return null;
  return (
    <Panel title="Tags">
      <div className="flex flex-col gap-3 p-3">
        {/* What is the same for all tells nothing, so it comes last. */}
        {tags.toSorted((a, b) => Number(b.values.length > 1) - Number(a.values.length > 1)).map((tag) => {
          const total = tag.values.reduce((n, one) => n + one.count, 0);
          return (
            <section key={tag.key} aria-label={tag.key}>
              <h3 className="text-tiny text-muted">{tag.key}</h3>
              <ul>
                {tag.values.slice(0, 5).map((one) => (
                  <li key={one.value} className="relative flex justify-between gap-2 py-0.5 pl-1.5 text-data" title={`${one.value}: ${count(one.count)}`}>
                    <span aria-hidden className="absolute inset-y-0.5 left-0 rounded-sm bg-s3" style={{ width: `${(one.count / Math.max(1, total)) * 100}%` }} />
                    <span className="relative min-w-0 truncate">{one.value || "(none)"}</span>
                    <span className="relative pr-1 text-muted">{percent(one.count, total)}</span>
                  </li>
                ))}
              </ul>
              {tag.values.length > 5 && <p className="pl-1.5 text-tiny text-muted">and {plural(tag.values.length - 5, "value")} more</p>}
            </section>
          );
        })}
      </div>
    </Panel>
  );
}

function Events({ events, total, current, onShow }: { events: EventSummary[]; total: number; current: string; onShow: (event: EventSummary) => void }) {
  return (
    <Panel title={total > events.length ? `The newest ${events.length} of ${count(total)} events` : plural(events.length, "event")}>
      <ul className="max-h-96 overflow-auto">
        {events.map((one) => (
          <li key={one.id}>
            <button
              type="button"
              aria-current={one.id === current || undefined}
              onClick={() => onShow(one)}
              className="block w-full border-b border-l-2 border-line border-l-transparent py-1 pr-3 pl-2.5 text-left text-data hover:bg-s2 aria-current:border-l-accent aria-current:bg-accent-soft"
            >
              <span className="flex justify-between gap-2">
                <When at={one.time} mode="clock" precision="second" />
                <span className="truncate text-muted">{one.release}</span>
              </span>
              <span className="block truncate text-muted">{[one.environment, one.user, one.value].filter(Boolean).join(" · ")}</span>
            </button>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
