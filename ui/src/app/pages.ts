import { Activity, CalendarCheck, ChartLine, OctagonAlert, Radar, ScrollText, type LucideIcon } from "lucide-react";

/** The rail, top to bottom; key follows g. */
export const pages = [
  { to: "/p/$project/overview", name: "Overview", key: "o", icon: Activity },
  { to: "/p/$project/logs", name: "Logs", key: "l", icon: ScrollText },
  { to: "/p/$project/metrics", name: "Metrics", key: "m", icon: ChartLine },
  { to: "/p/$project/errors", name: "Errors", key: "e", icon: OctagonAlert },
  { to: "/p/$project/monitors", name: "Monitors", key: "c", icon: CalendarCheck },
  { to: "/p/$project/probes", name: "Probes", key: "p", icon: Radar },
] as const satisfies { to: string; name: string; key: string; icon: LucideIcon }[];
