import { expect, test } from "vitest";
import { fromTemplate, templates } from "./templates";
import type { Rule } from "../../lib/api";
import { atLines, lineOf, printRule, readRule } from "./yaml";

test("every template is read as it was printed", () => {
  for (const template of templates) {
    const rule = fromTemplate(template, "checkout", "nightly");
    expect(readRule(printRule(rule)), template.id).toEqual({ rule, problems: [] });
  }
});

test("texts that look like something else stay texts", () => {
  const rule: Rule = {
    id: "r",
    name: "yes: # no",
    kind: "log_match",
    query: { text: "null", where: [{ label: "code", op: "=", value: "500" }, { label: "on", op: "=~", value: "5..|\"x\"" }] },
    levels: [{ fire: ">= 5%", severity: "ticket", for: "0" }],
    summary: "two\nlines  ",
    labels: { version: "1.10", zone: "off" },
  };
  expect(readRule(printRule(rule))).toEqual({ rule, problems: [] });
});

test("a mistake is told with its line", () => {
  const read = readRule("id: a\nname: b\nkind: [error_rate\n");
  expect(read.rule).toBeUndefined();
  expect(read.problems[0]?.line).toBeGreaterThanOrEqual(3);
});

test("a text that is no rule says so", () => {
  for (const text of ["", "- a", "just words", "id: 1\n", "id: a\nname: b\nkind: cron\nlevels: 5\n"]) {
    const read = readRule(text);
    expect(read.rule, text).toBeUndefined();
    expect(read.problems.length, text).toBeGreaterThan(0);
  }
});

test("what is missing is empty, and left to the server to judge", () => {
  expect(readRule("id: a\n").rule).toEqual({ id: "a", name: "", kind: "", query: {}, levels: [] });
});

test("aliases do not multiply", () => {
  const bomb = `a: &a [${"x,".repeat(50)}]\n${Array.from({ length: 120 }, (_, i) => `k${i}: *a`).join("\n")}\n`;
  expect(readRule(bomb).rule).toBeUndefined();
});

test("a problem stands at the line of its field, or of what is around it", () => {
  const text = "id: a\nname: b\nlevels:\n  - severity: page\n    fire: '> 1'\n  - severity: ticket\n";
  expect(lineOf(text, "levels[0].fire")).toBe(5);
  expect(lineOf(text, "levels[1].for")).toBe(6);
  expect(lineOf(text, "flap.n")).toBe(1);
  expect(atLines(text, [{ field: "name", message: "is taken" }])).toEqual([{ line: 2, message: "name is taken" }]);
});
