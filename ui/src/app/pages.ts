import { Activity, BellOff, BellRing, CalendarCheck, ChartLine, OctagonAlert, Phone, Radar, ScrollText, Siren, Sunrise, type LucideIcon } from "lucide-react";

/** The rail, top to bottom; key follows g. */
export const pages = [
  { to: "/p/$project/overview", name: "Overview", key: "o", icon: Activity },
  { to: "/p/$project/incidents", name: "Incidents", key: "a", icon: Siren },
  { to: "/p/$project/logs", name: "Logs", key: "l", icon: ScrollText },
  { to: "/p/$project/metrics", name: "Metrics", key: "m", icon: ChartLine },
  { to: "/p/$project/errors", name: "Errors", key: "e", icon: OctagonAlert },
  { to: "/p/$project/monitors", name: "Monitors", key: "c", icon: CalendarCheck },
  { to: "/p/$project/probes", name: "Probes", key: "p", icon: Radar },
  { to: "/p/$project/rules", name: "Rules", key: "r", icon: BellRing },
] as const satisfies { to: string; name: string; key: string; icon: LucideIcon }[];

/** Pages that have a key and a name in the palette, but no place in the rail. */
export const morePages = [
  { to: "/p/$project/oncall", name: "On call", key: "n", icon: Phone },
  { to: "/p/$project/silences", name: "Silences", key: "s", icon: BellOff },
  { to: "/p/$project/digest", name: "Digest", key: "d", icon: Sunrise },
] as const satisfies { to: string; name: string; key: string; icon: LucideIcon }[];

/** Who is told by rules: pages beside that of the rules, which have keys and stand in the palette, but not in the rail. */
export const rulePages = [
  { to: "/p/$project/rules", name: "Rules", key: "r", icon: BellRing },
  { to: "/p/$project/receivers", name: "Receivers", key: "v", icon: BellRing },
  { to: "/p/$project/routes", name: "Routes", key: "t", icon: BellRing },
  { to: "/p/$project/deliveries", name: "Deliveries", key: "y", icon: BellRing },
] as const satisfies { to: string; name: string; key: string; icon: LucideIcon }[];
