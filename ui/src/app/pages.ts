import { Activity, BellRing, CalendarCheck, ChartLine, ListChecks, OctagonAlert, ScrollText, Send, Split, type LucideIcon } from "lucide-react";

/** The rail, top to bottom; key follows g. */
export const pages = [
  { to: "/p/$project/overview", name: "Overview", key: "o", icon: Activity },
  { to: "/p/$project/logs", name: "Logs", key: "l", icon: ScrollText },
  { to: "/p/$project/metrics", name: "Metrics", key: "m", icon: ChartLine },
  { to: "/p/$project/errors", name: "Errors", key: "e", icon: OctagonAlert },
  { to: "/p/$project/monitors", name: "Monitors", key: "c", icon: CalendarCheck },
  { to: "/p/$project/rules", name: "Rules", key: "r", icon: BellRing },
] as const satisfies { to: string; name: string; key: string; icon: LucideIcon }[];

/** Who is told by rules: pages beside that of the rules, which have keys and stand in the palette, but not in the rail. */
export const rulePages = [
  { to: "/p/$project/rules", name: "Rules", key: "r", icon: ListChecks },
  { to: "/p/$project/receivers", name: "Receivers", key: "v", icon: Send },
  { to: "/p/$project/routes", name: "Routes", key: "t", icon: Split },
  { to: "/p/$project/deliveries", name: "Deliveries", key: "d", icon: ScrollText },
] as const satisfies { to: string; name: string; key: string; icon: LucideIcon }[];
