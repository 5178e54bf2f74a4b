import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Button, CopyButton } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { Await, ErrorNote, Panel } from "../../components/Page";
import { Snippets } from "../../components/Snippets";
import { api, data, type Badges } from "../../lib/api";
import { announce, useProject } from "../../lib/page";
import { badgesQuery, queryClient } from "../../lib/query";
import { badgeSnippets } from "../../lib/snippets";

/** What a project shows to those who know an address: badges of its monitors, and a page with all of them. */
export function BadgesPanel() {
  const { project } = useProject();
  const asked = badgesQuery(project);
  const badges = useQuery(asked);
  return (
    <Panel title="Badges and status page" className="mt-4 overflow-hidden">
      <Await query={badges} queryKey={asked.queryKey}>
        {(found) => <Settings found={found} />}
      </Await>
    </Panel>
  );
}

function Settings({ found }: { found: Badges }) {
  const { project } = useProject();
  const [asking, setAsking] = useState(false);
  const path = { params: { path: { project } } };
  const keep = (answer: Badges) => queryClient.setQueryData(badgesQuery(project).queryKey, answer);
  const show = useMutation({
    mutationFn: (shown: boolean) => data(api.PUT("/projects/{project}/badges", { ...path, body: { status_page: shown } })),
    onSuccess: (answer) => {
      keep(answer);
      announce(answer.status_page ? "The status page is public" : "The status page is not shown any more");
    },
  });
  const replace = useMutation({
    mutationFn: () => data(api.POST("/projects/{project}/badges/key", path)),
    onSuccess: (answer) => {
      keep(answer);
      announce("Addresses replaced");
      setAsking(false);
    },
  });
  return (
    <>
      <label className="flex cursor-pointer items-start gap-2 px-4 pt-3">
        <input type="checkbox" checked={found.status_page} disabled={show.isPending} onChange={(event) => show.mutate(event.target.checked)} className="mt-1 accent-(--accent)" />
        <span>
          Public status page
          <span className="block text-data text-muted">
            Names and states of all monitors, when they ran and how long they took, for anybody who knows its address. No output of a job and no key that can send.
          </span>
        </span>
      </label>
      {found.status_page && (
        <div className="flex flex-wrap items-center gap-x-3 gap-y-1 px-4 pt-2 pl-10">
          <a href={found.status_url} target="_blank" rel="noreferrer" className="font-mono text-data text-accent underline underline-offset-2 wrap-anywhere">
            {found.status_url}
          </a>
          <CopyButton text={found.status_url} />
        </div>
      )}
      {show.error && <ErrorNote className="m-4" error={show.error} />}
      <div className="flex flex-wrap items-center justify-between gap-2 px-4 py-3">
        <p className="text-data text-muted">The badge of all monitors; each monitor's page has its own.</p>
        <img src={new URL(found.badge_url).pathname} alt="Badge of all monitors" height={20} />
      </div>
      <div className="border-t border-line">
        <Snippets key={found.badge_url} all={badgeSnippets(found.badge_url)} label="Ways to show the badge" />
      </div>
      <div className="flex flex-wrap items-center gap-x-3 gap-y-2 border-t border-line px-4 py-3">
        <Button onClick={() => setAsking(true)}>Replace the addresses</Button>
        <p className="text-data text-muted">When they are known to somebody who should not know them.</p>
      </div>
      {asking && (
        <Confirm label="Replace the addresses?" button="Replace" busy="Replacing…" action={replace} onClose={() => setAsking(false)}>
          <p>Badges that are shown anywhere and links to the status page stop to work. Pings are not touched.</p>
        </Confirm>
      )}
    </>
  );
}
