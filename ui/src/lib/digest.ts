import type { Digest, Incident } from "./api";
import { moment } from "./calendar";
import { plural } from "./format";
import { incidentsSentence } from "./incidents";
import type { Zone } from "./time";

export function linesOf(digest: Digest, section?: Digest["sections"][number]["section"]): number {
  return digest.sections.filter((one) => !section || one.section === section).reduce((n, one) => n + one.lines.length, 0);
}

/** "2 blips healed by themselves", "1 blip healed by itself"; undefined where there was none. */
export function healedWords(healed: number): string | undefined {
  return healed === 0 ? undefined : `${plural(healed, "blip")} healed by ${healed === 1 ? "itself" : "themselves"}`;
}

/** "The next digest, Mon 08:30, has 3 lines; 2 blips healed by themselves." */
export function digestSentence(digest: Digest, zone: Zone, now: number): string {
  const lines = linesOf(digest);
  const when = digest.next_at ? `, ${moment(Date.parse(digest.next_at), zone, now)},` : "";
  if (lines === 0) return `The next digest${when} has nothing to say.`;
  const healed = healedWords(linesOf(digest, "healed"));
  return `The next digest${when} has ${plural(lines, "line")}${healed ? `; ${healed}` : ""}.`;
}

/** The first line of the overview: an open incident comes before all else, and what healed by itself after it. */
export function withIncidents(sentence: string, open: readonly Incident[], healed: number, zone: Zone, now: number): string {
  if (open.length > 0) return incidentsSentence(open, "", zone, now);
  const words = healedWords(healed);
  return words ? `${sentence} ${words} since the last digest.` : sentence;
}
