import { expect, test } from "vitest";
import { compact, count, duration, percent, plural, relative, unitName, valueFormat } from "./format";
import { slugFrom } from "./slug";
import { clock, date, fromInputValue, inputValue, iso, stamp } from "./time";

const plain = (text: string) => text.replaceAll("\u00a0", " ");

test("counts", () => {
  expect(count(214603)).toBe("214,603");
  expect(plain(compact(999))).toBe("999");
  expect(plain(compact(999.9))).toBe("1 k");
  expect(plain(compact(214603))).toBe("215 k");
  expect(plain(compact(-1_500_000))).toBe("-1.5 M");
  expect(plain(plural(1, "line"))).toBe("1 line");
  expect(plain(plural(0, "query", "queries"))).toBe("0 queries");
});

test("percentages are never 0 or 100 for what is not", () => {
  const of = (part: number, total: number) => plain(percent(part, total));
  expect(of(41, 100)).toBe("41 %");
  expect(of(1, 100_000)).toBe("under 0.1 %");
  expect(of(99_999, 100_000)).toBe("over 99.9 %");
  expect(of(0, 100)).toBe("0 %");
  expect(of(100, 100)).toBe("100 %");
  expect(of(6, 1000)).toBe("0.6 %");
  expect(of(1, 0)).toBe("0 %");
});

test("durations have two units at most and carry over", () => {
  const of = (ms: number) => plain(duration(ms));
  expect(of(0)).toBe("0 ms");
  expect(of(340)).toBe("340 ms");
  expect(of(1234)).toBe("1.2 s");
  expect(of(59_000)).toBe("59 s");
  expect(of(60_000)).toBe("1 min");
  expect(of(3_599_999)).toBe("60 min");
  expect(of(7_500_000)).toBe("2 h 5 min");
  expect(of(273_600_000)).toBe("3 d 4 h");
});

test("what is near now is now", () => {
  const now = 1_000_000_000;
  expect(relative(now - 2000, now)).toBe("just now");
  expect(relative(now + 9000, now)).toBe("just now");
  expect(plain(relative(now - 720_000, now))).toBe("12 min ago");
  expect(plain(relative(now + 3_600_000, now))).toBe("in 1 h");
});

test("values carry the unit of their metric", () => {
  const of = (unit: string, value: number, perSecond = false) => plain(valueFormat(unit, perSecond).text(value));
  expect(of("s", 0.118)).toBe("118 ms");
  expect(of("ms", 2500)).toBe("2.5 s");
  expect(of("ns", 250)).toBe("250 ns");
  expect(of("By", 1536)).toBe("1.5 KiB");
  expect(of("By", 1536, true)).toBe("1.5 KiB/s");
  expect(of("By/s", 1536)).toBe("1.5 KiB/s");
  expect(of("%", 7.25)).toBe("7.25 %");
  expect(of("1", 0.25)).toBe("0.25");
  expect(of("", 1200, true)).toBe("1.2 k /s");
  expect(of("{request}", 12.345, true)).toBe("12.3 request/s");
  expect(of("s", 0.5, true)).toBe("0.5 s/s");
  expect(of("ratio", 0.5838)).toBe("58.4 %");
  expect(of("", Number.NaN)).toBe("NaN ");
  expect(plain(valueFormat("{request}").tick(1200))).toBe("1.2 k");
  expect(valueFormat("By").base).toBe(1024);
  expect(unitName("{job}")).toBe("job");
  expect(unitName("By")).toBe("bytes");
  expect(unitName("1")).toBe("");
});

test("times in both zones go through the input and back", () => {
  const at = Date.parse("2026-08-21T02:41:09.123Z");
  expect(clock(at, "utc")).toBe("02:41");
  expect(clock(at, "utc", "milli")).toBe("02:41:09.123");
  expect(date(at, "utc", Date.parse("2026-01-01T00:00:00Z"))).toBe("21 Aug");
  expect(date(at, "utc", Date.parse("2027-01-01T00:00:00Z"))).toBe("21 Aug 2026");
  expect(stamp(at, "utc", at)).toBe("02:41");
  expect(iso(at, "utc")).toBe("2026-08-21T02:41:09.123Z");
  expect(Date.parse(iso(at, "local"))).toBe(at);
  const whole = at - 123;
  for (const zone of ["utc", "local"] as const) expect(fromInputValue(inputValue(whole, zone), zone)).toBe(whole);
  expect(fromInputValue("", "utc")).toBeUndefined();
});

test("short names", () => {
  expect(slugFrom("Größe & Co", /[^a-z0-9-]+/g)).toBe("gro-e-co");
  expect(slugFrom("  Nightly backup ", /[^a-z0-9_-]+/g)).toBe("nightly-backup");
  expect(slugFrom("a_b", /[^a-z0-9-]+/g)).toBe("a-b");
});
