import { describe, expect, test } from "vitest";
import type { Incident, Silence } from "./api";
import { matcherText, parseMatchers, previewSentence, repeatOf, repeatText, repeatWords, silencesSentence } from "./silences";

const plain = (text: string) => text.replaceAll("\u00a0", " ");

describe("parseMatchers", () => {
  test.each([
    ['service="checkout"', [["service", "=", "checkout"]]],
    ["service=checkout", [["service", "=", "checkout"]]],
    ['service = "a, b" , route=~"/pay/.*"', [["service", "=", "a, b"], ["route", "=~", "/pay/.*"]]],
    ["service!=a\nenvironment!~dev.*", [["service", "!=", "a"], ["environment", "!~", "dev.*"]]],
    [String.raw`text="say \"no\""`, [["text", "=", 'say "no"']]],
    ["  ", []],
  ])("%s", (text, want) => expect(parseMatchers(text).map(({ label, op, value }) => [label, op, value])).toEqual(want));
  test.each([
    ["checkout", "is no condition"],
    ['service="checkout', "no closing quotation mark"],
    ['service="a" environment="b"', "Put a comma"],
  ])("refuses %s", (text, why) => expect(() => parseMatchers(text)).toThrow(why));
  test("reads what it writes", () => {
    const all = [{ label: "a.b", op: "=~" as const, value: String.raw`x"y\z` }];
    expect(parseMatchers(all.map(matcherText).join(", "))).toEqual(all);
  });
});

describe("silencesSentence", () => {
  const now = Date.parse("2026-08-21T12:00:00Z");
  const silence = (state: Silence["state"], more: Partial<Silence["silence"]> = {}): Silence => ({
    meta: { id: "s", name: "", version: 1, created_at: "", updated_at: "", updated_by: "" },
    state,
    silence: { id: "s", matchers: [{ label: "service", op: "=", value: "checkout" }], from: "2026-08-21T11:00:00Z", to: "2026-08-21T15:00:00Z", author: "ada", reason: "x", ...more },
  });
  const say = (all: Silence[], windows = 0) => plain(silencesSentence(all, windows, "utc", now));
  test("names the one that holds", () => expect(say([silence("active"), silence("ended")])).toBe('service="checkout" is silenced until 15:00.'));
  test("says when it ends with its incident", () => expect(say([silence("active", { until_resolved: true })], 1)).toBe('service="checkout" is silenced until it is resolved; 1 maintenance window open.'));
  test("counts several", () => expect(say([silence("active"), silence("active")])).toBe("2 silences hold."));
  test("says what is to come", () => expect(say([silence("waiting")])).toBe("Nothing is silenced now; 1 silence to come."));
  test("says that there is none", () => expect(say([])).toBe("Nothing is silenced."));
});

test("a preview says what is muted now and would have been", () => {
  const open = { state: "open" } as Incident;
  expect(plain(previewSentence([open], [open, open]))).toBe("It mutes 1 open incident now, and would have muted 2 in the last 7 d.");
  expect(plain(previewSentence([], [open]))).toBe("It mutes nothing that is open now, and would have muted 1 in the last 7 d.");
  expect(plain(previewSentence([], []))).toBe("It matches no open incident, and none of the last 7 d.");
});

describe("repetition", () => {
  test.each([
    ["FREQ=WEEKLY;BYDAY=SU", "every week on Sun"],
    ["FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR", "every 2 weeks on Mon, Fri"],
    ["FREQ=DAILY", "every day"],
    ["FREQ=MONTHLY;INTERVAL=3", "every 3 months"],
  ])("%s is read, said and written", (text, words) => {
    expect(repeatWords(text)).toBe(words);
    expect(repeatText(repeatOf(text))).toBe(text);
  });
  test.each(["FREQ=MONTHLY;BYDAY=2TU", "FREQ=WEEKLY;UNTIL=20261231", "nonsense"])("%s stays as it is", (text) => {
    expect(repeatOf(text).kind).toBe("other");
    expect(repeatText(repeatOf(text))).toBe(text);
  });
  test("none is once", () => {
    expect(repeatWords(undefined)).toBe("once");
    expect(repeatText(repeatOf(undefined))).toBeUndefined();
  });
});
