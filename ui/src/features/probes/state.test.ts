import { expect, test } from "vitest";
import type { Log, MetricRange, Probe } from "../../lib/api";
import { certificateState, headerLines, headersOf, newest, probesSentence, reasonOf, resultWords, seenOf, statusOf, steps } from "./state";

const shop: Probe = { id: "p1", version: 1, created_at: "", updated_at: "", name: "Shop", kind: "http", target: "https://shop.example" };
const now = 1_700_000_000_000;

function up(values: Record<string, number>, at = now): MetricRange {
  return {
    name: "midwatch_probe_up", kind: "gauge", unit: "", aggregate: "last", step_seconds: 60, truncated: false, samples_read: 0,
    series: Object.entries(values).map(([region, value]) => ({ labels: { probe: "p1", region }, points: [{ at: at - 60_000, value: 1 - value }, { at, value }] })),
  };
}

test("a probe is down where more than half of its regions see it fail", () => {
  const status = (probe: Probe, values: Record<string, number>, at = now) => statusOf(probe, seenOf(probe, up(values, at), now));
  expect(status(shop, {})).toBe("waiting");
  expect(status(shop, { local: 1 })).toBe("up");
  expect(status(shop, { local: 0 })).toBe("down");
  expect(status(shop, { eu: 0, us: 1, ap: 1 })).toBe("failing");
  expect(status(shop, { eu: 0, us: 0, ap: 1 })).toBe("down");
  expect(status({ ...shop, need: 3 }, { eu: 0, us: 0, ap: 1 })).toBe("failing");
  expect(status({ ...shop, regions: ["eu"] }, { eu: 1, us: 0 })).toBe("up");
  expect(status({ ...shop, paused: true }, { eu: 0 })).toBe("paused");
  expect(status(shop, { local: 0 }, now - 600_000)).toBe("waiting");
});

test("the reason is that of a region that fails now", () => {
  const line = (region: string, reason: string): Log => ({ id: reason, time: "", level: "error", severity: 17, service: "midwatch-probe", body: "", resource: {}, attributes: { probe: "p1", region, reason } });
  const seen = seenOf(shop, up({ eu: 1, us: 0 }), now);
  expect(reasonOf(shop, seen, [line("eu", "answered 500"), line("us", "answered 503")])).toBe("answered 503");
  expect(reasonOf(shop, seen, [])).toBeUndefined();
});

test("results are told in words", () => {
  expect(resultWords("up", [{ region: "local", ok: true }], undefined, 123)).toBe("answered in 123\u00a0ms");
  expect(resultWords("down", [{ region: "local", ok: false }], "answered 503", 10)).toBe("answered 503");
  expect(resultWords("failing", [{ region: "eu", ok: false }, { region: "us", ok: true }], "answered 503", 10)).toBe("answered 503 · 1 of 2\u00a0regions: eu");
});

test("certificates are judged by the share that is left", () => {
  const days = 86_400;
  expect(certificateState(undefined, 90 * days)).toBeUndefined();
  expect(certificateState(60 * days, 90 * days)).toEqual({ words: "60\u00a0days left, 67\u00a0%", tone: "text-muted" });
  expect(certificateState(20 * days, 90 * days)?.tone).toBe("text-warn");
  expect(certificateState(8 * days, 90 * days)?.tone).toBe("text-bad");
  expect(certificateState(-5, 90 * days)?.words).toBe("certificate expired");
  expect(certificateState(-5, 90 * days, [0])?.words).toBe("certificate expired");
  expect(certificateState(60 * days, 90 * days, [1, 1])?.tone).toBe("text-muted");
  expect(certificateState(60 * days, 90 * days, [0, 1])).toEqual({ words: "not valid in some regions", tone: "text-bad" });
  expect(certificateState(60 * days, 90 * days, [0, 0])).toEqual({ words: "not valid", tone: "text-bad" });
});

test("the page says what does not answer, before all else", () => {
  const other = { ...shop, id: "p2", name: "Mail" };
  expect(probesSentence([shop, other], new Map([["p1", "up"], ["p2", "down"]]))).toBe("Mail does not answer.");
  expect(probesSentence([shop, other], new Map([["p1", "up"], ["p2", "up"]]))).toBe("All 2 probes answer.");
  expect(probesSentence([shop, other], new Map([["p1", "up"], ["p2", "paused"]]))).toBe("Shop answers.");
  expect(probesSentence([shop], new Map([["p1", "waiting"]]))).toBe("1\u00a0probe, waiting for a first result.");
});

test("headers are lines", () => {
  expect(headersOf("X-Key: a:b\n\n Accept : text/html ")).toEqual({ "X-Key": "a:b", Accept: "text/html" });
  expect(headersOf(" \n")).toBeUndefined();
  expect(headerLines({ "X-Key": "a:b" })).toBe("X-Key: a:b");
});

test("the newest point of each series counts", () => {
  expect(newest(up({ eu: 0 }), { probe: "p1" })).toEqual([{ at: now, value: 0, labels: { probe: "p1", region: "eu" } }]);
  expect(newest(up({ eu: 0 }), { probe: "p2" })).toEqual([]);
});

test("a short history stands at its place in the range", () => {
  expect(steps([{ at: 120_000, value: 5 }, { at: 180_000, value: 7 }], 60, 0, 240_000)).toEqual([0, 0, 5, 7]);
  expect(steps([{ at: 999_000_000, value: 5 }], 60, 0, 120_000)).toEqual([0, 0]);
});
