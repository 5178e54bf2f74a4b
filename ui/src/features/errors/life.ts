import type { Issue, IssueResolution } from "../../lib/api";

/** Where the fix of an issue may be, in words; the first is what the button does. */
export function fixes(newest: string | undefined): { fix: IssueResolution; name: string; about: string }[] {
  const now = { fix: { in: "now" as const }, name: "Now", about: "Any later event brings it back" };
  if (!newest) return [now];
  return [
    now,
    { fix: { in: "next_release" }, name: "In the next release", about: "Events of the releases so far do not bring it back" },
    { fix: { in: "release", release: newest }, name: `In ${newest}`, about: "Events of older releases do not bring it back" },
  ];
}

/** Where the fix is, as the end of a sentence; empty where it is in whatever runs. */
export function fixedIn(issue: Pick<Issue, "resolved_in" | "resolved_release">): string {
  if (issue.resolved_in === "next_release") return ", fixed in the next release";
  return issue.resolved_release ? `, fixed in ${issue.resolved_release}` : "";
}

/** What is said aloud once an issue is resolved. */
export function resolvedWords(fix: IssueResolution): string {
  if (fix.in === "next_release") return "Resolved in the next release";
  return fix.release ? `Resolved in ${fix.release}` : "Resolved";
}
