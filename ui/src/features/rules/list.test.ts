import { expect, test } from "vitest";
import type { StoredRule } from "../../lib/api";
import { chosen, rulesSentence, worst } from "./list";
import { fromTemplate, templates } from "./templates";

function stored(template: string, service: string, more: Partial<StoredRule["evaluation"]> = {}, state: "live" | "draft" = "live"): StoredRule {
  const rule = { ...fromTemplate(templates.find((one) => one.id === template)!, service), state };
  const meta = { id: rule.id, name: rule.name, version: 1, created_at: "", updated_at: "", updated_by: "" };
  return { meta, rule, effective: rule, class: "symptom", sentence: `Page when ${service}`, warnings: [], evaluation: { open: 0, ...more } };
}

const all = [stored("log_pattern", "api"), stored("error_rate", "shop", { problem: "no data" }), stored("slo_burn", "web", { open: 2 }), stored("anomaly", "web", {}, "draft")];

test("what is open stands first, then what has a problem", () => {
  expect(chosen(all, {}).map((one) => one.rule.service)).toEqual(["web", "shop", "api", "web"]);
});

test("rules are found by words, state and severity", () => {
  expect(chosen(all, { q: "WEB page" })).toHaveLength(2);
  expect(chosen(all, { state: ["draft"] })).toHaveLength(1);
  expect(chosen(all, { severity: "page" })).toHaveLength(2);
  expect(chosen(all, { only: "problem" })[0]?.rule.service).toBe("shop");
});

test("a rule is as severe as its worst level", () => {
  expect(all.map(worst)).toEqual(["ticket", "page", "page", "mail"]);
});

test("the sentence says how many watch, page, are open and are blind", () => {
  expect(rulesSentence([])).toBe("No rule watches this project yet.");
  expect(rulesSentence(all).replaceAll("\u00a0", " ")).toBe("3 rules watch, 2 may page. 1 rule is open. 1 rule has a problem.");
});
