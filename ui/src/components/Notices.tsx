import { useMutation, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { TriangleAlert, X } from "lucide-react";
import { api, type Notice } from "../lib/api";
import { plural } from "../lib/format";
import { announce, useProject } from "../lib/page";
import { noticesQuery, queryClient } from "../lib/query";
import { IconButton } from "./Button";
import { When } from "./Page";

const shown = 2;

/** What happened to the project's data without anybody's doing; nothing while all is well. What is over can be put away. */
export function Notices() {
  const { project, param } = useProject();
  const asked = noticesQuery(project);
  const { data: notices = [] } = useQuery(asked);
  const dismiss = useMutation({
    mutationFn: ({ kind, subject, at }: Notice) => api.POST("/projects/{project}/notices/dismiss", { params: { path: { project } }, body: { kind, subject, at } }),
    onSuccess: () => announce("Dismissed"),
    // It may be gone or have been told anew meanwhile.
    onSettled: () => queryClient.invalidateQueries({ queryKey: asked.queryKey }),
  });
  if (notices.length === 0) return null;
  const more = notices.length - shown;
  return (
    <div role="status" aria-label="Notices" className="mx-4 mt-1 mb-4 flex items-start gap-3 rounded border border-line border-l-[3px] border-l-warn bg-s1 px-4 py-3">
      <TriangleAlert size={16} className="mt-0.5 shrink-0 text-warn" aria-hidden />
      <div className="min-w-0 flex-1">
        <ul className="flex flex-col gap-1">
          {notices.slice(0, shown).map((one) => (
            <li key={`${one.kind} ${one.subject}`} className="flex items-start gap-2">
              <span className="min-w-0 flex-1">
                {one.message.replace(/\.$/, "")}. <When at={one.at} mode="ago" className="text-data text-muted" />
              </span>
              {!one.open && (
                <IconButton label={`Dismiss: ${one.message}`} className="-my-1" disabled={dismiss.isPending} onClick={() => dismiss.mutate(one)}>
                  <X size={16} aria-hidden />
                </IconButton>
              )}
            </li>
          ))}
          {more > 0 && <li className="text-muted">And {plural(more, "more notice")} in the last 7 days.</li>}
        </ul>
        {dismiss.error && <p className="mt-1 text-data text-bad first-letter:uppercase">{dismiss.error.message}.</p>}
        {notices.some((one) => one.kind === "disk_full_removed") && (
          <p className="mt-1 text-data text-muted">
            Give the disk more room, or{" "}
            <Link to="/p/$project/settings" params={{ project: param }} className="text-accent underline underline-offset-2">
              keep less
            </Link>
            .
          </p>
        )}
      </div>
    </div>
  );
}
