import { Plus, Trash2 } from "lucide-react";
import { useId } from "react";
import { Button, IconButton } from "../../components/Button";
import { fieldClass } from "../../components/Field";
import type { Matcher } from "../../lib/api";

const words: Record<Matcher["op"], string> = { "=": "is", "!=": "is not", "=~": "matches", "!~": "does not match" };

/** Conditions on labels, one row each; what names them for a screen reader. */
export function MatchRows({ value, onChange, labels, what, none }: { value: readonly Matcher[]; onChange: (value: Matcher[]) => void; labels: readonly string[]; what: string; none?: string }) {
  const list = useId();
  const change = (i: number, next: Partial<Matcher>) => onChange(value.map((one, at) => (at === i ? { ...one, ...next } : one)));
  return (
    <div className="flex flex-col gap-1.5">
      {value.length === 0 && none && <p className="text-data text-muted">{none}</p>}
      {value.map((one, i) => (
        <div key={i} className="grid grid-cols-[minmax(0,1fr)_auto_minmax(0,1fr)_auto] gap-1.5">
          <input aria-label={`${what}: label ${i + 1}`} list={list} value={one.label} maxLength={128} autoComplete="off" spellCheck={false} onChange={(event) => change(i, { label: event.target.value })} className={`${fieldClass} font-mono`} />
          <select aria-label={`${what}: comparison ${i + 1}`} value={one.op} onChange={(event) => change(i, { op: event.target.value as Matcher["op"] })} className={fieldClass}>
            {(Object.keys(words) as Matcher["op"][]).map((op) => (
              <option key={op} value={op}>
                {words[op]}
              </option>
            ))}
          </select>
          <input aria-label={`${what}: value ${i + 1}`} value={one.value} maxLength={1000} autoComplete="off" spellCheck={false} onChange={(event) => change(i, { value: event.target.value })} className={`${fieldClass} font-mono`} />
          <IconButton label={`Remove the condition on ${one.label || "nothing"}`} className="my-1" onClick={() => onChange(value.filter((_, at) => at !== i))}>
            <Trash2 size={14} aria-hidden />
          </IconButton>
        </div>
      ))}
      <datalist id={list}>
        {labels.map((label) => (
          <option key={label} value={label} />
        ))}
      </datalist>
      <Button kind="ghost" className="self-start" onClick={() => onChange([...value, { label: "", op: "=", value: "" }])}>
        <Plus size={14} aria-hidden /> Add a condition
      </Button>
    </div>
  );
}
