import { CircleCheck, RotateCcw } from "lucide-react";
import type { Issue } from "../lib/api";

const looks = {
  resolved: { icon: CircleCheck, tone: "border-line text-ok" },
  regressed: { icon: RotateCcw, tone: "border-current text-bad" },
} as const;

/** What became of an issue; nothing while it is simply open. */
export function IssueStatus({ status }: { status: Issue["status"] }) {
  if (status === "unresolved") return null;
  const { icon: Icon, tone } = looks[status];
  return (
    <span className={`inline-flex shrink-0 items-baseline gap-1 rounded-sm border px-1 text-tiny leading-4 ${tone}`}>
      <Icon size={11} className="self-center" aria-hidden />
      {status}
    </span>
  );
}
