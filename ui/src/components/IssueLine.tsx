import { Link } from "@tanstack/react-router";
import type { Issue } from "../lib/api";
import { compact, count, plural } from "../lib/format";
import { useProject } from "../lib/page";
import { IssueStatus } from "./IssueStatus";
import { LevelBar, toLevel } from "./Level";
import { When } from "./Page";
import { Sparkline } from "./Sparkline";

/** An issue as a row that opens it. from is the start of the range: what was first seen after it is new. */
export function IssueLine({ issue, from, wide = false }: { issue: Issue; from: number; wide?: boolean }) {
  const { param } = useProject();
  const fresh = Date.parse(issue.first_seen) >= from;
  return (
    <Link
      data-row
      to="/p/$project/errors/$issue"
      params={{ project: param, issue: issue.id }}
      className={`relative grid min-h-13 items-center gap-x-4 gap-y-1 px-3 py-1.5 pl-4 hover:bg-s2 focus-visible:bg-s2 ${
        wide ? "grid-cols-[minmax(0,1fr)_auto] md:grid-cols-[minmax(0,1fr)_7rem_4.5rem_4rem] lg:grid-cols-[minmax(0,1fr)_9rem_5rem_4.5rem_7rem_7rem_8rem]" : "grid-cols-[minmax(0,1fr)_auto] sm:grid-cols-[minmax(0,1fr)_6rem_4.5rem_3.5rem]"
      }`}
    >
      <LevelBar level={toLevel(issue.level)} />
      <span className="min-w-0">
        <span className="flex items-baseline gap-2">
          <span className="min-w-0 truncate">
            <span className="font-medium">{issue.type || issue.title}</span>
            {issue.type && issue.value && <span className="text-muted"> {issue.value}</span>}
          </span>
          {fresh && <span className="shrink-0 rounded-sm border border-accent px-1 text-tiny leading-4 text-accent">new</span>}
          <IssueStatus status={issue.status} />
        </span>
        <span className="block truncate font-mono text-data text-muted">{issue.culprit || issue.platform}</span>
      </span>
      <Sparkline values={issue.trend} label={`${plural(issue.events, "event")} over time`} className="h-6 w-full max-sm:hidden" />
      <span className="text-right max-sm:row-start-1 max-sm:col-start-2" title={`${count(issue.events)} events in the range, ${count(issue.total_events)} ever`}>
        {compact(issue.events)}
        <span className="block text-tiny text-muted"><span className={wide ? "lg:sr-only" : ""}>{issue.events === 1 ? "event" : "events"}</span></span>
      </span>
      <span className="text-right max-sm:hidden" title={`${count(issue.users)} users`}>
        {compact(issue.users)}
        <span className="block text-tiny text-muted"><span className={wide ? "lg:sr-only" : ""}>{issue.users === 1 ? "user" : "users"}</span></span>
      </span>
      {wide && (
        <>
          <When at={issue.last_seen} mode="ago" className="text-data max-lg:hidden" />
          <When at={issue.first_seen} mode="ago" className="text-data text-muted max-lg:hidden" />
          <span className="truncate text-data text-muted max-lg:hidden" title={issue.last_release}>
            {issue.last_release}
          </span>
        </>
      )}
    </Link>
  );
}
