import { useMutation } from "@tanstack/react-query";
import { Check, ChevronDown, Undo2 } from "lucide-react";
import { Button } from "../../components/Button";
import { IssueStatus } from "../../components/IssueStatus";
import { Menu, MenuItem, MenuLabel } from "../../components/Menu";
import { ErrorNote, Kbd, When } from "../../components/Page";
import { api, data, type Issue, type IssueResolution } from "../../lib/api";
import { useKeys } from "../../lib/keys";
import { announce, useProject } from "../../lib/page";
import { usePref } from "../../lib/prefs";
import { queryClient } from "../../lib/query";
import { fixedIn, fixes, resolvedWords } from "./life";

/** What became of an issue, and what a person says of it. */
export function IssueActions({ issue, newest }: { issue: Issue; newest: string | undefined }) {
  const { project } = useProject();
  const keys = usePref("keys");
  const path = { params: { path: { project, issue: issue.id } } };
  const change = useMutation({
    mutationFn: async (fix: IssueResolution | undefined) => {
      if (fix) await data(api.POST("/projects/{project}/issues/{issue}/resolve", { ...path, body: fix }));
      else await data(api.POST("/projects/{project}/issues/{issue}/reopen", path));
    },
    onSuccess: async (_, fix) => {
      announce(fix ? resolvedWords(fix) : "Reopened");
      await Promise.all([["issue", project, issue.id], ["issues", project], ["overview", project]].map((queryKey) => queryClient.invalidateQueries({ queryKey })));
    },
  });
  const resolved = issue.status === "resolved";
  const [now, ...others] = fixes(newest);
  const toggle = () => {
    if (change.isPending) return false;
    change.mutate(resolved ? undefined : now?.fix);
    return true;
  };
  useKeys({ d: toggle });
  const hint = keys && (
    <span className="max-md:hidden">
      <Kbd>d</Kbd>
    </span>
  );
  return (
    <div className="flex flex-wrap items-center gap-x-4 gap-y-2 px-4 pb-3">
      <div role="group" aria-label="Actions" className="flex items-center gap-1">
        <Button disabled={change.isPending} aria-keyshortcuts="d" title={resolved ? undefined : now?.about} className="max-md:min-h-9" onClick={toggle}>
          {resolved ? <Undo2 size={14} aria-hidden /> : <Check size={14} aria-hidden />}
          {resolved ? "Reopen" : "Resolve"} {hint}
        </Button>
        {!resolved && others.length > 0 && (
          <Menu
            label="Resolve in a release"
            trigger={
              <Button tight disabled={change.isPending} aria-label="Resolve in a release" className="max-md:min-h-9">
                <ChevronDown size={14} aria-hidden />
              </Button>
            }
          >
            <MenuLabel>Resolve, fixed</MenuLabel>
            {others.map((one) => (
              <MenuItem key={one.name} onSelect={() => change.mutate(one.fix)}>
                <span className="max-w-80 py-1">
                  <span className="block truncate">{one.name}</span>
                  <span className="block text-tiny text-muted">{one.about}</span>
                </span>
              </MenuItem>
            ))}
          </Menu>
        )}
      </div>
      <Life issue={issue} />
      {change.error && <ErrorNote className="basis-full" error={change.error} />}
    </div>
  );
}

function Life({ issue }: { issue: Issue }) {
  if (issue.status === "unresolved" || !issue.resolved_at) return null;
  return (
    <p className="flex min-w-0 flex-wrap items-baseline gap-x-2 text-data">
      <IssueStatus status={issue.status} />
      {issue.status === "regressed" && issue.regressed_at && (
        <span>
          back <When at={issue.regressed_at} />
          {issue.regressed_release && <span className="break-all"> in {issue.regressed_release}</span>}
        </span>
      )}
      <span className="text-muted">
        resolved <When at={issue.resolved_at} />
        {issue.resolved_by && <span className="break-all"> by {issue.resolved_by}</span>}
        <span className="break-all">{fixedIn(issue)}</span>
      </span>
    </p>
  );
}
