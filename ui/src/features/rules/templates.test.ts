import { expect, test } from "vitest";
import { kinds, pages } from "./kinds";
import { bound, seconds } from "./length";
import { sentence } from "./sentence";
import { fromTemplate, ruleID, templates } from "./templates";

test("every template is a rule that needs nothing but a service", () => {
  for (const template of templates) {
    const rule = fromTemplate(template, "checkout", template.needs ? "checkout-job" : "");
    expect(rule.id, template.id).toMatch(/^[a-z0-9][a-z0-9_-]{0,99}$/);
    expect(rule.service, template.id).toBe("checkout");
    expect(rule.state, template.id).toBe("draft");
    expect(rule.levels.length, template.id).toBeGreaterThan(0);
    expect(sentence(rule), template.id).toMatch(/ when /);
    const kind = kinds[rule.kind];
    expect(kind.sources, template.id).toContain(rule.query.source ?? kind.sources[0]);
    for (const level of rule.levels) {
      expect(bound(level.fire ?? "") !== undefined, template.id).toBe(kind.bounded === true);
      if (level.for !== undefined) expect(seconds(level.for), template.id).toBeDefined();
    }
  }
});

test("a template that pages says what to do first", () => {
  for (const template of templates) {
    const rule = fromTemplate(template, "checkout");
    if (pages(rule)) expect(rule.first_action?.length, template.id).toBeGreaterThan(4);
    expect(rule.first_action?.length ?? 0, template.id).toBeLessThanOrEqual(300);
  }
});

test("templates have ids of their own", () => {
  expect(new Set(templates.map((one) => one.id)).size).toBe(templates.length);
});

test("the id of a rule comes from its name, and is never that of the page for a new one", () => {
  expect(["Checkout errors", "  Zähler!! ", "new", "日本"].map(ruleID)).toEqual(["checkout-errors", "zahler", "new-rule", ""]);
});
