import type { Severity } from "../lib/api";

const looks: Record<Severity, { bar: string; tone: string }> = {
  page: { bar: "bg-bar-bad", tone: "text-bad" },
  ticket: { bar: "bg-bar-warn", tone: "text-warn" },
  mail: { bar: "bg-calm", tone: "text-muted" },
};

/** The 3 px bar at the left edge of a row; its parent is positioned. */
export function SeverityBar({ severity }: { severity: Severity }) {
  return <span aria-hidden className={`absolute inset-y-0 left-0 w-[3px] ${looks[severity].bar}`} />;
}

export function SeverityWord({ severity, className = "" }: { severity: Severity; className?: string }) {
  return <span className={`text-data ${looks[severity].tone} ${className}`}>{severity}</span>;
}
