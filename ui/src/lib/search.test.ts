import { expect, test } from "vitest";
import { issuesAddress, logsAddress, metricsAddress, rangeAddress, signInAddress } from "./addresses";
import { parseSearch, stringifySearch } from "./search";

test("an address reads as it was written", () => {
  const search = { from: "now-1h", to: "2026-08-21T02:00:00Z", q: 'a "b c" -d & e=f', level: ["error", "warn"], service: ["api"] };
  const text = stringifySearch(search);
  expect(text).toBe("?from=now-1h&to=2026-08-21T02:00:00Z&q=a+%22b+c%22+-d+%26+e%3Df&level=error&level=warn&service=api");
  expect(parseSearch(text)).toEqual({ ...search, service: "api" });
});

test("nothing is written for nothing", () => {
  expect(stringifySearch({ q: undefined, level: [], text: "" })).toBe("");
  expect(parseSearch("")).toEqual({});
});

test("letters of all scripts and plus signs survive", () => {
  for (const q of ["grüße", "日本", "1+1", "100%", "a/b", "#x", "?"]) {
    expect(parseSearch(stringifySearch({ q }))).toEqual({ q });
  }
});

test("what an address must not hold is left out", () => {
  expect(rangeAddress({ from: "junk", to: "now" })).toEqual({ from: "now-1h", to: "now", refresh: undefined });
  expect(rangeAddress({ from: "now-6h", to: "now", refresh: "1m", other: "x" })).toEqual({ from: "now-6h", to: "now", refresh: "1m" });
  expect(logsAddress({ level: ["error", "loud", "error"], service: "api", q: ["one", "two"] })).toEqual({ q: "one", level: ["error"], service: ["api"], row: undefined });
  expect(logsAddress({ level: "loud" }).level).toBeUndefined();
  expect(metricsAddress({ agg: "median", by: "route", view: "table" })).toMatchObject({ agg: undefined, by: ["route"], view: "table" });
  expect(issuesAddress({ sort: "users" })).toEqual({ q: undefined, sort: "users" });
});

test("sign-in goes back only to pages of this server", () => {
  expect(signInAddress({ next: "/p/1/logs?q=a" }).next).toBe("/p/1/logs?q=a");
  for (const next of ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", ""]) {
    expect(signInAddress({ next }).next).toBeUndefined();
  }
});
