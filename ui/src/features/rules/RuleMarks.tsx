import { Archive, BellRing, CirclePause, CirclePlay, ClipboardCheck, Ghost, Inbox, Mail, PencilLine, Siren, Sparkles, Wrench, type LucideIcon } from "lucide-react";
import type { Lifecycle, RuleClass, Severity } from "../../lib/api";

// Each has its own shape, so that it can be told without colour.
const classes: Record<RuleClass, { icon: LucideIcon; tone: string; about: string }> = {
  symptom: { icon: Siren, tone: "text-ink", about: "Users feel it" },
  leading: { icon: Sparkles, tone: "text-info", about: "Users will feel it" },
  cause: { icon: Wrench, tone: "text-quiet", about: "It may be why; it never pages" },
};

export function ClassBadge({ value }: { value: RuleClass }) {
  const { icon: Icon, tone, about } = classes[value];
  return (
    <span title={about} className={`inline-flex items-center gap-1 rounded-full border border-line bg-s2 px-2 text-tiny whitespace-nowrap ${tone}`}>
      <Icon size={11} aria-hidden />
      {value}
    </span>
  );
}

const severityLooks: Record<Severity, { icon: LucideIcon; tone: string; bar: string; about: string }> = {
  page: { icon: BellRing, tone: "text-bad", bar: "bg-bar-bad", about: "Now, day and night" },
  ticket: { icon: Inbox, tone: "text-warn", bar: "bg-bar-warn", about: "In working hours" },
  mail: { icon: Mail, tone: "text-muted", bar: "bg-calm", about: "In the morning" },
};

export function SeverityWord({ value, className = "" }: { value: Severity; className?: string }) {
  const { icon: Icon, tone, about } = severityLooks[value];
  return (
    <span title={about} className={`inline-flex items-center gap-1.5 text-data whitespace-nowrap ${tone} ${className}`}>
      <Icon size={14} aria-hidden />
      {value}
    </span>
  );
}

/** The 3 px bar at the left edge of a row; its parent is positioned. */
export function SeverityBar({ value }: { value: Severity }) {
  return <span aria-hidden className={`absolute inset-y-0 left-0 w-[3px] ${severityLooks[value].bar}`} />;
}

const states: Record<Lifecycle, { icon: LucideIcon; tone: string; about: string }> = {
  draft: { icon: PencilLine, tone: "text-muted", about: "Not evaluated" },
  rehearsed: { icon: ClipboardCheck, tone: "text-info", about: "Not evaluated; it was tried on the past" },
  shadow: { icon: Ghost, tone: "text-info", about: "Evaluated, and tells nobody" },
  live: { icon: CirclePlay, tone: "text-ok", about: "Evaluated, and tells people" },
  paused: { icon: CirclePause, tone: "text-quiet", about: "Not evaluated for now" },
};

export function StateWord({ value, className = "" }: { value: Lifecycle; className?: string }) {
  const { icon: Icon, tone, about } = states[value] ?? { icon: Archive, tone: "text-muted", about: "" };
  return (
    <span title={about} className={`inline-flex items-center gap-1.5 text-data whitespace-nowrap ${tone} ${className}`}>
      <Icon size={14} aria-hidden />
      {value}
    </span>
  );
}
