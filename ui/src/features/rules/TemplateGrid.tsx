import { Link } from "@tanstack/react-router";
import { useProject } from "../../lib/page";
import { templates } from "./templates";

/** What a rule may begin with; each leads to a form that is filled in for the service. */
export function TemplateGrid({ service, monitor }: { service: string; monitor?: string }) {
  const { param } = useProject();
  return (
    <ul aria-label="Templates" className="grid gap-2 px-4 sm:grid-cols-2 xl:grid-cols-3">
      {templates.map((one) => (
        <li key={one.id}>
          <Link
            to="/p/$project/rules/new"
            params={{ project: param }}
            search={{ template: one.id, ...(service ? { service } : {}), ...(monitor ? { monitor } : {}) }}
            className="block h-full rounded border border-line bg-s1 px-3 py-2.5 hover:border-edge hover:bg-s2"
          >
            <span className="font-medium">{one.name}</span>
            <span className="mt-0.5 block text-data text-muted">{one.about}</span>
          </Link>
        </li>
      ))}
    </ul>
  );
}
