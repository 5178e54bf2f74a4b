import type { Lifecycle, Rule } from "../../lib/api";
import { pages } from "./kinds";

export interface Step {
  to: Lifecycle;
  name: string;
  primary?: boolean;
  /** Why it cannot be done yet. */
  not?: string;
}

/**
 * What may come next in a rule's life. One that pages goes live only after it was rehearsed: rehearsed says that it was,
 * as it is now; possible whether this server can.
 */
export function nextSteps(rule: Rule, rehearsed: boolean, possible: boolean): Step[] {
  const live: Step = { to: "live", name: "Go live", primary: true };
  const shadow: Step = { to: "shadow", name: "Run in shadow" };
  const pause: Step = { to: "paused", name: "Pause" };
  const untried = pages(rule) && possible && !rehearsed ? "It may wake a person, so it is rehearsed first: see what it would have done." : undefined;
  switch (rule.state ?? "draft") {
    case "live":
      return [shadow, pause];
    case "shadow":
      return [{ ...live, ...(untried ? { not: untried } : {}) }, pause];
    case "rehearsed":
      return [live, shadow];
    default:
      return [{ ...live, ...(untried ? { not: untried } : {}) }, shadow];
  }
}

/** The state with which a rule is kept: a draft that was tried on the past is rehearsed. */
export function keptAs(rule: Rule, rehearsed: boolean): Lifecycle {
  const state = rule.state ?? "draft";
  return state === "draft" && rehearsed ? "rehearsed" : state;
}

/** What is rehearsed of a rule, as text: all but its state, whatever the order of its fields. */
export function substance(rule: Rule): string {
  const sorted = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sorted);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, one]) => one !== undefined)
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, one]) => [key, sorted(one)]),
    );
  };
  return JSON.stringify(sorted({ ...rule, state: undefined }));
}
