import type { Issue, LogHistogram, Monitor, MonitorStatus, Overview } from "./api";
import { count, percent, plural, relative, roughly } from "./format";

/** The first line of the overview: what is wrong for users, worst first, or that all is quiet. */
export function overviewSentence(overview: Overview, monitors: Monitor[] | undefined, range: string, now: number): string {
  const { errors, logs, monitors: jobs } = overview;
  const parts: string[] = [];
  const late = monitors && lateWords(monitors, now);
  if (late) parts.push(late);
  else if (jobs.late + jobs.bad > 0) parts.push(`${plural(jobs.late + jobs.bad, "job")} not on time`);
  if (errors.new_issues > 0) {
    const reach = errors.users > 0 ? `; errors reached ${plural(errors.users, "user")}` : "";
    parts.push(`${plural(errors.new_issues, "new issue")} ${range}${reach}`);
  } else if (errors.events > 0) {
    const reach = errors.users > 0 ? ` reached ${plural(errors.users, "user")}` : ` ${range}`;
    parts.push(`nothing new, but ${plural(errors.events, "error")} of ${plural(errors.issues, "known issue")}${reach}`);
  }
  if (parts.length > 0) return sentence(parts);
  const calm: string[] = [];
  if (logs.total > 0) calm.push(logs.errors > 0 ? `${count(logs.errors)} of ${plural(logs.total, "log line")} are errors` : `${plural(logs.total, "log line")}, none an error`);
  if (jobs.total > 0) calm.push(`${count(jobs.ok)} of ${plural(jobs.total, "job")} on time`);
  if (logs.errors > 0) return sentence([`No issues ${range}`, ...calm]);
  return calm.length === 0 ? `All quiet ${range}.` : `All quiet ${range}: ${calm.join("; ")}.`;
}

/** What is needed to tell that a job is not well; undefined when all are. */
function lateWords(monitors: Monitor[], now: number): string | undefined {
  const troubled = monitors.filter((m) => isTrouble(m.status));
  if (troubled.length === 0) return undefined;
  if (troubled.length > 2) return `${count(troubled.length)} of ${plural(monitors.length, "job")} need a look`;
  return troubled.map((m) => `${m.slug} ${troubleWords(m, now)}`).join(" and ");
}

export function isTrouble(status: MonitorStatus): boolean {
  return status === "late" || status === "failed" || status === "missed";
}

/** is 12 min late, failed 3 h ago, missed its run 2 h ago */
export function troubleWords(m: Monitor, now: number): string {
  const since = m.status_since ? relative(Date.parse(m.status_since), now) : "";
  switch (m.status) {
    case "late": {
      const due = m.next_expected_at ? now - Date.parse(m.next_expected_at) : 0;
      return due > 0 ? `is ${roughly(due)} late` : "is late";
    }
    case "failed":
      return since ? `failed ${since}` : "failed";
    case "missed":
      return since ? `missed its run ${since}` : "missed its run";
    default:
      return "";
  }
}

export function monitorsSentence(monitors: Monitor[], now: number): string {
  const expected = monitors.filter((m) => m.status !== "new" && m.status !== "paused");
  const troubled = expected.filter((m) => isTrouble(m.status));
  const fine = expected.length - troubled.length;
  if (monitors.every((m) => m.status === "paused")) return monitors.length === 1 ? "The monitor is paused." : `All ${plural(monitors.length, "monitor")} are paused.`;
  if (expected.length === 0) return `${plural(monitors.length, "monitor")}, waiting for a first run.`;
  if (troubled.length === 0) return expected.length === 1 ? `${expected[0]!.slug} is on time.` : `All ${count(expected.length)} jobs are on time.`;
  const head = `${count(fine)} of ${count(expected.length)} on time`;
  const named = troubled.slice(0, 2).map((m) => `${m.slug} ${troubleWords(m, now)}`);
  const more = troubled.length - named.length;
  if (more > 0) named.push(`${count(more)} more need a look`);
  return `${head}; ${named.join(", ")}.`;
}

export function logsSentence(histogram: LogHistogram, filtered: boolean, range: string): string {
  const { total, services } = histogram;
  if (total === 0) return filtered ? `No line matches ${range}.` : `No lines ${range}.`;
  const verb = filtered ? (total === 1 ? " matches" : " match") : ` ${range}`;
  const head = `${plural(total, "line")}${verb}`;
  const first = services[0];
  if (!first || total < 2) return `${head}.`;
  if (first.count >= total) return services.length === 1 && first.service ? `${head}; all come from ${first.service}.` : `${head}.`;
  return `${head}; ${percent(first.count, total)} come from ${first.service || "unnamed services"}.`;
}

export function issuesSentence(issues: Issue[], total: number, from: number, range: string): string {
  if (total === 0) return `No errors ${range}.`;
  const fresh = issues.filter((issue) => Date.parse(issue.first_seen) >= from);
  const events = issues.reduce((n, issue) => n + issue.events, 0);
  const widest = issues.reduce<Issue | undefined>((best, issue) => (issue.users > (best?.users ?? 0) ? issue : best), undefined);
  const reach = widest && widest.users > 0 ? `; ${widest.type || "the widest"} reached ${plural(widest.users, "user")}` : "";
  if (fresh.length === 0) return `No new issues; ${plural(events, "error")} of ${plural(total, "known issue")} ${range}${reach}.`;
  const known = total - fresh.length;
  return `${plural(fresh.length, "new issue")} ${range}${known > 0 ? ` and ${plural(known, "known one")}` : ""}${reach}.`;
}

/** Parts as one sentence with a capital letter, except that a job keeps its name as it is written. */
function sentence(parts: string[]): string {
  const text = parts.join("; ");
  const first = text.split(/\s/, 1)[0]!;
  const name = /[-_]/.test(first);
  return `${name ? text : text[0]!.toUpperCase() + text.slice(1)}.`;
}
