import { expect, test } from "vitest";
import { csv, question, seriesKey, seriesName, seriesUnit, stats } from "./summary";

test("series are named by what tells them apart", () => {
  expect(seriesName({}, "up")).toBe("up");
  expect(seriesName({ route: "/cart" }, "up")).toBe("/cart");
  expect(seriesName({ route: "", method: "GET" }, "up")).toBe("method=GET, route=(none)");
  expect(seriesKey({ b: "1", a: "2" })).toBe(seriesKey({ a: "2", b: "1" }));
});

test("what a series counts has the right unit", () => {
  expect(seriesUnit("http_request_duration_seconds_count", "histogram", "s")).toBe("");
  expect(seriesUnit("http_request_duration_seconds_sum", "histogram", "s")).toBe("s");
  expect(seriesUnit("process_cpu_utilization_ratio", "gauge", "1")).toBe("ratio");
  expect(seriesUnit("system.cpu.utilization", "gauge", "1")).toBe("ratio");
  expect(seriesUnit("shop_orders_count", "counter", "{order}")).toBe("{order}");
});

test("figures leave gaps out", () => {
  expect(stats([1, null, 4, null])).toEqual({ last: 4, min: 1, avg: 2.5, max: 4 });
  expect(stats([null])).toEqual({ last: undefined, min: undefined, avg: undefined, max: undefined });
});

test("the question in words", () => {
  expect(question("http.requests", "rate", [])).toBe("Rate of http.requests");
  expect(question("http.requests", "max", ["route", "method", "host"])).toBe("Highest http.requests by route, method and host");
});

test("a table that a spreadsheet opens", () => {
  const result = { name: "m", kind: "gauge", unit: "By", aggregate: "avg", step_seconds: 60, samples_read: 1, truncated: false, series: [] } as const;
  expect(csv({ ...result, series: [] }, ["a,b"], [0], [[null]])).toBe('time,"a,b (By)"\n1970-01-01T00:00:00.000Z,');
});
