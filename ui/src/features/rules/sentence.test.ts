import { expect, test } from "vitest";
import { kindNames, kinds } from "./kinds";
import { quantity, sentence, sentenceParts } from "./sentence";
import type { Rule } from "../../lib/api";

// The sentences are those of alerts/rule/words_test.go: both must say the same.
const checkout: Rule = {
  id: "checkout-errors",
  name: "Checkout errors",
  kind: "error_rate",
  service: "checkout",
  team: "Platform",
  query: {},
  levels: [{ fire: ">= 5%", severity: "page", for: "5m" }],
};
const rule = (more: Partial<Rule>): Rule => ({ id: "r", name: "It", kind: "threshold", query: {}, levels: [], ...more });

test("a rule is the sentence that the server says", () => {
  const said: [string, Rule][] = [
    ["Page Platform when checkout errors are 5 % or more for 5 minutes", checkout],
    [
      "Page Platform when checkout errors are 5 % or more for 5 minutes; open a ticket for Platform when checkout errors are over 1 % for 1 hour, for each host and route",
      { ...checkout, query: { by: ["host", "route"] }, levels: [...checkout.levels, { fire: "> 0.01", severity: "ticket", for: "1h" }] },
    ],
    [
      "Page whoever is on call when the average of process.cpu.utilization of checkout is over 90 % for 5 minutes",
      rule({ service: "checkout", query: { metric: "process.cpu.utilization", aggregate: "avg" }, levels: [{ fire: "> 0.9", severity: "page" }] }),
    ],
    [
      "Open a ticket when shop logs “out of stock” 10 or more times in 5 minutes",
      rule({ kind: "log_match", service: "shop", query: { text: "out of stock" }, levels: [{ fire: ">= 10", severity: "ticket" }] }),
    ],
    ["Page Web when shop cannot be reached from 2 regions for 90 seconds", rule({ kind: "uptime", service: "shop", team: "Web" })],
    ["Mail the owner when a new issue appears in shop", rule({ kind: "issue_new", service: "shop" })],
    ["Open a ticket when the job backup fails, or does not come", rule({ kind: "cron", query: { monitor: "backup" } })],
    ["Mail the owner when a new issue appears", rule({ kind: "issue_new" })],
    ["Open a ticket when a job fails, or does not come", rule({ kind: "cron" })],
    ["Open a ticket when checkout has sent no shop.orders for 5 minutes", rule({ kind: "absence", service: "checkout", query: { metric: "shop.orders" } })],
    [
      "Open a ticket when any service logs “out of stock” 10 or more times in 5 minutes",
      rule({ kind: "log_match", query: { text: "out of stock" }, levels: [{ fire: ">= 10", severity: "ticket" }] }),
    ],
    [
      "Page Web when shop spends the error budget of its 99.9 % objective too fast to last",
      rule({ kind: "slo_burn", service: "shop", team: "Web", slo: { target: 0.999 }, levels: [{ severity: "page" }] }),
    ],
  ];
  for (const [want, one] of said) expect(sentence(one)).toBe(want);
});

test("every kind has a sentence", () => {
  for (const kind of kindNames) {
    const text = sentence(rule({ kind, query: { metric: "m" }, levels: kinds[kind].bounded ? [{ fire: "> 1", severity: "ticket" }] : [] }));
    expect(text, kind).toMatch(/^\S.* when .*\S$/);
    expect(text, kind).not.toContain("  ");
  }
});

test("each piece that can be changed names its field", () => {
  const paths = sentenceParts(checkout).flatMap((part) => (part.path ? [part.path] : []));
  expect(paths).toEqual(["levels[0].severity", "team", "service", "levels[0].fire", "levels[0].for"]);
});

test("a team is shown by its name", () => {
  expect(sentence({ ...checkout, team: "platform" }, "Platform")).toMatch(/^Page Platform when/);
});

test("what is being typed is shown as it stands", () => {
  expect(sentence({ ...checkout, levels: [{ fire: "> ", severity: "page", for: "5x" }] })).toBe("Page Platform when checkout errors are >  for 5x");
});

test("quantities have the unit that fits", () => {
  expect([quantity(0.05, "1"), quantity(0.999, "1"), quantity(0.99995, "1"), quantity(0.8, "s"), quantity(1250, "ms"), quantity(2 ** 30, "By"), quantity(12_345, ""), quantity(14.4, "x")]).toEqual([
    "5 %", "99.9 %", "99.995 %", "800 ms", "1.25 s", "1 GiB", "12,345", "14.4×",
  ]);
});
