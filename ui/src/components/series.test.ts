import { expect, test } from "vitest";
import { alone, colors, grid, palette, reach, stack } from "./series";

test("the first eight series have eight colours, whatever their order; later ones are dashed", () => {
  const keys = Array.from({ length: 10 }, (_, i) => `series ${i}`);
  const got = colors(keys);
  const whole = [...got.values()].filter((one) => !one.dashed);
  expect(new Set(whole.map((one) => one.color)).size).toBe(palette.length);
  expect([...got.values()].filter((one) => one.dashed).length).toBe(2);
  expect(colors(keys.toReversed())).toEqual(got);
});

test("points are put on one grid and gaps are null", () => {
  const { times, values } = grid(
    [
      { points: [{ at: 1000, value: 1 }, { at: 3000, value: 3 }] },
      { points: [{ at: 2000, value: Number.NaN }, { at: 4000, value: 4 }] },
    ],
    1000,
  );
  expect(times).toEqual([1000, 2000, 3000, 4000]);
  expect(values).toEqual([[1, null, 3, null], [null, null, null, 4]]);
  expect(grid([{ points: [] }], 1000)).toEqual({ times: [], values: [[]] });
});

test("a sender that reports seldom has no gaps, and one value alone needs a dot", () => {
  expect(reach([1, 2, 3])).toBe(1);
  expect(reach([1, null, null, null, 2, null, null, null, 3])).toBe(6);
  expect(alone([1, null, 2, 3, 4, 5, null, 6])).toEqual([0, 7]);
  expect(alone([1, null, null, null, 2, null, null, null, 3])).toEqual([]);
  expect(alone([null, 7, null])).toEqual([1]);
  expect(alone([null, null])).toEqual([]);
});

test("bars stand on those after them", () => {
  expect(stack([[1, 2], [10, null], [100, 200]])).toEqual([[111, 202], [110, 200], [100, 200]]);
});
