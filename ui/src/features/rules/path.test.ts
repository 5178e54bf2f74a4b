import { expect, test } from "vitest";
import { at, put, within } from "./path";

const rule = { id: "a", levels: [{ severity: "page", for: "5m" }, { severity: "ticket" }], query: { by: ["host"] } };

test("a path reads through lists and objects", () => {
  expect(at(rule, "levels[0].for")).toBe("5m");
  expect(at(rule, "levels[7].for")).toBeUndefined();
  expect(at(rule, "id.levels")).toBeUndefined();
});

test("writing makes a copy, and what was empty on the way", () => {
  expect(put(rule, "flap.n", 4)).toEqual({ ...rule, flap: { n: 4 } });
  expect(put(rule, "levels[1].for", "1h").levels[1]).toEqual({ severity: "ticket", for: "1h" });
  expect(rule.levels[1]).toEqual({ severity: "ticket" });
});

test("taking the last field away takes what held it", () => {
  expect(put({ id: "a", flap: { n: 4 } }, "flap.n", undefined)).toEqual({ id: "a" });
  expect(put(rule, "levels[0]", undefined).levels).toEqual([{ severity: "ticket" }]);
});

test("a problem inside of a field is the field's", () => {
  expect(within("levels[0].fire", "levels[0]")).toBe(true);
  expect(within("query.where[1]", "query.where")).toBe(true);
  expect(within("no_data_for", "no_data")).toBe(false);
});
