import { expect, test } from "vitest";
import { bound, lengthText, seconds, spell, withValue } from "./length";

test("lengths of time read as the server reads them", () => {
  expect(["0", "30s", "5m", "1h30m", "3d", "2w"].map(seconds)).toEqual([0, 30, 300, 5400, 259_200, 1_209_600]);
  expect(["", "5", "5 m", "m", "30m1h", "1.5h", "-5m"].map(seconds)).toEqual(Array(7).fill(undefined));
});

test("lengths of time are written as they are read", () => {
  for (const s of [1, 30, 90, 300, 5400, 86_400, 90_061]) expect(seconds(lengthText(s))).toBe(s);
  expect(lengthText(0)).toBe("0s");
});

test("lengths of time have two parts in words, and no minutes after days", () => {
  expect([90, 300, 5400, 90_000, 86_460].map(spell)).toEqual(["90 seconds", "5 minutes", "1 hour 30 minutes", "1 day 1 hour", "1 day"]);
});

test("a limit is a comparison with a number or a percentage", () => {
  expect(bound(">= 5%")).toEqual({ op: ">=", value: 0.05, text: "5%" });
  expect(bound("<7 %")?.value).toBe(0.07);
  expect(bound("> 1e3")?.value).toBe(1000);
  expect(["5", "=5", ">", "> x", "> 5%%"].map(bound)).toEqual(Array(5).fill(undefined));
});

test("another value keeps the way in which the limit was written", () => {
  expect(withValue(">= 5%", 0.07)).toBe(">= 7%");
  expect(withValue("< 100", 250)).toBe("< 250");
  expect(withValue("", 3)).toBe(">= 3");
});
