import { expect, test } from "vitest";
import { fixedIn, fixes, resolvedWords } from "./life";

test("an issue is resolved as of now where no release is known", () => {
  expect(fixes(undefined).map((one) => one.fix)).toEqual([{ in: "now" }]);
  expect(fixes("").map((one) => one.name)).toEqual(["Now"]);
});

test("the newest release is named, so that what is shown is what is sent", () => {
  expect(fixes("shop@2.0").map((one) => [one.name, one.fix])).toEqual([
    ["Now", { in: "now" }],
    ["In the next release", { in: "next_release" }],
    ["In shop@2.0", { in: "release", release: "shop@2.0" }],
  ]);
  expect(fixes("shop@2.0").map((one) => resolvedWords(one.fix))).toEqual(["Resolved", "Resolved in the next release", "Resolved in shop@2.0"]);
});

test("where the fix is ends a sentence", () => {
  expect(fixedIn({ resolved_in: "now" })).toBe("");
  expect(fixedIn({ resolved_in: "next_release" })).toBe(", fixed in the next release");
  expect(fixedIn({ resolved_in: "release", resolved_release: "2.0" })).toBe(", fixed in 2.0");
});
