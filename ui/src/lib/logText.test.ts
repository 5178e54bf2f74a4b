import { expect, test } from "vitest";
import { cut, toggled, wanted, without, withPhrase } from "./logText";

test("wanted parts of a query", () => {
  expect(wanted('payment "was declined" -retry -"give up" 503')).toEqual(["payment", "was declined", "503"]);
  expect(wanted('open "quote')).toEqual(["open", "quote"]);
  expect(wanted("")).toEqual([]);
  expect(wanted("-")).toEqual(["-"]);
});

test("a text is cut around what is marked, in any case", () => {
  expect(cut("Payment of payment", ["payment"])).toEqual(["", "Payment", " of ", "payment", ""]);
  expect(cut("a+b (c)", ["a+b", "(c)"])).toEqual(["", "a+b", " ", "(c)", ""]);
  expect(cut("aab", ["a", "aa"])).toEqual(["", "aa", "b"]);
  expect(cut("text", [])).toEqual(["text"]);
});

test("selected text becomes a term", () => {
  expect(withPhrase("a", "b")).toBe("a b");
  expect(withPhrase("", "two words", true)).toBe('-"two words"');
  expect(withPhrase("a", '  "quoted" and\nbroken ')).toBe('a "quoted and broken"');
  expect(withPhrase("", "-x")).toBe('"-x"');
  expect(withPhrase("a", "  ")).toBe("a");
});

test("filters", () => {
  expect(toggled(undefined, "a")).toEqual(["a"]);
  expect(toggled(["a"], "a")).toBeUndefined();
  expect(toggled(["a"], "b")).toEqual(["a", "b"]);
  expect(without(undefined, ["a", "b", "c"], "b")).toEqual(["a", "c"]);
  expect(without(["a", "b"], ["a", "b", "c"], "b")).toEqual(["a"]);
});
