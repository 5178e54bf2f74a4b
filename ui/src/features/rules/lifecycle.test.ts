import { expect, test } from "vitest";
import type { Rule } from "../../lib/api";
import { keptAs, nextSteps, substance } from "./lifecycle";

const rule = (state: Rule["state"], severity: "page" | "ticket" = "page"): Rule => ({ id: "r", name: "r", kind: "error_rate", query: {}, levels: [{ severity, fire: "> 1" }], state });
const live = (one: Rule, rehearsed: boolean, possible = true) => nextSteps(one, rehearsed, possible).find((step) => step.to === "live");

test("what pages is rehearsed before it goes live, and the button says so", () => {
  expect(live(rule("draft"), false)?.not).toMatch(/rehearsed first/);
  expect(live(rule("draft"), true)?.not).toBeUndefined();
  expect(live(rule("shadow"), false)?.not).toMatch(/rehearsed first/);
  expect(live(rule("rehearsed"), false)?.not).toBeUndefined();
});

test("what does not page may go live at once, and so may all where nothing can be rehearsed", () => {
  expect(live(rule("draft", "ticket"), false)?.not).toBeUndefined();
  expect(live(rule("draft"), false, false)?.not).toBeUndefined();
});

test("shadow is always possible before", () => {
  for (const state of ["draft", "rehearsed", "paused"] as const) expect(nextSteps(rule(state), false, true).some((step) => step.to === "shadow" && !step.not)).toBe(true);
});

test("a draft that was rehearsed is kept as such, and others stay what they are", () => {
  expect([keptAs(rule("draft"), true), keptAs(rule("draft"), false), keptAs(rule("live"), true), keptAs(rule(undefined), false)]).toEqual(["rehearsed", "draft", "live", "draft"]);
});

test("a rule that was saved is the one that was rehearsed", () => {
  const { id, ...rest } = rule("draft");
  expect(substance({ ...rest, id, state: "live" })).toBe(substance(rule("draft")));
  expect(substance({ ...rule("draft"), window: "10m" })).not.toBe(substance(rule("draft")));
});
