import type { Frame } from "../../lib/api";

/** Frames as they are shown: one that is the program's own, or a run of others that is folded into a line. */
export type Fold = { kind: "own"; frame: Frame; index: number } | { kind: "others"; frames: Frame[]; index: number };

/** Folds the frames of libraries between those of the program. Without one of its own, the newest frame stays open. */
export function fold(frames: readonly Frame[]): Fold[] {
  const out: Fold[] = [];
  const anyOwn = frames.some((frame) => frame.in_app);
  frames.forEach((frame, index) => {
    if (frame.in_app || (!anyOwn && index === 0)) {
      out.push({ kind: "own", frame, index });
      return;
    }
    const last = out.at(-1);
    if (last?.kind === "others") last.frames.push(frame);
    else out.push({ kind: "others", frames: [frame], index });
  });
  return out;
}

/** handle in shop/web.py:31 */
export function frameText(frame: Frame): string {
  const place = [frame.file, frame.line].filter((part) => part !== undefined && part !== "").join(":");
  return [frame.function || "(anonymous)", place || frame.module].filter(Boolean).join(" in ");
}

/** The stack as plain text, newest call first, for a chat or an issue. */
export function stackText(type: string, value: string, frames: readonly Frame[]): string {
  return [`${type}: ${value}`, ...frames.map((frame) => `    at ${frameText(frame)}`)].join("\n");
}
