import { Link } from "@tanstack/react-router";
import { useProject } from "../lib/page";

const tabs = [
  { to: "/p/$project/incidents", name: "Incidents" },
  { to: "/p/$project/oncall", name: "On call" },
  { to: "/p/$project/silences", name: "Silences" },
  { to: "/p/$project/digest", name: "Digest" },
] as const;

/** The pages of those who are on call, side by side. */
export function AlertTabs() {
  const { param } = useProject();
  return (
    <nav aria-label="Alerting" className="flex gap-1 overflow-x-auto border-b border-line px-3 print:hidden">
      {tabs.map(({ to, name }) => (
        <Link
          key={to}
          to={to}
          params={{ project: param }}
          activeOptions={{ includeSearch: false }}
          className="flex min-h-9 shrink-0 items-center border-b-2 border-transparent px-2 text-data text-muted hover:text-ink aria-[current=page]:border-accent aria-[current=page]:text-ink"
        >
          {name}
        </Link>
      ))}
    </nav>
  );
}
