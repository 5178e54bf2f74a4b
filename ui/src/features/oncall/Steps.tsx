import { ArrowUp, Plus, X } from "lucide-react";
import { Button, IconButton } from "../../components/Button";
import { Field } from "../../components/Field";
import type { Policy } from "../../lib/api";
import { minutesOf, timeoutOf } from "../../lib/oncall";
import { PickList, type Choice } from "./fields";

type Step = NonNullable<Policy["steps"]>[number];
type Target = NonNullable<Step["targets"]>[number];

/** Who is told one after the other. */
export function Steps({ value, schedules, people, receivers, onChange }: { value: readonly Step[]; schedules: Choice[]; people: Choice[]; receivers: Choice[]; onChange: (value: Step[]) => void }) {
  // One list of all that can be a target; the kind is a part of the key.
  const choices = [
    ...schedules.map((one) => ({ id: `schedule/${one.id}`, name: `on call: ${one.name}` })),
    ...people.map((one) => ({ id: `person/${one.id}`, name: one.name })),
    ...receivers.map((one) => ({ id: `receiver/${one.id}`, name: `receiver: ${one.name}` })),
  ];
  const set = (i: number, change: Partial<Step>) => onChange(value.map((one, j) => (j === i ? { ...one, ...change } : one)));
  return (
    <div className="flex flex-col gap-4">
      {value.map((step, i) => (
        <section key={i} aria-label={`Step ${i + 1}`} className="flex flex-col gap-3 rounded border border-line bg-s1 p-3">
          <div className="flex items-center justify-between">
            <h2 className="text-data font-medium">{i === 0 ? "First" : "Then"}</h2>
            {value.length > 1 && (
              <span className="flex">
                {i > 0 && (
                  <IconButton label="Earlier" onClick={() => onChange(value.map((one, j) => (j === i - 1 ? step : j === i ? value[i - 1]! : one)))}>
                    <ArrowUp size={14} aria-hidden />
                  </IconButton>
                )}
                <IconButton label="Remove this step" onClick={() => onChange(value.filter((_, j) => j !== i))}>
                  <X size={14} aria-hidden />
                </IconButton>
              </span>
            )}
          </div>
          <PickList
            label="tell"
            value={(step.targets ?? []).map((one) => `${one.kind}/${one.id}`)}
            choices={choices}
            onChange={(ids) => set(i, { targets: ids.map(targetOf) })}
          />
          <Field
            label="and wait for an acknowledgement (minutes)"
            type="number"
            required
            min={1}
            max={1440}
            step="any"
            value={minutesOf(step.ack_timeout) ?? 5}
            onChange={(event) => set(i, { ack_timeout: timeoutOf(Number(event.target.value)) })}
            className="max-w-72"
          />
        </section>
      ))}
      <Button className="self-start" onClick={() => onChange([...value, { targets: [], ack_timeout: "10m" }])}>
        <Plus size={14} aria-hidden /> Add a step
      </Button>
    </div>
  );
}

function targetOf(key: string): Target {
  const at = key.indexOf("/");
  return { kind: key.slice(0, at) as Target["kind"], id: key.slice(at + 1) };
}
