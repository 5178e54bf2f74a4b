import { ArrowUp, Plus, X } from "lucide-react";
import { useId, type ReactNode } from "react";
import { Button, IconButton } from "../../components/Button";
import { Field, fieldClass } from "../../components/Field";
import type { Hours } from "../../lib/api";
import { hoursPattern } from "../../lib/oncall";

export interface Choice {
  id: string;
  name: string;
}

const zones = typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("timeZone") : [];

/** The zone of this browser. */
export const here = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

export function ZoneField({ value, onChange, hint }: { value: string; onChange: (zone: string) => void; hint?: string }) {
  const id = useId();
  return (
    <div>
      <Field label="Time zone" required list={id} value={value} onChange={(event) => onChange(event.target.value)} hint={hint} />
      <datalist id={id}>
        <option value="UTC" />
        {zones.map((zone) => (
          <option key={zone} value={zone} />
        ))}
      </datalist>
    </div>
  );
}

export function SelectField({ label, value, choices, onChange, none, hint, className = "" }: { label: string; value: string; choices: readonly Choice[]; onChange: (id: string) => void; none?: string; hint?: ReactNode; className?: string }) {
  const id = useId();
  return (
    <div className={className}>
      <label htmlFor={id} className="mb-1 block text-data">
        {label}
      </label>
      <select id={id} value={value} onChange={(event) => onChange(event.target.value)} className={fieldClass}>
        {none !== undefined && <option value="">{none}</option>}
        {value !== "" && !choices.some((one) => one.id === value) && <option value={value}>{value}</option>}
        {choices.map((one) => (
          <option key={one.id} value={one.id}>
            {one.name}
          </option>
        ))}
      </select>
      {hint && <p className="mt-1 text-data text-muted">{hint}</p>}
    </div>
  );
}

/** Things chosen one after the other, in an order that means something. */
export function PickList({ label, hint, value, choices, onChange, ordered = false }: { label: string; hint?: ReactNode; value: readonly string[]; choices: readonly Choice[]; onChange: (value: string[]) => void; ordered?: boolean }) {
  const name = (id: string) => choices.find((one) => one.id === id)?.name ?? id;
  const rest = choices.filter((one) => !value.includes(one.id));
  const up = (i: number) => onChange(value.map((one, j) => (j === i - 1 ? value[i]! : j === i ? value[i - 1]! : one)));
  return (
    <fieldset>
      <legend className="mb-1 text-data">{label}</legend>
      <div className="flex flex-wrap items-center gap-1.5">
        {value.map((id, i) => (
          <span key={id} className="flex min-h-9 items-center rounded border border-line bg-s2 pl-2.5 text-data">
            {ordered && <span className="mr-1.5 text-muted">{i + 1}.</span>}
            {name(id)}
            {ordered && i > 0 && (
              <IconButton label={`${name(id)} earlier`} onClick={() => up(i)}>
                <ArrowUp size={14} aria-hidden />
              </IconButton>
            )}
            <IconButton label={`Remove ${name(id)}`} onClick={() => onChange(value.filter((one) => one !== id))}>
              <X size={14} aria-hidden />
            </IconButton>
          </span>
        ))}
        {rest.length > 0 && (
          <select aria-label={`Add to: ${label}`} value="" onChange={(event) => onChange([...value, event.target.value])} className={`${fieldClass} w-auto! max-w-56`}>
            <option value="">Add…</option>
            {rest.map((one) => (
              <option key={one.id} value={one.id}>
                {one.name}
              </option>
            ))}
          </select>
        )}
        {choices.length === 0 && value.length === 0 && <span className="text-data text-muted">There is none yet.</span>}
      </div>
      {hint && <p className="mt-1 text-data text-muted">{hint}</p>}
    </fieldset>
  );
}

/** Times of the week. */
export function HoursField({ label, hint, value, onChange }: { label: string; hint?: ReactNode; value: readonly Hours[]; onChange: (value: Hours[]) => void }) {
  const list = useId();
  const set = (i: number, change: Partial<Hours>) => onChange(value.map((one, j) => (j === i ? { ...one, ...change } : one)));
  const time = { required: true, pattern: hoursPattern, title: "A time such as 08:00", maxLength: 5, inputMode: "numeric" as const, className: `${fieldClass} w-20! font-mono` };
  return (
    <fieldset>
      <legend className="mb-1 text-data">{label}</legend>
      <datalist id={list}>
        {["Mon-Fri", "Sat,Sun"].map((one) => (
          <option key={one} value={one} />
        ))}
      </datalist>
      {value.map((one, i) => (
        <div key={i} className="mb-1.5 flex flex-wrap items-center gap-2 text-data text-muted">
          <input aria-label="Days" list={list} value={one.days} placeholder="every day" maxLength={40} onChange={(event) => set(i, { days: event.target.value })} className={`${fieldClass} w-36!`} />
          <span>from</span>
          <input aria-label="From" {...time} value={one.from} onChange={(event) => set(i, { from: event.target.value })} />
          <span>to</span>
          <input aria-label="To" {...time} value={one.to} onChange={(event) => set(i, { to: event.target.value })} />
          <IconButton label="Remove these hours" onClick={() => onChange(value.filter((_, j) => j !== i))}>
            <X size={14} aria-hidden />
          </IconButton>
        </div>
      ))}
      <Button onClick={() => onChange([...value, { days: "", from: "22:00", to: "07:00" }])}>
        <Plus size={14} aria-hidden /> Add hours
      </Button>
      {hint && <p className="mt-1 text-data text-muted">{hint}</p>}
    </fieldset>
  );
}
