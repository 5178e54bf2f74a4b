import { expect, test } from "vitest";
import type { Digest, Incident } from "./api";
import { digestSentence, healedWords, linesOf, withIncidents } from "./digest";

const plain = (text: string | undefined) => text?.replaceAll("\u00a0", " ");
const now = Date.parse("2026-08-21T22:00:00Z");
const line = (id: string) => ({ id, at: "2026-08-21T21:00:00Z", project: 1, team: "platform", text: "x" });
const digest = (more: Partial<Digest> = {}): Digest => ({
  sections: [
    { section: "healed", title: "Healed by itself", lines: [line("1"), line("2")] },
    { section: "health", title: "Health", lines: [line("3")] },
  ],
  ...more,
});

test("a digest says when it comes and how much it has", () => {
  expect(plain(digestSentence(digest({ next_at: "2026-08-24T08:30:00Z" }), "utc", now))).toBe("The next digest, Mon 08:30, has 3 lines; 2 blips healed by themselves.");
  expect(plain(digestSentence(digest({ sections: [] }), "utc", now))).toBe("The next digest has nothing to say.");
});

test("what healed is counted", () => {
  expect(linesOf(digest(), "healed")).toBe(2);
  expect([0, 1, 2].map((n) => plain(healedWords(n)))).toEqual([undefined, "1 blip healed by itself", "2 blips healed by themselves"]);
});

test("the overview names an open incident first, and else what healed", () => {
  const open: Incident = { id: "a", number: 1, project: 1, team: "", state: "open", severity: "page", title: "checkout is down", since: "2026-08-21T21:30:00Z", opened_at: "2026-08-21T21:31:00Z" };
  expect(plain(withIncidents("All quiet.", [open], 2, "utc", now))).toBe("1 open: checkout is down since 21:30 (30 min).");
  expect(plain(withIncidents("All quiet.", [], 2, "utc", now))).toBe("All quiet. 2 blips healed by themselves since the last digest.");
  expect(withIncidents("All quiet.", [], 0, "utc", now)).toBe("All quiet.");
});
