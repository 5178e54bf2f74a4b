import { expect, test } from "vitest";
import type { Rule, RuleClass, RuleLevel } from "../../lib/api";
import { proposal } from "./proposal";

interface Case {
  kind?: Rule["kind"];
  levels: RuleLevel[];
  class?: RuleClass;
  state?: Rule["state"];
}

/** The rule that an anchor makes of one with levels as they are written, checked each minute; what the server adds is a hold of 5 minutes. */
function after(anchor: string, { kind = "error_rate", levels, class: felt = "symptom", state = "live" }: Case) {
  const rule: Rule = { id: "r", name: "r", kind, query: {}, levels, state };
  const effective: Rule = { ...rule, interval: "1m", levels: levels.map((one) => ({ for: "5m", ...one })) };
  const got = proposal(anchor, { rule, effective, class: felt });
  return got && { levels: got.rule.levels, state: got.rule.state, words: got.words, same: got.rule === rule, other: got.other?.rule.levels };
}

const page: RuleLevel = { severity: "page", fire: ">= 5%" };
const ticket: RuleLevel = { severity: "ticket", fire: ">= 2%" };
const mail: RuleLevel = { severity: "mail", fire: ">= 1%" };

test("sooner halves the hold of what pages", () => {
  expect(after("sooner", { levels: [page, ticket] })).toMatchObject({ levels: [{ ...page, for: "2m30s" }, ticket], state: "live", words: "Tells after 2 minutes 30 seconds instead of 5 minutes" });
});

test("no page is sooner than its evidence of one interval", () => {
  expect(after("sooner", { levels: [{ ...page, for: "90s" }] })?.levels).toEqual([{ ...page, for: "1m" }]);
  expect(after("sooner", { levels: [{ ...page, for: "1m" }] })).toMatchObject({ same: true, words: /as soon as it can/ });
});

test("sooner raises what does not page by one step", () => {
  expect(after("sooner", { levels: [mail] })).toMatchObject({ levels: [{ ...mail, severity: "ticket" }], words: "Opens a ticket where it is a mail now" });
  expect(after("sooner", { levels: [ticket, mail] })).toMatchObject({ levels: [{ ...ticket, severity: "page" }, mail], words: "Pages where it is a ticket now" });
  expect(after("sooner", { levels: [{ ...ticket, for: "0s" }] })?.levels).toEqual([{ ...ticket, severity: "page", for: "1m" }]);
});

test("what cannot page gets a shorter hold", () => {
  expect(after("sooner", { kind: "threshold", class: "cause", levels: [ticket] })?.levels).toEqual([{ ...ticket, for: "2m30s" }]);
  expect(after("sooner", { kind: "issue_new", levels: [{ severity: "ticket", for: "0s" }] })?.same).toBe(true);
  expect(after("sooner", { kind: "issue_new", levels: [{ severity: "mail", for: "0s" }] })?.levels).toEqual([{ severity: "ticket", for: "0s" }]);
});

test("never pauses, and offers less than that where a page would be lost", () => {
  expect(after("never", { levels: [mail] })).toMatchObject({ state: "paused", levels: [mail], other: undefined });
  expect(after("never", { levels: [page, ticket] })).toMatchObject({ state: "paused", levels: [page, ticket], words: /would page for/, other: [{ ...page, severity: "ticket" }, { ...ticket, severity: "mail" }] });
  expect(after("never", { levels: [ticket, mail] })).toMatchObject({ state: "paused", words: /would open a ticket for/, other: [mail] });
  expect(after("never", { levels: [page], state: "paused" })?.same).toBe(true);
});

test("levels that a kind brings are changed as they are", () => {
  const rule: Rule = { id: "r", name: "r", kind: "slo_burn", query: {}, levels: [], state: "live" };
  const effective: Rule = { ...rule, interval: "1m", levels: [{ severity: "page", for: "3m" }, { severity: "ticket", for: "3m" }] };
  expect(proposal("sooner", { rule, effective, class: "symptom" })?.rule.levels).toEqual([{ severity: "page", for: "1m30s" }, { severity: "ticket" }]);
  expect(proposal("ticket", { rule, effective, class: "symptom" })?.rule.levels).toEqual([{ severity: "ticket" }]);
});

test("the report of the week asks for a ticket, or for more patience", () => {
  expect(after("ticket", { levels: [page, mail] })?.levels).toEqual([{ ...page, severity: "ticket" }, mail]);
  expect(after("ticket", { levels: [page, ticket] })?.levels).toEqual([ticket]);
  expect(after("ticket", { levels: [ticket] })?.same).toBe(true);
  expect(after("rehearse", { levels: [page] })).toMatchObject({ levels: [{ ...page, for: "10m" }], words: "Tells after 10 minutes instead of 5 minutes" });
  expect(after("rehearse", { levels: [{ ...page, for: "0s" }] })?.levels).toEqual([{ ...page, for: "2m" }]);
});

test("another anchor proposes nothing", () => {
  expect(after("", { levels: [page] })).toBeUndefined();
  expect(after("history", { levels: [page] })).toBeUndefined();
});
