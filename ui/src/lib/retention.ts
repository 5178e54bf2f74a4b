import type { RetentionDays } from "./api";
import { plural } from "./format";

/** The signals in the order of the form. */
export const kept: { signal: keyof RetentionDays; name: string; hint: string }[] = [
  { signal: "logs", name: "Logs", hint: "Every line, with its attributes." },
  { signal: "metrics", name: "Metrics", hint: "Every sample, and the series it belongs to." },
  { signal: "errors", name: "Errors", hint: "Events with their stack. An issue itself stays, with its counts." },
  { signal: "checkins", name: "Check-ins", hint: "The runs of jobs. A monitor itself stays, with its state." },
];

/** A number of days as a person says it. */
export function daysWords(days: number): string {
  return days === 365 ? "1 year" : plural(days, "day");
}

function listed(words: string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** "Logs and metrics are kept for 30 days, errors and check-ins for 90 days." */
export function retentionSentence(days: RetentionDays): string {
  const groups = new Map<number, string[]>();
  for (const { signal, name } of kept) groups.set(days[signal], [...(groups.get(days[signal]) ?? []), name.toLowerCase()]);
  const parts = [...groups].map(([n, names], i) => `${listed(names)}${i === 0 ? " are kept" : ""} for ${daysWords(n)}`);
  const text = parts.join(", ");
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** What a change would delete: "logs older than 7 days", none for a change that only keeps more. */
export function deletes(was: RetentionDays, will: RetentionDays): string[] {
  return kept.filter(({ signal }) => will[signal] < was[signal]).map(({ signal, name }) => `${name.toLowerCase()} older than ${daysWords(will[signal])}`);
}

export function deletesSentence(was: RetentionDays, will: RetentionDays): string {
  return listed(deletes(was, will));
}
