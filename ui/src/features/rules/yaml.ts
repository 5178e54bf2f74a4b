import { isMap, isScalar, isSeq, LineCounter, parseDocument, stringify, visit } from "yaml";
import { steps } from "./path";
import type { Problem, Rule } from "../../lib/api";

// The form's YAML is what `midwatch rules apply` takes for one rule.

/** The order in which a person reads a rule; what is not named comes after. */
const order = [
  "id", "name", "kind", "class", "area", "service", "environment", "team", "query", "slo", "forecast", "window", "interval", "delay",
  "levels", "debounce", "recover_for", "min_samples", "min_bad", "no_data", "no_data_for", "stale_close", "missing_group_close", "reopen",
  "flap", "recur", "limits", "depends_on", "active", "quiet", "user_visible", "consequence", "time_to_symptom", "wall", "approved_by",
  "summary", "first_action", "runbook_url", "labels", "owner", "state",
];

export function printRule(rule: Rule): string {
  const known = order.filter((key) => key in rule);
  const others = Object.keys(rule).filter((key) => !order.includes(key));
  const sorted = Object.fromEntries([...known, ...others].map((key) => [key, (rule as Record<string, unknown>)[key]]));
  return stringify(sorted, { lineWidth: 0, aliasDuplicateObjects: false });
}

/** Something that is wrong with the text; lines count from 1, 0 is nowhere in particular. */
export interface LineProblem {
  line: number;
  message: string;
}

export type Read = { rule: Rule; problems: LineProblem[] } | { rule: undefined; problems: LineProblem[] };

const maxBytes = 65_536;

/** The rule that a text is; problems without a rule where it is none. */
export function readRule(text: string): Read {
  const no = (problems: LineProblem[]): Read => ({ rule: undefined, problems });
  if (text.length > maxBytes) return no([{ line: 0, message: "A rule has at most 64 KiB." }]);
  const lines = new LineCounter();
  const doc = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const line = (offset: number) => lines.linePos(offset).line;
  if (doc.errors.length > 0) return no(doc.errors.map((error) => ({ line: line(error.pos[0]), message: error.message })));
  if (!isMap(doc.contents)) return no([{ line: 1, message: "A rule is a list of fields, such as name: checkout errors." }]);
  let aliases = 0;
  visit(doc, { Alias: () => void aliases++ });
  if (aliases > 100) return no([{ line: 0, message: "More than 100 aliases." }]);
  const value = doc.toJS() as Record<string, unknown>;
  const problems: LineProblem[] = [];
  const wants = (key: string, ok: boolean, what: string) => {
    if (!ok) problems.push({ line: lineOf(text, key), message: `${key} ${what}` });
  };
  if (value.query === undefined || value.query === null) value.query = {};
  for (const key of ["id", "name", "kind"]) {
    if (value[key] === undefined || value[key] === null) value[key] = "";
    wants(key, typeof value[key] === "string", "is a text");
  }
  wants("query", typeof value.query === "object" && !Array.isArray(value.query), "holds fields");
  if (value.levels === undefined || value.levels === null) value.levels = [];
  wants("levels", Array.isArray(value.levels) && value.levels.every((one) => typeof one === "object" && one !== null), "is a list of levels");
  return problems.length > 0 ? no(problems) : { rule: value as unknown as Rule, problems };
}

/** The line on which a field of the rule stands: that of the nearest thing around it where it is not written. */
export function lineOf(text: string, field: string): number {
  const lines = new LineCounter();
  const doc = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  let node: unknown = doc.contents;
  let line = 1;
  for (const step of steps(field)) {
    if (isMap(node)) {
      const pair = node.items.find((one) => isScalar(one.key) && one.key.value === step);
      if (!pair) return line;
      if (isScalar(pair.key) && pair.key.range) line = lines.linePos(pair.key.range[0]).line;
      node = pair.value;
    } else if (isSeq(node) && typeof step === "number") {
      const next = node.items[step] as { range?: [number, number, number] } | undefined;
      if (!next?.range) return line;
      line = lines.linePos(next.range[0]).line;
      node = next;
    } else return line;
  }
  return line;
}

export function atLines(text: string, problems: readonly Problem[]): LineProblem[] {
  return problems.map((one) => ({ line: lineOf(text, one.field), message: `${one.field} ${one.message}` }));
}
