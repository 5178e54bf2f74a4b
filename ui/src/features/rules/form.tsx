import { Trash2, Plus } from "lucide-react";
import { createContext, useContext, useId, useState, type ReactNode } from "react";
import { Button, IconButton } from "../../components/Button";
import { fieldClass } from "../../components/Field";
import type { Matcher, Problem, Rule } from "../../lib/api";
import { MatchRows } from "../routes/MatchRows";
import { bound, operators, seconds, spell, type Operator } from "./length";
import { at, put, within } from "./path";

interface FormState {
  rule: Rule;
  /** The rule with the defaults of its kind, as far as the server has said them. */
  effective: Rule | undefined;
  problems: readonly Problem[];
  change: (rule: Rule) => void;
}

const Context = createContext<FormState | undefined>(undefined);

export const RuleFormProvider = Context.Provider;

export function useRuleForm(): FormState {
  const state = useContext(Context);
  if (!state) throw new Error("useRuleForm outside of RuleFormProvider");
  return state;
}

/** The value at a path of the rule, what it is if nobody says, how to change it, and what is wrong with it. */
function useField(path: string) {
  const { rule, effective, problems, change } = useRuleForm();
  return {
    value: at(rule, path),
    usual: at(effective, path),
    set: (value: unknown) => change(put(rule, path, value === "" ? undefined : value)),
    wrong: problems.filter((one) => within(one.field, path)),
  };
}

interface Labelled {
  path: string;
  label: string;
  hint?: ReactNode;
  className?: string;
}

/** The label above a field, and the hint or what is wrong with it beneath. */
function Around({ id, label, hint, wrong, className = "", children }: Omit<Labelled, "path"> & { id: string; wrong: readonly Problem[]; children: ReactNode }) {
  return (
    <div className={className}>
      <label htmlFor={id} className="mb-1 block text-data">
        {label}
      </label>
      {children}
      <More id={id} hint={hint} wrong={wrong} />
    </div>
  );
}

function More({ id, hint, wrong }: { id: string; hint?: ReactNode; wrong: readonly Problem[] }) {
  return (
    <div id={`${id}-more`}>
      {wrong.map((one) => (
        <p key={one.message} className="mt-1 text-data text-bad first-letter:uppercase">
          {one.message}
        </p>
      ))}
      {wrong.length === 0 && hint && <p className="mt-1 text-data text-muted">{hint}</p>}
    </div>
  );
}

const known = (usual: unknown): string | undefined => (typeof usual === "string" || typeof usual === "number" ? String(usual) : undefined);

export function TextField({ path, label, hint, className, list, mono, long, required, numeric }: Labelled & { list?: readonly string[]; mono?: boolean; long?: boolean; required?: boolean; numeric?: boolean }) {
  const id = useId();
  const { value, usual, set, wrong } = useField(path);
  const own = {
    id,
    value: value === undefined || value === null ? "" : String(value as string | number),
    placeholder: known(usual),
    "aria-invalid": wrong.length > 0 || undefined,
    "aria-describedby": `${id}-more`,
    "aria-required": required,
    className: `${fieldClass} ${mono ? "font-mono" : ""}`,
  };
  return (
    <Around id={id} label={label} hint={hint} wrong={wrong} className={className ?? ""}>
      {long ? (
        <textarea {...own} rows={2} maxLength={1000} onChange={(event) => set(event.target.value)} className={`${own.className} py-1.5`} />
      ) : (
        <input
          {...own}
          maxLength={1000}
          autoComplete="off"
          spellCheck={false}
          inputMode={numeric ? "decimal" : undefined}
          list={list ? `${id}-list` : undefined}
          onChange={(event) => {
            const text = event.target.value;
            set(numeric && text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text);
          }}
        />
      )}
      {list && (
        <datalist id={`${id}-list`}>
          {list.map((one) => (
            <option key={one} value={one} />
          ))}
        </datalist>
      )}
    </Around>
  );
}

/** A length of time; what it means stands beneath. */
export function LengthField({ path, label, hint, className }: Labelled) {
  const id = useId();
  const { value, usual, set, wrong } = useField(path);
  const text = value === undefined ? "" : String(value as string);
  const s = seconds(text);
  return (
    <Around
      id={id}
      label={label}
      className={className ?? ""}
      wrong={text !== "" && s === undefined ? [{ field: path, message: "write it like 30s, 5m, 1h30m or 3d" }] : wrong}
      hint={hint ?? (s === undefined ? undefined : spell(s))}
    >
      <input
        id={id}
        value={text}
        placeholder={known(usual)}
        maxLength={20}
        autoComplete="off"
        spellCheck={false}
        aria-invalid={(text !== "" && s === undefined) || wrong.length > 0 || undefined}
        aria-describedby={`${id}-more`}
        onChange={(event) => set(event.target.value.trim())}
        className={fieldClass}
      />
    </Around>
  );
}

export function SelectField({ path, label, hint, className, choices, none }: Labelled & { choices: readonly (readonly [string, string])[]; none?: string }) {
  const id = useId();
  const { value, usual, set, wrong } = useField(path);
  const now = value === undefined ? "" : String(value as string);
  const usually = choices.find(([one]) => one === usual)?.[1];
  return (
    <Around id={id} label={label} hint={hint} wrong={wrong} className={className ?? ""}>
      <select id={id} value={now} aria-invalid={wrong.length > 0 || undefined} aria-describedby={`${id}-more`} onChange={(event) => set(event.target.value)} className={fieldClass}>
        {none !== undefined && <option value="">{usually && now === "" ? `${none} (${usually})` : none}</option>}
        {now !== "" && !choices.some(([one]) => one === now) && <option>{now}</option>}
        {choices.map(([one, name]) => (
          <option key={one} value={one}>
            {name}
          </option>
        ))}
      </select>
    </Around>
  );
}

/** A limit: the comparison and its number, with % for shares. */
export function BoundField({ path, label, hint, className, optional }: Labelled & { optional?: boolean }) {
  const id = useId();
  const { value, set, wrong } = useField(path);
  const text = value === undefined ? "" : String(value as string);
  const op = (operators.find((one) => text.trimStart().startsWith(one)) ?? (optional ? "<" : ">=")) satisfies Operator;
  const number = text.trimStart().startsWith(op) ? text.trimStart().slice(op.length).trimStart() : text;
  const bad = number !== "" && !bound(`${op} ${number}`);
  const write = (nextOp: Operator, next: string) => set(next === "" && optional ? undefined : `${nextOp} ${next}`);
  return (
    <Around id={id} label={label} className={className ?? ""} hint={hint} wrong={bad ? [{ field: path, message: "write a number such as 0.05, 5% or 250" }] : wrong}>
      <div className="flex gap-1.5">
        <select aria-label={`${label}: comparison`} value={op} onChange={(event) => write(event.target.value as Operator, number)} className={`${fieldClass} max-w-28 shrink-0`}>
          <option value=">=">at least</option>
          <option value=">">over</option>
          <option value="<=">at most</option>
          <option value="<">below</option>
        </select>
        <input
          id={id}
          value={number}
          maxLength={40}
          autoComplete="off"
          aria-invalid={bad || wrong.length > 0 || undefined}
          aria-describedby={`${id}-more`}
          onChange={(event) => write(op, event.target.value)}
          className={`${fieldClass} font-mono`}
        />
      </div>
    </Around>
  );
}

function words(text: string): string[] {
  return text
    .split(",")
    .map((one) => one.trim())
    .filter(Boolean);
}

/** Several words in one line, with commas between them. */
export function ListField({ path, label, hint, className, list }: Labelled & { list?: readonly string[] }) {
  const id = useId();
  const { value, set, wrong } = useField(path);
  const joined = Array.isArray(value) ? value.join(", ") : "";
  // What is typed stays as it is typed as long as it means the same: a comma at the end is on its way to the next word.
  const [typed, setTyped] = useState(joined);
  const shown = words(typed).join(", ") === joined ? typed : joined;
  return (
    <Around id={id} label={label} hint={hint} wrong={wrong} className={className ?? ""}>
      <input
        id={id}
        value={shown}
        maxLength={1000}
        autoComplete="off"
        spellCheck={false}
        list={list ? `${id}-list` : undefined}
        aria-invalid={wrong.length > 0 || undefined}
        aria-describedby={`${id}-more`}
        onChange={(event) => {
          setTyped(event.target.value);
          const all = words(event.target.value);
          set(all.length === 0 ? undefined : all);
        }}
        className={`${fieldClass} font-mono`}
      />
      {list && (
        <datalist id={`${id}-list`}>
          {list.map((one) => (
            <option key={one} value={one} />
          ))}
        </datalist>
      )}
    </Around>
  );
}

export function CheckField({ path, label, hint }: Labelled) {
  const { value, set, wrong } = useField(path);
  const id = useId();
  return (
    <div>
      <label className="flex cursor-pointer items-start gap-2">
        <input type="checkbox" checked={value === true} aria-describedby={`${id}-more`} onChange={(event) => set(event.target.checked ? true : undefined)} className="mt-1 accent-(--accent)" />
        {label}
      </label>
      <More id={id} hint={hint} wrong={wrong} />
    </div>
  );
}

export function MatchField({ path, label, hint, labels }: Labelled & { labels?: readonly string[] }) {
  const { value, set, wrong } = useField(path);
  const id = useId();
  return (
    <fieldset>
      <legend className="mb-1 text-data">{label}</legend>
      <MatchRows value={(value as Matcher[] | undefined) ?? []} onChange={(next) => set(next.length === 0 ? undefined : next)} labels={labels ?? []} what={label.toLowerCase()} />
      <More id={id} hint={hint} wrong={wrong} />
    </fieldset>
  );
}

/** Names with values, one row each. */
export function PairsField({ path, label, hint }: Labelled) {
  const { value, set, wrong } = useField(path);
  const id = useId();
  const [rows, setRows] = useState<[string, string][]>(() => Object.entries((value as Record<string, string> | undefined) ?? {}));
  const now = JSON.stringify(value ?? {});
  const mine = JSON.stringify(Object.fromEntries(rows.filter(([key]) => key !== "")));
  // The rule was changed elsewhere, in its YAML.
  if (now !== mine) setRows(Object.entries((value as Record<string, string> | undefined) ?? {}));
  const write = (next: [string, string][]) => {
    setRows(next);
    const filled = next.filter(([key]) => key !== "");
    set(filled.length === 0 ? undefined : Object.fromEntries(filled));
  };
  return (
    <fieldset>
      <legend className="mb-1 text-data">{label}</legend>
      <div className="flex flex-col gap-1.5">
        {rows.map(([key, text], i) => (
          // The rows have no names of their own.
          <div key={i} className="flex gap-1.5">
            <input aria-label={`Name ${i + 1}`} value={key} maxLength={200} onChange={(event) => write(rows.with(i, [event.target.value, text]))} className={`${fieldClass} font-mono`} />
            <input aria-label={`Value ${i + 1}`} value={text} maxLength={1000} onChange={(event) => write(rows.with(i, [key, event.target.value]))} className={`${fieldClass} font-mono`} />
            <IconButton label={`Remove ${key || "the row"}`} className="my-1" onClick={() => write(rows.toSpliced(i, 1))}>
              <Trash2 size={14} aria-hidden />
            </IconButton>
          </div>
        ))}
        <Button kind="ghost" className="self-start" onClick={() => write([...rows, ["", ""]])}>
          <Plus size={14} aria-hidden /> Add a label
        </Button>
      </div>
      <More id={id} hint={hint} wrong={wrong} />
    </fieldset>
  );
}
