import type { RulesAddress } from "../../lib/addresses";
import type { Lifecycle, Severity, StoredRule } from "../../lib/api";
import { plural } from "../../lib/format";
import { levelsOf } from "./kinds";

const rank: Record<Severity, number> = { page: 0, ticket: 1, mail: 2 };

/** The worst that a rule may do. */
export function worst(one: StoredRule): Severity {
  return levelsOf(one.effective)
    .map((level) => level.severity)
    .reduce((a, b) => (rank[a] <= rank[b] ? a : b), "mail");
}

export const stateOf = (one: StoredRule): Lifecycle => one.effective.state ?? "draft";

const order = (one: StoredRule) => (one.evaluation.open > 0 ? 0 : one.evaluation.problem ? 1 : 2);

/** The rules of an address: those that are open first, then those with a problem, then by name. */
export function chosen(all: readonly StoredRule[], { q, state, severity, class: of, only }: RulesAddress): StoredRule[] {
  const words = q?.toLowerCase().split(/\s+/).filter(Boolean) ?? [];
  return all
    .filter((one) => !state || state.includes(stateOf(one)))
    .filter((one) => !severity || worst(one) === severity)
    .filter((one) => !of || one.class === of)
    .filter((one) => only !== "open" || one.evaluation.open > 0)
    .filter((one) => only !== "problem" || one.evaluation.problem !== undefined)
    .filter((one) => {
      const text = `${one.sentence} ${one.rule.name} ${one.rule.id} ${one.rule.service ?? ""}`.toLowerCase();
      return words.every((word) => text.includes(word));
    })
    .toSorted((a, b) => order(a) - order(b) || a.rule.name.localeCompare(b.rule.name));
}

/** "12 rules watch, 3 of them may page. 1 is open." */
export function rulesSentence(all: readonly StoredRule[]): string {
  if (all.length === 0) return "No rule watches this project yet.";
  const live = all.filter((one) => stateOf(one) === "live");
  const open = all.filter((one) => one.evaluation.open > 0).length;
  const blind = all.filter((one) => one.evaluation.problem !== undefined).length;
  const waking = live.filter((one) => worst(one) === "page").length;
  const parts = [
    live.length === 0
      ? `${plural(all.length, "rule")}, and none is live.`
      : `${plural(live.length, "rule")} ${live.length === 1 ? "watches" : "watch"}, ${waking === 0 ? "none" : waking === live.length && waking === 1 ? "and it" : waking} may page.`,
  ];
  if (open > 0) parts.push(`${plural(open, "rule")} ${open === 1 ? "is" : "are"} open.`);
  if (blind > 0) parts.push(`${plural(blind, "rule")} ${blind === 1 ? "has" : "have"} a problem.`);
  return parts.join(" ");
}
