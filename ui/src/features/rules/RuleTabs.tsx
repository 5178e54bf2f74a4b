import { Link } from "@tanstack/react-router";
import { rulePages } from "../../app/pages";
import { useProject } from "../../lib/page";

/** The way between the pages that say who is told of what. */
export function RuleTabs() {
  const { param } = useProject();
  return (
    <nav aria-label="Rules and receivers" className="flex gap-1 overflow-x-auto border-b border-line px-3">
      {rulePages.map(({ to, name, key }) => (
        <Link
          key={to}
          to={to}
          params={{ project: param }}
          title={`${name} (g ${key})`}
          activeOptions={{ includeSearch: false }}
          className="-mb-px flex min-h-9 shrink-0 items-center border-b-2 border-transparent px-2 text-data text-muted hover:text-ink aria-[current=page]:border-accent aria-[current=page]:text-ink"
        >
          {name}
        </Link>
      ))}
    </nav>
  );
}
