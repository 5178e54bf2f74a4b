import type { Rule, RuleLevel, Severity, StoredRule } from "../../lib/api";
import { levelsOf, pages } from "./kinds";
import { lengthText, seconds, spell } from "./length";
import { put } from "./path";

/** What a link in a mail proposes: it stands in the editor, and holds once a person saves it. */
export interface Proposal {
  /** The rule with the change; the rule as it is where there is nothing to change. */
  rule: Rule;
  words: string;
  /** What might be meant instead. */
  other?: { name: string; rule: Rule };
}

const up: Record<Severity, Severity> = { page: "page", ticket: "page", mail: "ticket" };
const down: Record<Severity, Severity> = { page: "ticket", ticket: "mail", mail: "mail" };

/** The kinds of symptoms that never page; of causes none does. */
const silent: readonly Rule["kind"][] = ["issue_new", "issue_regression"];

/** What the anchors mean that alerts/digest puts behind the address of a rule. */
export function proposal(anchor: string, { rule, effective, class: felt }: Pick<StoredRule, "rule" | "effective" | "class">): Proposal | undefined {
  const levels = levelsOf(rule);
  const first = effective.levels[0];
  if (!first) return undefined;
  const written = { ...rule, levels };
  const interval = seconds(effective.interval ?? "") ?? 60;
  const hold = seconds(first.for ?? "") ?? 0;
  const held = (s: number, next = written) => put(next, "levels[0].for", lengthText(s));
  switch (anchor) {
    case "sooner": {
      const higher = up[first.severity];
      if (higher !== first.severity && (higher !== "page" || (felt !== "cause" && !silent.includes(rule.kind)))) {
        const raised = put(written, "levels[0].severity", higher);
        // Who is woken needs evidence of an interval.
        return { rule: higher === "page" && hold < interval ? held(interval, raised) : raised, words: `${higher === "page" ? "Pages" : "Opens a ticket"} where it is a ${first.severity} now` };
      }
      const sooner = Math.max(hold / 2, interval);
      if (sooner >= hold) return { rule, words: "It already tells as soon as it can: only another limit would be sooner" };
      return { rule: held(sooner), words: `Tells after ${spell(sooner)} instead of ${spell(hold)}` };
    }
    case "never":
      if (rule.state === "paused") return { rule, words: "It is paused already and tells nobody" };
      if (levels.every((one) => one.severity === "mail")) return { rule: { ...rule, state: "paused" }, words: "Paused, so that it tells nobody" };
      return {
        rule: { ...rule, state: "paused" },
        words: `Paused, so that it tells nobody. That holds for all that it would ${pages(rule) ? "page" : "open a ticket"} for: see what it would have told`,
        other: { name: "Make it quieter instead", rule: lowered(rule, (severity) => down[severity]) },
      };
    case "ticket":
      return pages(rule) ? { rule: ticketed(rule), words: "Opens a ticket where it pages now" } : { rule, words: "It pages nobody as it is" };
    case "rehearse": {
      const longer = Math.max(hold, interval) * 2;
      return { rule: held(longer), words: `Tells after ${spell(longer)} instead of ${spell(hold)}` };
    }
    default:
      return undefined;
  }
}

/** The rule with tickets for pages. */
export function ticketed(rule: Rule): Rule {
  return lowered(rule, (severity) => (severity === "page" ? "ticket" : severity));
}

/** The rule with other severities. Of levels that become alike the last stays: its limit is reached first. */
function lowered(rule: Rule, to: (severity: Severity) => Severity): Rule {
  const levels: RuleLevel[] = levelsOf(rule).map((one) => ({ ...one, severity: to(one.severity) }));
  return { ...rule, levels: levels.filter((one, i) => levels[i + 1]?.severity !== one.severity) };
}
