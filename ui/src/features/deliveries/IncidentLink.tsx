import { Link } from "@tanstack/react-router";
import { useProject } from "../../lib/page";

export function IncidentLink({ id }: { id: string }) {
  const { param } = useProject();
  return (
    <Link to="/p/$project/incidents/$incident" params={{ project: param, incident: id }} className="relative text-accent underline underline-offset-2">
      incident
    </Link>
  );
}
