import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { TriangleAlert } from "lucide-react";
import { plural } from "../lib/format";
import { useProject } from "../lib/page";
import { noticesQuery } from "../lib/query";
import { When } from "./Page";

const shown = 2;

/** What happened to the project's data without anybody's doing; nothing while all is well. */
export function Notices() {
  const { project, param } = useProject();
  const { data: notices = [] } = useQuery(noticesQuery(project));
  if (notices.length === 0) return null;
  const more = notices.length - shown;
  return (
    <div role="status" aria-label="Notices" className="mx-4 mt-1 mb-4 flex items-start gap-3 rounded border border-line border-l-[3px] border-l-warn bg-s1 px-4 py-3">
      <TriangleAlert size={16} className="mt-0.5 shrink-0 text-warn" aria-hidden />
      <div className="min-w-0 flex-1">
        <ul className="flex flex-col gap-1">
          {notices.slice(0, shown).map((one) => (
            <li key={one.message}>
              {one.message}. <When at={one.at} mode="ago" className="text-data text-muted" />
            </li>
          ))}
          {more > 0 && <li className="text-muted">And {plural(more, "more notice")} like it in the last 7 days.</li>}
        </ul>
        <p className="mt-1 text-data text-muted">
          Give the disk more room, or{" "}
          <Link to="/p/$project/settings" params={{ project: param }} className="text-accent underline underline-offset-2">
            keep less
          </Link>
          .
        </p>
      </div>
    </div>
  );
}
