import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useId } from "react";
import { AlertTabs } from "../../components/AlertTabs";
import { fieldClass } from "../../components/Field";
import { Await, Empty, PageHead, Panel, When } from "../../components/Page";
import { useRowKeys } from "../../components/useRowKeys";
import { digestQuery, teamsQuery } from "../../lib/alerting";
import type { Digest } from "../../lib/api";
import { digestSentence } from "../../lib/digest";
import { roughly } from "../../lib/format";
import { proseTimes, spanWords } from "../../lib/incidents";
import { useAnswer, useNow, useProject, useTitle } from "../../lib/page";
import { usePref } from "../../lib/prefs";

const route = getRouteApi("/p/$project/digest");

export function DigestPage() {
  const { project } = useProject();
  const { team } = route.useSearch();
  const navigate = route.useNavigate();
  const id = useId();
  const zone = usePref("zone");
  const now = useNow();
  const teams = useQuery(teamsQuery(project)).data;
  const options = digestQuery(project, team);
  const query = useQuery(options);
  const list = useRowKeys<HTMLDivElement>();
  const sentence = query.data && digestSentence(query.data, zone, now);
  useTitle(sentence, "Digest");
  useAnswer(sentence, `${project} ${team}`);
  return (
    <>
      <AlertTabs />
      <PageHead
        title={sentence ?? "Digest"}
        under="What nobody was woken for. This is what the next digest says as of now."
        actions={
          teams && teams.length > 0 ? (
            <>
              <label htmlFor={id} className="text-data text-muted">
                Team
              </label>
              <select id={id} value={team ?? ""} onChange={(event) => void navigate({ search: (was) => ({ ...was, team: event.target.value || undefined }) })} className={`${fieldClass} w-auto!`}>
                <option value="">all teams</option>
                {teams.map((one) => (
                  <option key={one.team.id} value={one.team.id}>
                    {one.team.name}
                  </option>
                ))}
              </select>
            </>
          ) : undefined
        }
      />
      <Await query={query} queryKey={options.queryKey}>
        {(digest) => (
          <div ref={list} className="flex max-w-230 flex-col gap-4 px-4 pb-8">
            {digest.sections.map((one) => (
              <Section key={one.section} section={one} />
            ))}
            {digest.sections.length === 0 && <Empty>Nothing has come and gone since the last one.</Empty>}
          </div>
        )}
      </Await>
    </>
  );
}

/** Where a line leads to: what could be otherwise with its rule, as in the mail. */
const wishes = [
  ["#sooner", "Page sooner"],
  ["#never", "Never tell"],
] as const;
const faults = [["", "The rule"]] as const;

function Section({ section }: { section: Digest["sections"][number] }) {
  const zone = usePref("zone");
  const now = useNow();
  const { param } = useProject();
  return (
    <Panel title={section.title} more={<span className="text-data text-muted">{section.lines.length}</span>}>
      <ul>
        {section.lines.map((line) => {
          const detail = (name: string) => (typeof line.details?.[name] === "string" ? line.details[name] : "");
          const rule = detail("rule");
          const incident = detail("incident");
          const from = detail("from");
          const to = detail("to");
          return (
            <li key={line.id} className="border-b border-line px-3 py-2 last:border-b-0">
              <p className="wrap-anywhere">{proseTimes(line.text, zone, now)}</p>
              <p className="flex flex-wrap gap-x-4 text-data text-muted">
                {from && to ? <span>{`${spanWords(from, to, zone, now)} (${roughly(Date.parse(to) - Date.parse(from))})`}</span> : <When at={line.at} />}
                {incident && (
                  <Link data-row to="/p/$project/incidents/$incident" params={{ project: param, incident }} className="text-accent underline underline-offset-2">
                    What happened
                  </Link>
                )}
                {rule &&
                  (section.section === "health" ? faults : wishes).map(([anchor, name]) => (
                    <a key={anchor} data-row href={`/p/${line.project || param}/rules/${encodeURIComponent(rule)}${anchor}`} className="text-accent underline underline-offset-2">
                      {name}
                    </a>
                  ))}
              </p>
            </li>
          );
        })}
      </ul>
    </Panel>
  );
}
