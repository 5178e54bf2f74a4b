import { expect, test } from "vitest";
import { fold, frameText, stackText } from "./frames";

const own = (name: string) => ({ function: name, file: `${name}.py`, line: 3, in_app: true });
const lib = (name: string) => ({ function: name, in_app: false });

test("frames of libraries are folded between those of the program", () => {
  const folds = fold([own("a"), lib("x"), lib("y"), own("b"), lib("z")]);
  expect(folds.map((one) => (one.kind === "own" ? one.frame.function : one.frames.map((frame) => frame.function).join("+")))).toEqual(["a", "x+y", "b", "z"]);
});

test("without a frame of the program the newest stays open", () => {
  expect(fold([lib("x"), lib("y")]).map((one) => one.kind)).toEqual(["own", "others"]);
  expect(fold([])).toEqual([]);
});

test("a stack as text", () => {
  expect(frameText({ in_app: true })).toBe("(anonymous)");
  expect(stackText("KeyError", "'id'", [own("load")])).toBe("KeyError: 'id'\n    at load in load.py:3");
});
