import { useQueries, useQuery, type UseQueryOptions } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { ChevronLeft, ChevronRight, Plus } from "lucide-react";
import { useMemo, type ReactNode } from "react";
import { AlertTabs } from "../../components/AlertTabs";
import { Button, buttonClass, IconButton } from "../../components/Button";
import { Await, Empty, PageHead, Skeleton } from "../../components/Page";
import { useRowKeys } from "../../components/useRowKeys";
import { oncallTabs, type OncallTab } from "../../lib/addresses";
import { peopleQuery, policiesQuery, receiverNamesQuery, schedulesQuery, shiftsQuery, teamsQuery } from "../../lib/alerting";
import { duty, gapWords, mondayOf, mondayText, oncallSentence, weeks } from "../../lib/calendar";
import { plural } from "../../lib/format";
import { digestWords, hoursWords, policyWords } from "../../lib/oncall";
import { useAnswer, useNow, useProject, useTitle } from "../../lib/page";
import { usePref } from "../../lib/prefs";
import { day, fromWall, wall } from "../../lib/time";
import { singular, type Kind } from "./kinds";
import { ScheduleCard } from "./ScheduleCard";

const route = getRouteApi("/p/$project/oncall");

const tabNames: Record<OncallTab, string> = { calendar: "Calendar", policies: "Policies", teams: "Teams", people: "People" };

export function OncallPage() {
  const { project } = useProject();
  const { tab = "calendar" } = route.useSearch();
  const zone = usePref("zone");
  const now = useNow(60_000);
  const options = schedulesQuery(project);
  const schedules = useQuery(options);
  const people = useQuery(peopleQuery(project));
  const name = (id: string) => people.data?.find((one) => one.person.id === id)?.person.name ?? id;
  // From the day's start, so that the answer can be kept for the day.
  const today = wall(now, zone);
  const from = fromWall(zone, today.year, today.month, today.day);
  const soon = useMemo(() => ({ from, to: from + 22 * day }), [from]);
  const shifts = useQueries({ queries: (schedules.data ?? []).map((one) => shiftsQuery(project, one.schedule.id, soon)) });
  const duties = (schedules.data ?? []).map(({ schedule }, i) => ({
    id: schedule.id,
    schedule: schedule.name,
    duty: duty(shifts[i]?.data?.shifts ?? [], now),
    gaps: gapWords(shifts[i]?.data?.gaps ?? [], zone, now),
  }));
  const ready = schedules.data !== undefined && shifts.every((one) => one.data !== undefined);
  const sentence = ready ? oncallSentence(duties, name) : undefined;
  useTitle(sentence, "On call");
  useAnswer(sentence, String(project));
  const kind: Kind = tab === "calendar" ? "schedules" : tab;
  return (
    <>
      <AlertTabs />
      <PageHead title={sentence ?? "On call"} actions={<NewLink kind={kind} />} />
      <Tabs tab={tab} />
      {tab === "calendar" && (
        <Await query={schedules} queryKey={options.queryKey} skeleton={<Skeleton rows={8} />}>
          {(all) => (all.length === 0 ? <FirstSchedule people={people.data?.length} /> : <Calendar ids={all.map((one) => one.schedule.id)} duties={duties} />)}
        </Await>
      )}
      {tab === "policies" && <Policies />}
      {tab === "teams" && <Teams />}
      {tab === "people" && <People />}
    </>
  );
}

function NewLink({ kind }: { kind: Kind }) {
  const { param } = useProject();
  return (
    <Link to="/p/$project/new-oncall/$kind" params={{ project: param, kind }} className={buttonClass("primary")}>
      <Plus size={14} aria-hidden /> New {singular[kind]}
    </Link>
  );
}

function Tabs({ tab }: { tab: OncallTab }) {
  const navigate = route.useNavigate();
  return (
    <div role="group" aria-label="Show" className="flex flex-wrap gap-1.5 px-4 pb-3">
      {oncallTabs.map((one) => (
        <Button key={one} aria-pressed={tab === one} onClick={() => void navigate({ search: (was) => ({ ...was, tab: one === "calendar" ? undefined : one }) })}>
          {tabNames[one]}
        </Button>
      ))}
    </div>
  );
}

function FirstSchedule({ people }: { people: number | undefined }) {
  return (
    <div className="px-4">
      <p className="max-w-150 text-muted">
        A schedule says whose turn it is, in the zone of those people. {people === 0 ? "First add the people who can be told." : "A policy then names the schedule, and an incident finds who is on call."}
      </p>
      <div className="mt-3 flex gap-2">
        {people === 0 && <NewLink kind="people" />}
        <NewLink kind="schedules" />
      </div>
    </div>
  );
}

type DutyOf = Parameters<typeof ScheduleCard>[0]["duty"];

function Calendar({ ids, duties }: { ids: string[]; duties: { id: string; duty: DutyOf; gaps: string[] }[] }) {
  const { week } = route.useSearch();
  const navigate = route.useNavigate();
  const zone = usePref("zone");
  const now = useNow(60_000);
  const list = useRowKeys<HTMLDivElement>();
  const start = mondayOf(week, zone, now);
  const shown = useMemo(() => weeks(start, 4, zone, start), [start, zone]);
  const go = (by: number) => void navigate({ search: (was) => ({ ...was, week: mondayText(start, by, zone) }), replace: true });
  return (
    <div ref={list} className="flex flex-col gap-4 px-4 pb-8">
      <div className="flex items-center gap-1 text-data">
        <IconButton label="4 weeks earlier" onClick={() => go(-4)}>
          <ChevronLeft size={16} aria-hidden />
        </IconButton>
        <span>
          {shown[0]!.days[0]!.label} – {shown[3]!.days[6]!.label}
        </span>
        <IconButton label="4 weeks later" onClick={() => go(4)}>
          <ChevronRight size={16} aria-hidden />
        </IconButton>
        {week && (
          <Button kind="ghost" onClick={() => void navigate({ search: (was) => ({ ...was, week: undefined }), replace: true })}>
            This week
          </Button>
        )}
        <span className="ml-auto text-muted">{zone === "utc" ? "UTC" : "your time"}</span>
      </div>
      {ids.map((id, i) => (
        <ScheduleCard key={id} id={id} weeks={shown} duty={duties[i]!.duty} gaps={duties[i]!.gaps} />
      ))}
    </div>
  );
}

interface ListProps<T> {
  kind: Exclude<OncallTab, "calendar">;
  ask: (project: number) => UseQueryOptions<T[], Error, T[], (string | number)[]>;
  empty: string;
  /** What one of them says; id is whose form it opens. */
  row: (one: T) => { id: string; name: string; more?: string; words: ReactNode };
}

/** All of a kind; each opens its form. */
function List<T>({ kind, ask, empty, row }: ListProps<T>) {
  const { project, param } = useProject();
  const options = ask(project);
  const query = useQuery(options);
  const list = useRowKeys<HTMLUListElement>();
  return (
    <Await query={query} queryKey={options.queryKey}>
      {(all) =>
        all.length === 0 ? (
          <Empty>{empty}</Empty>
        ) : (
          <ul ref={list} aria-label={tabNames[kind]} className="border-t border-line pb-8">
            {all.map(row).map(({ id, name, more, words }) => (
              <li key={id} className="relative border-b border-line px-4 py-2 hover:bg-s2">
                <div className="flex flex-wrap items-baseline justify-between gap-x-4">
                  <Link data-row to="/p/$project/oncall/$kind/$id" params={{ project: param, kind, id }} className="font-medium after:absolute after:inset-0 after:content-['']">
                    {name}
                  </Link>
                  {more && <span className="text-data text-muted">{more}</span>}
                </div>
                <p className="text-data text-muted">{words}</p>
              </li>
            ))}
          </ul>
        )
      }
    </Await>
  );
}

/** What an id of a kind is called; the id while that is not known. */
function useNames() {
  const { project } = useProject();
  const people = useQuery(peopleQuery(project)).data;
  const schedules = useQuery(schedulesQuery(project)).data;
  const receivers = useQuery(receiverNamesQuery(project)).data;
  const policies = useQuery(policiesQuery(project)).data;
  return {
    person: (id: string) => people?.find((one) => one.person.id === id)?.person.name ?? id,
    receiver: (id: string) => receivers?.find((one) => one.id === id)?.name ?? id,
    policy: (id: string) => policies?.find((one) => one.policy.id === id)?.policy.name ?? id,
    schedule: (id: string) => schedules?.find((one) => one.schedule.id === id)?.schedule.name ?? id,
  };
}

function Policies() {
  const names = useNames();
  return (
    <List
      kind="policies"
      ask={policiesQuery}
      empty="No policy yet: it says who is told first, how long they have to acknowledge, and who is next."
      row={({ policy }) => ({ id: policy.id, name: policy.name, words: policyWords(policy, (target) => names[target.kind](target.id)) })}
    />
  );
}

function Teams() {
  const names = useNames();
  return (
    <List
      kind="teams"
      ask={teamsQuery}
      empty="No team yet: it owns rules, has a digest and quiet hours."
      row={({ team }) => ({
        id: team.id,
        name: team.name,
        more: plural(team.members?.length ?? 0, "member"),
        words: [team.policy ? `pages by ${names.policy(team.policy)}` : "no policy", digestWords(team), team.quiet_hours?.length ? `quiet ${hoursWords(team.quiet_hours)}` : ""].filter(Boolean).join(" · "),
      })}
    />
  );
}

function People() {
  const names = useNames();
  return (
    <List
      kind="people"
      ask={peopleQuery}
      empty="Nobody yet: add those who can be told, and by what."
      row={({ person }) => ({
        id: person.id,
        name: person.name,
        more: person.email,
        words: (
          <>
            {person.contacts?.length ? `told by ${person.contacts.map((one) => names.receiver(one.receiver)).join(", then ")}` : <span className="text-warn">no way to be told</span>}
            {` · ${person.zone || "UTC"}`}
            {person.quiet_hours?.length ? ` · quiet ${hoursWords(person.quiet_hours)}` : ""}
          </>
        ),
      })}
    />
  );
}
