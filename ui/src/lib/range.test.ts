import { describe as suite, expect, test } from "vitest";
import { defaultRange, describe, freeze, inWords, parseEdge, parseTyped, resolve, step } from "./range";

// A Friday.
const now = Date.parse("2026-08-21T14:05:30Z");
const utc = (text: string) => Date.parse(text);

suite("parseEdge", () => {
  const ok = (text: string, want: string) =>
    test(text, () => {
      expect(new Date(parseEdge(text, now, "utc")!).toISOString()).toBe(new Date(want).toISOString());
    });
  ok("now", "2026-08-21T14:05:30Z");
  ok("now-1h", "2026-08-21T13:05:30Z");
  ok("now-90s", "2026-08-21T14:04:00Z");
  ok("now-2w", "2026-08-07T14:05:30Z");
  ok("now/d", "2026-08-21T00:00:00Z");
  ok("now-1d/d", "2026-08-20T00:00:00Z");
  ok("now/w", "2026-08-17T00:00:00Z");
  ok("2026-08-21T02:41:00Z", "2026-08-21T02:41:00Z");
  ok("2026-08-21T02:41Z", "2026-08-21T02:41:00Z");
  ok("2026-08-21T02:41:00.123456+02:00", "2026-08-21T00:41:00.123Z");
  ok("1787278860000", "2026-08-21T02:21:00Z");

  for (const text of ["", "yesterday", "now+1h", "now-1y", "now-h", "2026-08-21", "2026-13-01T00:00:00Z", "12", "now-999999h"]) {
    test(`refuses ${JSON.stringify(text)}`, () => expect(parseEdge(text, now, "utc")).toBeUndefined());
  }
});

test("a live range holds the current second whole", () => {
  const range = resolve(defaultRange, now + 250, "utc")!;
  expect(range.to).toBe(now + 1000);
  expect(range.to - range.from).toBe(3_600_000);
  expect(resolve(defaultRange, now, "utc")!.to).toBe(now + 1000);
});

test("a range needs something between its edges", () => {
  expect(resolve({ from: "now", to: "now-1h" }, now, "utc")).toBeUndefined();
  expect(resolve({ from: "now", to: "now" }, now, "utc")).toBeUndefined();
});

suite("parseTyped", () => {
  const relative = (text: string, from: string, to = "now") =>
    test(text, () => expect(parseTyped(text, now, "utc")).toEqual({ from, to }));
  relative("3h", "now-3h");
  relative(" 90 min ", "now-90m");
  relative("last 2 days", "now-2d");
  relative("Past 15 minutes", "now-15m");
  relative("-30m", "now-30m");
  relative("1w", "now-1w");
  relative("today", "now/d");
  relative("Yesterday", "now-1d/d", "now/d");
  relative("now-6h to now-1h", "now-6h", "now-1h");

  const fixed = (text: string, from: string, to: string) =>
    test(text, () => {
      const raw = parseTyped(text, now, "utc")!;
      const range = resolve(raw, now, "utc")!;
      expect(new Date(range.from).toISOString()).toBe(new Date(utc(from)).toISOString());
      if (to === "now") expect(raw.to).toBe("now");
      else expect(new Date(range.to).toISOString()).toBe(new Date(utc(to)).toISOString());
    });
  fixed("2026-08-20", "2026-08-20T00:00:00Z", "2026-08-21T00:00:00Z");
  fixed("20 Aug", "2026-08-20T00:00:00Z", "2026-08-21T00:00:00Z");
  fixed("20 august 2025", "2025-08-20T00:00:00Z", "2025-08-21T00:00:00Z");
  fixed("14:00", "2026-08-21T14:00:00Z", "now");
  fixed("12:00 to 13:30", "2026-08-21T12:00:00Z", "2026-08-21T13:30:00Z");
  fixed("2026-08-20 22:00 - 02:00", "2026-08-20T22:00:00Z", "2026-08-21T02:00:00Z");
  fixed("yesterday 22:00 to today 02:00", "2026-08-20T22:00:00Z", "2026-08-21T02:00:00Z");
  fixed("18 aug to 19 aug", "2026-08-18T00:00:00Z", "2026-08-20T00:00:00Z");
  fixed("2026-08-21T02:00:00Z to 2026-08-21T03:00:00Z", "2026-08-21T02:00:00Z", "2026-08-21T03:00:00Z");

  for (const text of ["", "soon", "3 lightyears", "25:00 to 26:00", "14:00 to 13:00 to 12:00", "99 aug", "15:00", "2026-14-01"]) {
    test(`refuses ${JSON.stringify(text)}`, () => expect(parseTyped(text, now, "utc")).toBeUndefined());
  }
});

test("describe and inWords", () => {
  const both = (from: string, to: string) => {
    const raw = { from, to };
    return [describe(raw, "utc", now), inWords(raw, "utc", now)].map((text) => text.replaceAll("\u00a0", " "));
  };
  expect(both("now-1h", "now")).toEqual(["Last 1 h", "in the last hour"]);
  expect(both("now-30d", "now")).toEqual(["Last 30 d", "in the last 30 d"]);
  expect(both("now-1d/d", "now/d")).toEqual(["Yesterday", "yesterday"]);
  expect(both("2026-08-21T02:00:00Z", "2026-08-21T03:00:00Z")).toEqual(["21 Aug 02:00 – 03:00", "from 21 Aug 02:00 to 03:00"]);
  expect(both("2026-08-20T00:00:00Z", "2026-08-21T00:00:00Z")).toEqual(["20 Aug 00:00 – 00:00", "from 20 Aug 00:00 to 00:00"]);
  expect(both("2026-08-21T02:00:00Z", "now")).toEqual(["Since 21 Aug 02:00", "since 21 Aug 02:00"]);
});

test("a step back has the same length, and steps forward end at now", () => {
  const back = step(defaultRange, -1, now, "utc");
  expect(back).toEqual({ from: "2026-08-21T12:05:31Z", to: "2026-08-21T13:05:31Z" });
  expect(step(back, 1, now, "utc")).toEqual(defaultRange);
  expect(step(freeze({ from: now - 7_200_000, to: now - 3_600_000 }), 1, now, "utc")).toEqual(defaultRange);
});
