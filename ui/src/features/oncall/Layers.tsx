import { ArrowDown, ArrowUp, Plus, X } from "lucide-react";
import { Button, IconButton } from "../../components/Button";
import { Field } from "../../components/Field";
import type { OncallLayer } from "../../lib/api";
import { inputValue } from "../../lib/time";
import { HoursField, PickList, SelectField, ZoneField, type Choice } from "./fields";

export function newLayer(zone: string): OncallLayer {
  return { name: "Main", zone, start: inputValue(Date.now(), "local").slice(0, 10), every: "weekly", interval: 1, handover: "09:00", weekday: "Mon", people: [] };
}

const everies: (Choice & { id: OncallLayer["every"] })[] = [
  { id: "daily", name: "days" },
  { id: "weekly", name: "weeks" },
  { id: "monthly", name: "months" },
];
const weekdays: Choice[] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].map((id) => ({ id, name: id }));

/** The layers of a schedule: of two that both have somebody, the later wins. */
export function Layers({ value, people, onChange }: { value: readonly OncallLayer[]; people: Choice[]; onChange: (value: OncallLayer[]) => void }) {
  const set = (i: number, change: Partial<OncallLayer>) => onChange(value.map((one, j) => (j === i ? { ...one, ...change } : one)));
  const move = (i: number, by: 1 | -1) => {
    const next = [...value];
    [next[i], next[i + by]] = [next[i + by]!, next[i]!];
    onChange(next);
  };
  return (
    <div className="flex flex-col gap-4">
      {value.map((layer, i) => (
        <section key={i} aria-label={`Layer ${layer.name || i + 1}`} className="flex flex-col gap-4 rounded border border-line bg-s1 p-3">
          <div className="flex items-end gap-2">
            <Field label={value.length > 1 ? `Layer ${i + 1}${i === value.length - 1 ? ", wins over those above" : ""}` : "Layer"} required maxLength={100} value={layer.name} onChange={(event) => set(i, { name: event.target.value })} className="flex-1" />
            {value.length > 1 && (
              <span className="flex">
                <IconButton label="Earlier, wins less" disabled={i === 0} onClick={() => move(i, -1)}>
                  <ArrowUp size={14} aria-hidden />
                </IconButton>
                <IconButton label="Later, wins more" disabled={i === value.length - 1} onClick={() => move(i, 1)}>
                  <ArrowDown size={14} aria-hidden />
                </IconButton>
                <IconButton label="Remove this layer" onClick={() => onChange(value.filter((_, j) => j !== i))}>
                  <X size={14} aria-hidden />
                </IconButton>
              </span>
            )}
          </div>
          <PickList label="People, in the order of their turns" ordered value={layer.people ?? []} choices={people} onChange={(next) => set(i, { people: next })} />
          <div className="grid grid-cols-2 gap-4 sm:grid-cols-4">
            <Field label="A turn lasts" type="number" required min={1} max={366} value={layer.interval || 1} onChange={(event) => set(i, { interval: Number(event.target.value) })} />
            <SelectField
              label="in"
              value={layer.every}
              choices={everies}
              onChange={(every) => {
                const { weekday: _, day: __, ...rest } = layer;
                const more = every === "weekly" ? { weekday: "Mon" } : every === "monthly" ? { day: 1 } : {};
                onChange(value.map((one, j) => (j === i ? { ...rest, every: every as OncallLayer["every"], ...more } : one)));
              }}
            />
            {layer.every === "weekly" && <SelectField label="Handed over on" value={layer.weekday ?? ""} choices={weekdays} none="the day of the start" onChange={(weekday) => set(i, { weekday })} />}
            {layer.every === "monthly" && <Field label="on day" type="number" min={1} max={31} value={layer.day ?? 1} onChange={(event) => set(i, { day: Number(event.target.value) })} />}
            <Field label="at" type="time" required value={layer.handover || "09:00"} onChange={(event) => set(i, { handover: event.target.value })} />
          </div>
          <div className="grid gap-4 sm:grid-cols-2">
            <ZoneField value={layer.zone} onChange={(zone) => set(i, { zone })} hint="By whose clock it is handed over." />
            <Field label="First day" type="date" required value={layer.start} onChange={(event) => set(i, { start: event.target.value })} hint="Of the first person's first turn." />
          </div>
          <HoursField label="Only at these hours" hint="None: round the clock." value={layer.restrictions ?? []} onChange={(restrictions) => set(i, { restrictions })} />
        </section>
      ))}
      <Button className="self-start" onClick={() => onChange([...value, { ...newLayer(value[0]?.zone ?? "UTC"), name: `Layer ${value.length + 1}` }])}>
        <Plus size={14} aria-hidden /> Add a layer
      </Button>
    </div>
  );
}
