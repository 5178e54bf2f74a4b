import { expect, test } from "vitest";
import type { OncallLayer } from "./api";
import { digestWords, hoursPattern, hoursWords, idFrom, layerWords, minutesOf, policyWords, timeoutOf } from "./oncall";

const plain = (text: string) => text.replaceAll("\u00a0", " ");
const name = (id: string) => id[0]!.toUpperCase() + id.slice(1);
const layer = (more: Partial<OncallLayer> = {}): OncallLayer => ({ name: "main", zone: "Europe/Berlin", start: "2026-10-19", every: "weekly", interval: 1, handover: "09:00", people: ["ada", "bo"], ...more });

test("a layer is one sentence", () => {
  expect(layerWords(layer({ weekday: "Mon" }), name)).toBe("Ada and Bo in turn, handed over each week on Monday at 09:00 (Europe/Berlin)");
  expect(layerWords(layer({ every: "daily", interval: 2, restrictions: [{ days: "Mon-Fri", from: "08:00", to: "20:00" }] }), name)).toBe(
    "Ada and Bo in turn, handed over every 2 days at 09:00 (Europe/Berlin), only Mon-Fri 08:00–20:00",
  );
  expect(layerWords(layer({ people: ["ada"] }), name)).toBe("Ada");
  expect(layerWords(layer({ people: null }), name)).toBe("Nobody");
});

test("a policy is one sentence", () => {
  const words = policyWords(
    {
      id: "p",
      name: "P",
      steps: [
        { targets: [{ kind: "schedule", id: "platform" }], ack_timeout: "5m" },
        { targets: [{ kind: "person", id: "ada" }, { kind: "person", id: "bo" }], ack_timeout: "10m" },
      ],
      loops: 2,
      exhausted_receivers: ["slack"],
      repeat_exhausted: "30m",
    },
    (target) => name(target.id),
  );
  expect(plain(words)).toBe("1. Platform, 5 min to acknowledge; 2. Ada and Bo, 10 min; 2 times over; then Slack every 30 min");
});

test("lengths of time are read and written", () => {
  expect(["5m", "1h30m", "90s", "1h", "", "x"].map(minutesOf)).toEqual([5, 90, 1.5, 60, undefined, undefined]);
  expect([5, 1.5, 90].map(timeoutOf)).toEqual(["5m", "90s", "90m"]);
});

test("hours are words, and their times have a pattern", () => {
  expect(hoursWords([{ days: "", from: "22:00", to: "07:00" }])).toBe("every day 22:00–07:00");
  const pattern = new RegExp(`^(?:${hoursPattern})$`);
  expect(["00:00", "23:59", "24:00", "24:01", "9:00"].map((one) => pattern.test(one))).toEqual([true, true, true, false, false]);
});

test("a digest is words", () => {
  expect(digestWords({ digest: { at: "", days: "" }, zone: "" })).toBe("digest on working days at 08:30 (UTC)");
  expect(digestWords({ digest: { at: "07:00", days: "off" }, zone: "UTC" })).toBe("no digest");
});

test("an id comes from a name", () => expect(idFrom("Zoë O’Neill")).toBe("zoe-o-neill"));
