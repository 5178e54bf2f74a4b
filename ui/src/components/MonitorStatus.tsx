import { CircleAlert, CircleCheck, CircleDashed, CircleDot, CirclePause, CirclePlay, CircleX, type LucideIcon } from "lucide-react";
import type { MonitorStatus } from "../lib/api";

// Each status has its own shape, so that it can be told without colour.
const looks: Record<MonitorStatus, { icon: LucideIcon; tone: string; word: string }> = {
  ok: { icon: CircleCheck, tone: "text-ok", word: "on time" },
  running: { icon: CirclePlay, tone: "text-info", word: "running" },
  late: { icon: CircleAlert, tone: "text-warn", word: "late" },
  failed: { icon: CircleX, tone: "text-bad", word: "failed" },
  missed: { icon: CircleDashed, tone: "text-bad", word: "missed" },
  paused: { icon: CirclePause, tone: "text-quiet", word: "paused" },
  new: { icon: CircleDot, tone: "text-quiet", word: "waiting" },
};

export function StatusWord({ status, className = "" }: { status: MonitorStatus; className?: string }) {
  const { icon: Icon, tone, word } = looks[status];
  return (
    <span className={`inline-flex items-center gap-1.5 text-data whitespace-nowrap ${tone} ${className}`}>
      <Icon size={14} aria-hidden />
      {word}
    </span>
  );
}

export function statusWord(status: MonitorStatus): string {
  return looks[status].word;
}
