import { useId } from "react";
import { Button } from "../../components/Button";
import { Field, fieldClass } from "../../components/Field";
import { units, type ScheduleForm, type Unit } from "../../lib/schedule";

const kinds: { kind: ScheduleForm["kind"]; name: string; hint: string }[] = [
  { kind: "crontab", name: "Cron expression", hint: "The job runs at set times." },
  { kind: "interval", name: "Interval", hint: "The job runs again some time after it ran." },
  { kind: "none", name: "Not yet", hint: "Only keep its runs; nothing is ever late." },
];

const crons: [string, string][] = [
  ["*/5 * * * *", "every 5 min"],
  ["0 * * * *", "hourly"],
  ["30 2 * * *", "daily at 02:30"],
  ["0 6 * * 1", "Mondays at 06:00"],
];

const zones = typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("timeZone") : [];

/** The zone of this browser. */
export const here = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** When a job should run, how late and how long it may be, and how many bad runs it takes. */
export function ScheduleFields({ value, onChange }: { value: ScheduleForm; onChange: (value: ScheduleForm) => void }) {
  const unitID = useId();
  const zonesID = useId();
  const { kind, cron, timezone, every, unit } = value;
  const set = (change: Partial<ScheduleForm>) => onChange({ ...value, ...change });
  const runs = { type: "number", required: true, min: 1, max: 720, className: "max-w-40" } as const;
  return (
    <>
      <fieldset>
        <legend className="mb-1 text-data">Schedule</legend>
        <div className="grid gap-2 sm:grid-cols-3">
          {kinds.map((one) => (
            <label key={one.kind} className="flex cursor-pointer gap-2 rounded border border-line bg-s1 p-2.5 hover:border-edge has-[:checked]:border-accent has-[:checked]:bg-accent-soft has-[:focus-visible]:outline-2 has-[:focus-visible]:outline-accent">
              <input type="radio" name="kind" checked={kind === one.kind} onChange={() => set({ kind: one.kind })} className="mt-1 accent-(--accent)" />
              <span>
                {one.name}
                <span className="block text-data text-muted">{one.hint}</span>
              </span>
            </label>
          ))}
        </div>
      </fieldset>
      {kind === "crontab" && (
        <>
          <div>
            <Field label="Cron expression" required maxLength={200} value={cron} onChange={(event) => set({ cron: event.target.value })} className="[&_input]:font-mono" autoComplete="off" spellCheck={false} />
            <div className="mt-2 flex flex-wrap gap-1.5" role="group" aria-label="Common schedules">
              {crons.map(([text, words]) => (
                <Button key={text} onClick={() => set({ cron: text })} aria-pressed={cron === text}>
                  {words}
                </Button>
              ))}
            </div>
          </div>
          <Field label="Time zone" required list={zonesID} value={timezone} onChange={(event) => set({ timezone: event.target.value })} hint="In which the clock of the schedule runs." />
          <datalist id={zonesID}>
            <option value="UTC" />
            {zones.map((zone) => (
              <option key={zone} value={zone} />
            ))}
          </datalist>
        </>
      )}
      {kind === "interval" && (
        <div className="flex items-end gap-2">
          <Field label="Every" type="number" required min={1} step={1} value={every} onChange={(event) => set({ every: Number(event.target.value) })} className="w-28" />
          <div>
            <label htmlFor={unitID} className="sr-only">
              Unit
            </label>
            <select id={unitID} value={unit} onChange={(event) => set({ unit: event.target.value as Unit })} className={fieldClass}>
              {(Object.keys(units) as Unit[]).map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </div>
        </div>
      )}
      <div className="grid gap-4 sm:grid-cols-2">
        {kind !== "none" && (
          <Field label="Missed after (minutes)" type="number" step="any" required min={0} max={10_080} value={value.margin} onChange={(event) => set({ margin: Number(event.target.value) })} hint="How long it may stay away after its time. 0 for a tenth of the period, half an hour at most." />
        )}
        <Field label="Stuck after (minutes)" type="number" step="any" required min={0} max={43_200} value={value.runtime} onChange={(event) => set({ runtime: Number(event.target.value) })} hint="How long one run may take; 0 for any time." />
      </div>
      <fieldset>
        <legend className="mb-1 text-data">How many runs in a row it takes</legend>
        <div className="grid grid-cols-2 gap-4 sm:grid-cols-3">
          <Field {...runs} label="To be failed" value={value.failAfter} onChange={(event) => set({ failAfter: Number(event.target.value) })} />
          {kind !== "none" && <Field {...runs} label="To be missed" value={value.missAfter} onChange={(event) => set({ missAfter: Number(event.target.value) })} />}
          <Field {...runs} label="To be well again" value={value.recoverAfter} onChange={(event) => set({ recoverAfter: Number(event.target.value) })} />
        </div>
      </fieldset>
    </>
  );
}
