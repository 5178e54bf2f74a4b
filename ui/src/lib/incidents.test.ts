import { describe, expect, test } from "vitest";
import type { Incident, IncidentDetail } from "./api";
import { byDay, careWords, chartRange, dossierOf, incidentSentence, incidentsSentence, limitValue, proseTimes, quietFor, silenceOf, timeline } from "./incidents";

const plain = (text: string | undefined) => text?.replaceAll("\u00a0", " ");
const now = Date.parse("2026-08-21T02:53:20Z");
const at = (text: string) => new Date(Date.parse(`2026-08-${text}Z`)).toISOString();

function incident(id: string, more: Partial<Incident> = {}): Incident {
  return { id, number: 1, project: 1, team: "platform", state: "open", severity: "page", title: "checkout answers 7.2 % errors", since: at("21T02:41:00"), opened_at: at("21T02:44:00"), ...more };
}

function detail(more: Partial<IncidentDetail> = {}, of: Partial<Incident> = {}): IncidentDetail {
  return { incident: incident("a", of), labels: {}, instances: [], causes: [], affected: [], entries: [], deliveries: [], ...more };
}

const upper = (id: string) => id.toUpperCase();
const over = (id: string, day: string, more: Partial<Incident> = {}) =>
  incident(id, { state: "resolved", since: at(`${day}T10:00:00`), opened_at: at(`${day}T10:05:00`), resolved_at: at(`${day}T10:30:00`), outcome: "recovered", ...more });

describe("incidentsSentence", () => {
  const say = (all: Incident[]) => plain(incidentsSentence(all, "in the last 30 d", "utc", now));
  test("names the open one, since when and how long", () => expect(say([incident("a"), over("b", "20")])).toBe("1 open: checkout answers 7.2 % errors since 02:41 (12 min)."));
  test("names the worst of several", () =>
    expect(say([incident("a", { severity: "mail", title: "disk is filling" }), incident("b"), incident("c", { severity: "ticket" })])).toBe(
      "3 open: checkout answers 7.2 % errors since 02:41 (12 min), and 2 more.",
    ));
  test("names one that nobody looks after before others", () =>
    expect(say([incident("a", { acknowledged_by: "ada", title: "search is slow", opened_at: at("21T02:50:00") }), incident("b")])).toBe(
      "2 open: checkout answers 7.2 % errors since 02:41 (12 min), and 1 more.",
    ));
  test("says how long it has been quiet", () => expect(say([over("a", "20")])).toBe("All quiet for 16 h."));
  test("says so when there was nothing", () => expect(say([])).toBe("All quiet: no incident in the last 30 d."));
});

test("nothing is quiet as long as something is open", () => {
  expect(quietFor([incident("a"), over("b", "20")], now)).toBeUndefined();
  expect(quietFor([], now)).toBeUndefined();
});

describe("incidentSentence", () => {
  test("of an open one", () => expect(plain(incidentSentence(incident("a", { title: "x is bad." }), "utc", now))).toBe("x is bad since 02:41 (12 min)."));
  test("of one that recovered", () => expect(plain(incidentSentence(over("a", "20"), "utc", now))).toBe("checkout answers 7.2 % errors: recovered after 30 min."));
  test("of a false alarm", () => expect(plain(incidentSentence(over("a", "20", { false_alarm: true }), "utc", now))).toBe("checkout answers 7.2 % errors: a false alarm after 30 min."));
});

test("open ones stand first, then each day", () => {
  const groups = byDay([over("d", "19"), incident("a"), over("b", "20"), over("c", "20", { opened_at: at("20T23:00:00") })], "utc", now);
  expect(groups.map((one) => [one.name, one.incidents.map((i) => i.id).join("")])).toEqual([
    ["Open", "a"],
    ["Yesterday", "cb"],
    ["19 Aug", "d"],
  ]);
});

describe("careWords", () => {
  const say = (d: IncidentDetail) => plain(careWords(d, upper, "utc", now));
  test("names who looks after it", () => expect(say(detail({}, { acknowledged_by: "ada", acknowledged_at: at("21T02:45:00") }))).toBe("ADA looks after it since 02:45."));
  test("says when the next step is", () => expect(say(detail({}, { next_at: at("21T02:55:00") }))).toBe("Nobody has acknowledged it; the next step is at 02:55."));
  test("says why nobody is told", () => expect(say(detail({ waits_for: "quiet hours", wait_until: at("21T06:00:00") }))).toBe("Nobody is told yet: quiet hours, until 06:00."));
  test("has nothing to say of one that is over", () => expect(careWords({ ...detail(), incident: over("a", "20") }, upper, "utc", now)).toBeUndefined());
});

test("the timeline begins with the first symptom and ends now", () => {
  const lines = timeline(detail({ entries: [{ id: "1", at: at("21T02:44:00"), kind: "opened", text: "Opened: x" }] }), now);
  expect(lines.map((one) => one.kind)).toEqual(["onset", "opened", "now"]);
  expect(timeline({ ...detail(), incident: over("a", "20") }, now).map((one) => one.kind)).toEqual(["onset"]);
});

test("times in the server's texts are shown as on the page", () => {
  expect(proseTimes("Nobody is told until 2026-08-21T04:00:00Z: silence s1", "utc", now)).toBe("Nobody is told until 04:00: silence s1");
});

test("a silence of an incident is for its group", () => {
  expect(silenceOf(detail({ labels: { service: "checkout", environment: "" } }))).toEqual([{ label: "service", op: "=", value: "checkout" }]);
});

describe("dossierOf", () => {
  test("reads sections, links and the picture", () => {
    const found = dossierOf({ sections: [{ title: "Deploys", lines: [{ text: "1.42.0", link: "https://x/y" }] }, { title: "Empty", lines: [] }], chart: { png: "aGk=", alt: "up" } })!;
    expect(found.sections).toEqual([{ title: "Deploys", lead: false, lines: [{ text: "1.42.0", link: "https://x/y" }] }]);
    expect(found.chart).toEqual({ png: "aGk=", alt: "up", link: "" });
  });
  test("leaves out what is no page", () => {
    expect(dossierOf({ Sections: [{ Title: "T", Lines: [{ Text: "a", Link: "javascript:alert(1)" }, { Text: "b", Link: "//evil" }] }] })!.sections[0]!.lines.map((one) => one.link)).toEqual(["", ""]);
  });
  test("does not mind nonsense", () => expect(dossierOf({ sections: "no", chart: 3 })).toEqual({ sections: [], facts: [], chart: undefined, at: "" }));
  test("is absent where there is none", () => expect(dossierOf(undefined)).toBeUndefined());
});

describe("limitValue", () => {
  test.each([
    [">= 5 %", "1", 0.05],
    [">= 5%", "ratio", 0.05],
    ["> 5 %", "%", 5],
    ["> 800 ms", "s", 0.8],
    ["> 2 s", "ms", 2000],
    [">= 10", "", 10],
    ["< 1 GiB", "By", 2 ** 30],
  ])("%s of a metric in %s", (text, unit, want) => expect(limitValue(text, unit)).toBeCloseTo(want));
  test("has none", () => expect(limitValue("no data", "")).toBeUndefined());
});

test("the chart shows half an hour before, and nothing of the future", () => {
  const range = chartRange(incident("a"), now);
  expect(new Date(range.from).toISOString()).toBe("2026-08-21T02:11:00.000Z");
  expect(range.to).toBeLessThan(now + 60_000);
});
