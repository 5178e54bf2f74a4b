import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useMemo } from "react";
import { AlertTabs } from "../../components/AlertTabs";
import { Button } from "../../components/Button";
import { Await, Empty, PageHead, Skeleton, When } from "../../components/Page";
import { SeverityBar, SeverityWord } from "../../components/Severity";
import { useRowKeys } from "../../components/useRowKeys";
import { incidentStates, severities, type IncidentState } from "../../lib/addresses";
import { incidentsQuery, openIncidentsQuery } from "../../lib/alerting";
import type { Incident, Severity } from "../../lib/api";
import { count, duration } from "../../lib/format";
import { byDay, incidentsSentence, isOpen, lasted } from "../../lib/incidents";
import { toggled } from "../../lib/logText";
import { useAnswer, useNow, useProject, useTitle } from "../../lib/page";
import { usePref } from "../../lib/prefs";
import { isLive } from "../../lib/range";
import { runRange } from "../../lib/runs";
import { useRange } from "../../lib/useRange";
import { useStay } from "../../lib/useStay";
import { useNames } from "./people";

const route = getRouteApi("/p/$project/incidents");

export function IncidentsPage() {
  const { project } = useProject();
  const { state, severity } = route.useSearch();
  const navigate = route.useNavigate();
  const { range, raw, words } = useRange();
  const zone = usePref("zone");
  const now = useNow();
  const looked = useMemo(() => runRange(raw, range), [raw, range]);
  const options = incidentsQuery(project, looked);
  const query = useStay(useQuery({ ...options, placeholderData: keepPreviousData }), String(project));
  // What is open is open however long ago it began.
  const open = useQuery(openIncidentsQuery(project)).data;
  const live = isLive(raw);
  const all = useMemo(() => {
    const found = query.data;
    if (!found || !live || !open) return found;
    return [...found, ...open.filter((one) => !found.some((other) => other.id === one.id))];
  }, [query.data, open, live]);
  const list = useRowKeys<HTMLDivElement>();
  const sentence = all && incidentsSentence(all, live ? "in the last 30 d" : words, zone, now);
  useTitle(sentence, "Incidents");
  useAnswer(sentence, `${project} ${all?.filter(isOpen).length}`);
  const shown = all?.filter((one) => (!state || one.state === state) && (!severity || severity.includes(one.severity)));

  return (
    <>
      <AlertTabs />
      <PageHead title={sentence ?? "Incidents"} under={live ? "Of the last 30 d, and all that are open." : undefined} busy={query.isPlaceholderData} />
      <Await query={query} queryKey={options.queryKey} skeleton={<Skeleton rows={8} />}>
        {() => (
          <div ref={list} className="pb-8">
            {all && all.length > 0 && (
              <Filter
                all={all}
                state={state}
                severity={severity}
                onState={(next) => void navigate({ search: (was) => ({ ...was, state: next }), replace: true })}
                onSeverity={(next) => void navigate({ search: (was) => ({ ...was, severity: next }), replace: true })}
              />
            )}
            {byDay(shown ?? [], zone, now).map((group) => (
              <section key={group.name} aria-label={group.name}>
                <h2 className="border-y border-line bg-s1 px-4 py-1 text-data text-muted">{group.name}</h2>
                <ul>
                  {group.incidents.map((one) => (
                    <Row key={one.id} incident={one} now={now} />
                  ))}
                </ul>
              </section>
            ))}
            {all?.length === 0 && <Empty>Nothing has needed a person. What heals by itself is a line in the digest.</Empty>}
            {all && all.length > 0 && shown?.length === 0 && <Empty>None of {count(all.length)} is like that.</Empty>}
          </div>
        )}
      </Await>
    </>
  );
}

function Filter({ all, state, severity, onState, onSeverity }: { all: Incident[]; state: IncidentState | undefined; severity: Severity[] | undefined; onState: (state: IncidentState | undefined) => void; onSeverity: (severity: Severity[] | undefined) => void }) {
  return (
    <div className="flex flex-wrap gap-x-6 gap-y-2 px-4 pb-3">
      <div role="group" aria-label="State" className="flex gap-1.5">
        <Button aria-pressed={!state} onClick={() => onState(undefined)}>
          all <span className="text-muted">{count(all.length)}</span>
        </Button>
        {incidentStates.map((one) => (
          <Button key={one} aria-pressed={state === one} onClick={() => onState(state === one ? undefined : one)}>
            {one} <span className="text-muted">{count(all.filter((i) => i.state === one).length)}</span>
          </Button>
        ))}
      </div>
      <div role="group" aria-label="Severity" className="flex gap-1.5">
        {severities.map((one) => (
          <Button key={one} aria-pressed={severity?.includes(one) ?? false} onClick={() => onSeverity(toggled(severity, one))}>
            {one} <span className="text-muted">{count(all.filter((i) => i.severity === one).length)}</span>
          </Button>
        ))}
      </div>
    </div>
  );
}

const columns = "gap-x-4 grid-cols-[minmax(0,1fr)_auto] md:grid-cols-[4rem_minmax(0,1fr)_10rem_6rem] lg:grid-cols-[4rem_minmax(0,1fr)_12rem_11rem_7rem]";

function Row({ incident, now }: { incident: Incident; now: number }) {
  const { param } = useProject();
  const open = isOpen(incident);
  return (
    <li className={`relative grid min-h-13 items-center border-b border-line py-1.5 pr-4 pl-4 hover:bg-s2 ${columns}`}>
      <SeverityBar severity={incident.severity} />
      <SeverityWord severity={incident.severity} className="max-md:order-2 max-md:justify-self-end" />
      <div className="min-w-0 max-md:order-1">
        <Link
          data-row
          to="/p/$project/incidents/$incident"
          params={{ project: param, incident: incident.id }}
          className={`line-clamp-2 after:absolute after:inset-0 after:content-[''] ${open ? "font-medium" : ""}`}
        >
          {incident.title}
        </Link>
        <Tags incident={incident} />
      </div>
      <p className="line-clamp-2 text-data max-lg:hidden">
        <Care incident={incident} />
      </p>
      <p className="text-data text-muted max-md:order-3">
        <span className="max-md:sr-only">since </span>
        <When at={incident.since} mode="clock" />
        <span className="lg:hidden">
          {" · "}
          <Care incident={incident} />
        </span>
      </p>
      <p className="text-right text-data max-md:order-4" title={open ? "How long it has lasted" : "How long it lasted"}>
        <span className="sr-only">{open ? "has lasted " : "lasted "}</span>
        {duration(Math.max(60_000, Math.floor(lasted(incident, now) / 60_000) * 60_000))}
      </p>
    </li>
  );
}

function Care({ incident }: { incident: Incident }) {
  const name = useNames();
  if (incident.state === "merged") return <span className="text-muted">part of another</span>;
  if (!isOpen(incident)) return <span className="text-muted">{incident.false_alarm ? "false alarm" : (incident.outcome ?? "resolved")}</span>;
  if (incident.acknowledged_by) return <span className="text-ok">{name(incident.acknowledged_by)} looks after it</span>;
  return <span className={incident.severity === "page" ? "text-bad" : "text-muted"}>not acknowledged</span>;
}

function Tags({ incident }: { incident: Incident }) {
  const tags: string[] = [];
  if (incident.flapping) tags.push("flapping");
  if ((incident.episode ?? 1) > 1) tags.push(`bad again, ${incident.episode} times`);
  if ((incident.open_instances ?? 0) > 1) tags.push(`${count(incident.open_instances!)} instances`);
  if (incident.late) tags.push("told late");
  const where = [incident.team, ...tags].filter(Boolean);
  return where.length === 0 ? null : <p className="truncate text-data text-muted">{where.join(" · ")}</p>;
}
