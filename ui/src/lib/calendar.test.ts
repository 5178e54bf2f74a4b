import { afterAll, describe, expect, test, vi } from "vitest";
import type { OncallShift } from "./api";
import { bars, duty, dutyWords, gapWords, joined, monday, mondayOf, mondayText, oncallSentence, place, weeks } from "./calendar";

vi.stubEnv("TZ", "Europe/Berlin");
afterAll(() => {
  vi.unstubAllEnvs();
});

const hour = 3_600_000;
const plain = (text: string) => text.replaceAll("\u00a0", " ");
const shift = (person: string, from: string, to: string): OncallShift => ({ person, from, to, layer: "main" });
const name = (id: string) => id[0]!.toUpperCase() + id.slice(1);

describe("weeks", () => {
  test("begin on Monday by the clock on the wall", () => {
    const at = monday(Date.parse("2026-10-25T22:30:00Z"), "local");
    expect(new Date(at).toISOString()).toBe("2026-10-18T22:00:00.000Z");
  });
  test("have a day of 25 hours when the clocks go back", () => {
    const [week] = weeks(monday(Date.parse("2026-10-22T12:00:00Z"), "local"), 1, "local", Date.parse("2026-10-22T12:00:00Z"));
    expect(week!.days.map((one) => (one.to - one.from) / hour)).toEqual([24, 24, 24, 24, 24, 24, 25]);
    expect(week!.to - week!.from).toBe(169 * hour);
    expect(week!.days[6]!.label).toBe("Sun 25 Oct");
  });
  test("have a day of 23 hours when the clocks go forward", () => {
    const [week] = weeks(monday(Date.parse("2026-03-26T12:00:00Z"), "local"), 1, "local", Date.parse("2026-03-26T12:00:00Z"));
    expect(week!.days.map((one) => (one.to - one.from) / hour)).toEqual([24, 24, 24, 24, 24, 24, 23]);
  });
  test("follow one another without a gap over both changes", () => {
    const all = weeks(monday(Date.parse("2026-03-02T12:00:00Z"), "local"), 40, "local", 0).flatMap((one) => one.days);
    for (let i = 1; i < all.length; i++) expect(all[i]!.from).toBe(all[i - 1]!.to);
  });
  test("have names for the address", () => {
    const at = mondayOf("2026-08-19", "local", 0);
    expect(mondayText(at, 0, "local")).toBe("2026-08-17");
    expect(mondayText(at, -1, "local")).toBe("2026-08-10");
    expect(mondayText(mondayOf("2026-10-25", "local", 0), 1, "local")).toBe("2026-10-26");
  });
});

describe("bars", () => {
  const [first, second] = weeks(mondayOf("2026-10-19", "local", 0), 2, "local", 0);
  test("each day is a seventh, also when it has 25 hours", () => {
    expect(place(Date.parse("2026-10-25T00:00:00+02:00"), first!)).toBeCloseTo(6 / 7);
    expect(place(Date.parse("2026-10-25T23:30:00Z"), first!)).toBe(1);
    expect(place(Date.parse("2026-10-25T10:30:00Z"), first!)).toBeCloseTo((6 + 12.5 / 25) / 7);
  });
  test("a shift over two weeks is a bar in each", () => {
    const shifts = [shift("ada", "2026-10-23T09:00:00+02:00", "2026-10-26T09:00:00+01:00")];
    const a = bars(shifts, first!)[0]!;
    const b = bars(shifts, second!)[0]!;
    expect([a.before, a.after, b.before, b.after]).toEqual([false, true, true, false]);
    expect(a.left + a.width).toBe(1);
    expect(b.left).toBe(0);
    expect(b.width).toBeCloseTo(9 / 24 / 7);
  });
  test("what only touches the week is not in it", () => {
    expect(bars([shift("ada", "2026-10-12T00:00:00+02:00", "2026-10-19T00:00:00+02:00")], first!)).toEqual([]);
  });
});

describe("duty", () => {
  const now = Date.parse("2026-08-21T12:00:00Z"); // a Friday, 14:00 in Berlin
  const shifts = [
    shift("ada", "2026-08-17T07:00:00Z", "2026-08-22T07:00:00Z"),
    shift("ada", "2026-08-22T07:00:00Z", "2026-08-24T07:00:00Z"),
    shift("bo", "2026-08-24T07:00:00Z", "2026-08-31T07:00:00Z"),
  ];
  const say = (all: OncallShift[]) => plain(dutyWords(duty(all, now), name, "local", now));
  test("shifts of one person that touch are one", () => expect(joined(shifts).map((one) => one.person)).toEqual(["ada", "bo"]));
  test("an override may stay by itself", () => expect(joined([{ ...shifts[0]!, override: true }, shifts[1]!], true)).toHaveLength(2));
  test("says who, until when and who is next", () => expect(say(shifts)).toBe("Ada until Mon 09:00, then Bo"));
  test("says that nobody is after that", () => expect(say([shifts[0]!, shift("bo", "2026-08-23T07:00:00Z", "2026-08-24T07:00:00Z")])).toBe("Ada until Sat 09:00, then nobody"));
  test("says that nobody is on call", () => {
    expect(say([shifts[2]!])).toBe("nobody until Mon 09:00, then Bo");
    expect(say([])).toBe("nobody");
  });
  test("names the gaps of the next 7 days", () => {
    const gaps = [
      { from: "2026-08-20T12:00:00Z", to: "2026-08-21T14:00:00Z" },
      { from: "2026-08-22T18:00:00Z", to: "2026-08-24T06:00:00Z" },
      { from: "2026-08-30T18:00:00Z", to: "2026-08-31T06:00:00Z" },
    ];
    expect(gapWords(gaps, "local", now).map(plain)).toEqual(["Nobody is on call from now to 16:00 (2 h).", "Nobody is on call from Sat 20:00 to Mon 08:00 (1 d 12 h)."]);
  });
  test("many gaps are counted", () => {
    const gaps = [21, 22, 23, 24, 25].map((day) => ({ from: `2026-08-${day}T18:00:00Z`, to: `2026-08-${day}T20:00:00Z` }));
    expect(gapWords(gaps, "local", now).map(plain)).toEqual(["Nobody is on call from 20:00 to 22:00 (2 h).", "Nobody is on call from Sat 20:00 to Sat 22:00 (2 h).", "And 3 more times in the next 7 d."]);
  });
  test("a schedule without people is one gap", () => {
    expect(gapWords([{ from: "2026-08-17T00:00:00Z", to: "2026-09-14T00:00:00Z" }], "local", now)).toEqual(["Nobody is on call now and in the next 7 d."]);
  });
});

describe("oncallSentence", () => {
  const on = (schedule: string, person?: string) => ({ schedule, duty: { now: person ? shift(person, "", "") : undefined, next: undefined }, gaps: [] });
  test("names who is", () => expect(oncallSentence([on("Platform", "ada"), on("Data")], name)).toBe("Ada is on call for Platform; nobody for Data."));
  test("names who is not", () => expect(oncallSentence([on("Data")], name)).toBe("Nobody is on call for Data."));
  test("says that there is no schedule", () => expect(oncallSentence([], name)).toBe("Nobody is on call: there is no schedule yet."));
});
