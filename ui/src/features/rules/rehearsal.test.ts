import { expect, test } from "vitest";
import { nights } from "./rehearsal";

const local = (d: number, h: number) => new Date(2026, 9, d, h).getTime();

test("a night is from 22 to 7 o'clock, cut at the edges", () => {
  expect(nights(local(5, 3), local(7, 0))).toEqual([
    { from: local(5, 3), to: local(5, 7) },
    { from: local(5, 22), to: local(6, 7) },
    { from: local(6, 22), to: local(7, 0) },
  ]);
});

test("an afternoon has no night", () => {
  expect(nights(local(5, 12), local(5, 20))).toEqual([]);
});
