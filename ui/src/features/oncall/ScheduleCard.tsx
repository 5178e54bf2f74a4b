import { keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Pencil, TriangleAlert, UserRoundPlus, X } from "lucide-react";
import { useState, type CSSProperties } from "react";
import { Button, buttonClass, IconButton } from "../../components/Button";
import { fieldClass } from "../../components/Field";
import { Await, ErrorNote, Skeleton } from "../../components/Page";
import { palette } from "../../components/series";
import { peopleQuery, schedulesQuery, shiftsQuery } from "../../lib/alerting";
import { api, data, type OncallSchedule, type OncallShift } from "../../lib/api";
import { bars, dutyWords, joined, moment, place, type Bar, type CalendarWeek, type Duty } from "../../lib/calendar";
import { useKeys } from "../../lib/keys";
import { announce, useNow, useProject } from "../../lib/page";
import { usePref } from "../../lib/prefs";
import { queryClient, sessionQuery } from "../../lib/query";
import { day, fromInputValue, hour, inputValue, type Zone } from "../../lib/time";

/** One schedule: who is on call, where nobody will be, and four weeks as bars. */
export function ScheduleCard({ id, weeks, duty, gaps }: { id: string; weeks: CalendarWeek[]; duty: Duty; gaps: readonly string[] }) {
  const { project, param } = useProject();
  const zone = usePref("zone");
  const now = useNow(60_000);
  const stored = useQuery(schedulesQuery(project)).data?.find((one) => one.schedule.id === id);
  const people = useQuery(peopleQuery(project)).data ?? [];
  const name = (person: string) => people.find((one) => one.person.id === person)?.person.name ?? person;
  const options = shiftsQuery(project, id, { from: weeks[0]!.from, to: weeks.at(-1)!.to });
  const query = useQuery({ ...options, placeholderData: keepPreviousData });
  const [covering, setCovering] = useState<{ from: number; to: number; instead: string } | undefined>(undefined);
  if (!stored) return null;
  const { schedule } = stored;
  const cover = (shift: Pick<OncallShift, "from" | "to" | "person">) => {
    const to = Date.parse(shift.to);
    if (to > now) setCovering({ from: Math.max(Date.parse(shift.from), Math.ceil(now / 60_000) * 60_000), to, instead: shift.person });
  };
  const coming = (schedule.overrides ?? []).filter((one) => Date.parse(one.to) > now);
  return (
    <section aria-label={schedule.name} className="rounded border border-line bg-s1">
      <div className="flex flex-wrap items-start justify-between gap-x-4 gap-y-2 px-3 py-2.5">
        <div className="min-w-0 flex-1 basis-60">
          <h2 className="font-medium">{schedule.name}</h2>
          <p className={duty.now ? "" : "text-bad"}>{upper(dutyWords(duty, name, zone, now))}</p>
          {gaps.map((one) => (
            <p key={one} className="flex items-start gap-1.5 text-data text-warn">
              <TriangleAlert size={14} aria-hidden className="mt-0.5 shrink-0" /> {one}
            </p>
          ))}
        </div>
        <div className="flex gap-2">
          <Button onClick={() => setCovering(covering ? undefined : { from: Math.ceil(now / hour) * hour, to: Math.ceil(now / hour) * hour + day, instead: "" })} aria-expanded={covering !== undefined}>
            <UserRoundPlus size={14} aria-hidden /> Override
          </Button>
          <Link to="/p/$project/oncall/$kind/$id" params={{ project: param, kind: "schedules", id }} className={buttonClass()}>
            <Pencil size={14} aria-hidden /> Edit
          </Link>
        </div>
      </div>
      {covering && <OverrideForm key={`${covering.from} ${covering.to}`} id={id} range={covering} name={name} zone={zone} onClose={() => setCovering(undefined)} />}
      <Await query={query} queryKey={options.queryKey} skeleton={<Skeleton rows={4} />}>
        {({ shifts, gaps: holes }) => (
          <div className="border-t border-line">
            {weeks.map((week) => (
              <Week
                key={week.from}
                week={week}
                all={[...bars(joined(shifts, true), week), ...bars(holes.map((one) => ({ ...one, person: "" })), week)].toSorted((a, b) => a.left - b.left)}
                now={now}
                zone={zone}
                name={name}
                color={(person) => palette[Math.max(0, people.findIndex((one) => one.person.id === person)) % palette.length]!}
                onCover={cover}
              />
            ))}
          </div>
        )}
      </Await>
      {coming.length > 0 && (
        <ul aria-label="Overrides" className="border-t border-line px-3 py-1.5">
          {coming.map((one) => (
            <OverrideLine key={`${one.person} ${one.from} ${one.to}`} id={id} override={one} name={name} zone={zone} now={now} />
          ))}
        </ul>
      )}
    </section>
  );
}

function upper(text: string): string {
  return `${text[0]!.toUpperCase()}${text.slice(1)}.`;
}

interface WeekProps {
  week: CalendarWeek;
  all: Bar[];
  now: number;
  zone: Zone;
  name: (person: string) => string;
  color: (person: string) => string;
  onCover: (shift: OncallShift) => void;
}

function Week({ week, all, now, zone, name, color, onCover }: WeekProps) {
  return (
    <div className="relative border-b border-line last:border-b-0">
      <div aria-hidden className="grid grid-cols-7 text-tiny text-muted">
        {week.days.map((one) => {
          const [weekday, date, month] = one.label.split(" ");
          const today = one.from <= now && now < one.to;
          return (
            <span key={one.from} className={`truncate border-l border-line px-1 pt-0.5 first:border-l-0 ${today ? "font-medium text-accent" : ""}`}>
              <span className="max-sm:hidden">{weekday} </span>
              {date} <span className="max-sm:hidden">{month}</span>
            </span>
          );
        })}
      </div>
      <ul className="relative mt-0.5 mb-1.5 h-8">
        {all.map(({ left, width, shift, before, after }) => {
          const words = `${shift.person ? name(shift.person) : "Nobody"}, ${moment(Date.parse(shift.from), zone, now)} to ${moment(Date.parse(shift.to), zone, now)}${shift.override ? ", an override" : ""}`;
          const style: CSSProperties = { left: `${left * 100}%`, width: `calc(${width * 100}% - 2px)` };
          const over = Date.parse(shift.to) <= now;
          return (
            <li key={`${shift.from} ${shift.person}`} className="absolute inset-y-0" style={style}>
              <button
                type="button"
                data-row
                title={words}
                aria-label={over ? words : `${words}: put somebody else`}
                onClick={() => onCover(shift)}
                style={shift.person ? { borderColor: `var(${color(shift.person)})` } : {}}
                className={`flex size-full min-w-0 items-center overflow-hidden border-t-[3px] px-1.5 text-left max-sm:px-0.5 text-data ${
                  shift.person ? `bg-s2 hover:bg-s3 ${shift.override ? "border-dashed" : ""}` : "border-dashed border-bad text-bad hover:bg-s2"
                } ${before ? "" : "rounded-l-sm"} ${after ? "" : "rounded-r-sm"} ${over ? "text-muted" : ""}`}
              >
                <span className={`truncate ${shift.person || width > 0.2 ? "" : "max-sm:hidden"}`}>{shift.person ? (width < 0.15 ? name(shift.person).split(" ", 1)[0] : name(shift.person)) : "nobody"}</span>
              </button>
            </li>
          );
        })}
        {week.from <= now && now < week.to && <li aria-hidden className="pointer-events-none absolute -inset-y-1 w-[2px] bg-accent" style={{ left: `${place(now, week) * 100}%` }} />}
      </ul>
    </div>
  );
}

/** A second press, on a name, makes the override. */
function OverrideForm({ id, range, name, zone, onClose }: { id: string; range: { from: number; to: number; instead: string }; name: (person: string) => string; zone: Zone; onClose: () => void }) {
  const { project } = useProject();
  const people = useQuery(peopleQuery(project)).data ?? [];
  const { data: session } = useQuery(sessionQuery);
  const [from, setFrom] = useState(inputValue(range.from, zone).slice(0, 16));
  const [to, setTo] = useState(inputValue(range.to, zone).slice(0, 16));
  useKeys({ Escape: onClose });
  const a = fromInputValue(from, zone);
  const b = fromInputValue(to, zone);
  const wrong = a === undefined || b === undefined || a >= b;
  const save = useChange(id);
  const choose = (person: string) =>
    save.mutate(
      (overrides) => [...overrides, { person, from: new Date(a!).toISOString(), to: new Date(b!).toISOString(), by: session?.user?.email ?? "" }],
      {
        onSuccess: () => {
          announce(`${name(person)} is on call then`);
          onClose();
        },
      },
    );
  return (
    <div role="group" aria-label="New override" className="border-t border-line bg-bg px-3 py-2.5">
      <p className="text-data text-muted">{range.instead ? `Instead of ${name(range.instead)}:` : "Somebody else for a time:"}</p>
      <div className="mt-1.5 flex flex-wrap items-end gap-2">
        <label className="text-data text-muted">
          from
          <input type="datetime-local" value={from} onChange={(event) => setFrom(event.target.value)} className={`mt-0.5 ${fieldClass}`} />
        </label>
        <label className="text-data text-muted">
          to
          <input type="datetime-local" value={to} aria-invalid={wrong || undefined} onChange={(event) => setTo(event.target.value)} className={`mt-0.5 ${fieldClass}`} />
        </label>
        {people
          .filter((one) => one.person.id !== range.instead)
          .map(({ person }) => (
            <Button key={person.id} className="min-h-9" disabled={wrong || save.isPending} onClick={() => choose(person.id)}>
              {person.name}
            </Button>
          ))}
        <Button kind="ghost" className="min-h-9" onClick={onClose}>
          Cancel
        </Button>
      </div>
      {wrong && <p className="mt-1 text-data text-bad">The end is not after the start.</p>}
      {people.length === 0 && <p className="mt-1 text-data text-muted">Add people first.</p>}
      {save.error && <ErrorNote className="mt-2" error={save.error} />}
    </div>
  );
}

type Override = NonNullable<OncallSchedule["overrides"]>[number];

/** Changes the overrides of a schedule as it stands; those that ended long ago go, since there may be only so many. */
function useChange(id: string) {
  const { project } = useProject();
  return useMutation({
    mutationFn: async (change: (overrides: Override[]) => Override[]) => {
      const { meta, schedule } = (await queryClient.fetchQuery({ ...schedulesQuery(project), staleTime: 0 })).find((one) => one.schedule.id === id)!;
      const kept = (schedule.overrides ?? []).filter((one) => Date.parse(one.to) > Date.now() - 90 * day);
      return data(api.PUT("/projects/{project}/schedules/{id}", { params: { path: { project, id }, query: { version: meta.version } }, body: { ...schedule, overrides: change(kept) } }));
    },
    onSuccess: () => Promise.all([queryClient.invalidateQueries({ queryKey: ["schedules", project] }), queryClient.invalidateQueries({ queryKey: ["shifts", project, id] })]),
  });
}

function OverrideLine({ id, override, name, zone, now }: { id: string; override: Override; name: (person: string) => string; zone: Zone; now: number }) {
  const remove = useChange(id);
  return (
    <li className="flex items-center gap-2 text-data">
      <span className="min-w-0 flex-1">
        {name(override.person)} instead, {moment(Date.parse(override.from), zone, now)} to {moment(Date.parse(override.to), zone, now)}
        {override.by && <span className="text-muted"> · by {override.by}</span>}
        {remove.error && <span className="block text-bad">{remove.error.message}</span>}
      </span>
      <IconButton
        label={`Remove the override of ${name(override.person)}`}
        disabled={remove.isPending}
        onClick={() => remove.mutate((all) => all.filter((one) => one.person !== override.person || one.from !== override.from || one.to !== override.to))}
      >
        <X size={14} aria-hidden />
      </IconButton>
    </li>
  );
}
