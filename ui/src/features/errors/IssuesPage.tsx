import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { ChevronDown, Search } from "lucide-react";
import { Button } from "../../components/Button";
import { IssueLine } from "../../components/IssueLine";
import { Menu, MenuChoice } from "../../components/Menu";
import { Await, PageHead, Skeleton } from "../../components/Page";
import { useRowKeys } from "../../components/useRowKeys";
import type { IssueSort } from "../../lib/addresses";
import { api, data, type Issue } from "../../lib/api";
import { count } from "../../lib/format";
import { useAnswer, useDraft, useProject, useTitle } from "../../lib/page";
import { edges } from "../../lib/query";
import { issuesSentence } from "../../lib/sentence";
import { useRange } from "../../lib/useRange";
import { useStay } from "../../lib/useStay";
import { FirstEvent } from "../setup/SetupPanel";
import { useSignals } from "../setup/useSignals";

const route = getRouteApi("/p/$project/errors");

export function IssuesPage() {
  const signals = useSignals("errors");
  if (signals && !signals.errors.received) {
    return <FirstEvent signal="errors" title="No error has arrived yet." under="Any Sentry SDK sends here: only the DSN is another. It holds this project's own key." />;
  }
  return <Issues lastAt={signals?.errors.last_at} />;
}

const sortNames: Record<IssueSort, string> = { last: "last seen", first: "newest", events: "most events", users: "most users" };

const order: Record<IssueSort, (a: Issue, b: Issue) => number> = {
  last: (a, b) => b.last_seen.localeCompare(a.last_seen),
  first: (a, b) => b.first_seen.localeCompare(a.first_seen),
  events: (a, b) => b.events - a.events,
  users: (a, b) => b.users - a.users,
};

const limit = 500;

function Issues({ lastAt }: { lastAt: string | undefined }) {
  const { project } = useProject();
  const { range, words, raw, setRaw } = useRange();
  const { q, sort = "last" } = route.useSearch();
  const navigate = route.useNavigate();
  const [text, setText] = useDraft(q ?? "");
  const queryKey = ["issues", project, range.from, range.to, q];
  const query = useStay(
    useQuery({
      queryKey,
      queryFn: ({ signal }) => data(api.GET("/projects/{project}/issues", { params: { path: { project }, query: { ...edges(range), q, limit } }, signal })),
      placeholderData: keepPreviousData,
    }),
    `${project} ${q}`,
  );
  const list = useRowKeys<HTMLUListElement>();
  const found = query.data;
  const sentence = found && (q && found.total === 0 ? `No issue matches ${words}.` : issuesSentence(found.issues, found.total, range.from, words));
  useTitle(sentence, "Errors");
  useAnswer(sentence, JSON.stringify([q, raw]));
  const newest = lastAt ? Date.parse(lastAt) : undefined;

  return (
    <>
      <PageHead title={sentence ?? "Errors"} busy={query.isPlaceholderData} />
      <form
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          void navigate({ search: (was) => ({ ...was, q: text.trim() || undefined }) });
        }}
        className="flex gap-2 px-4 pb-3"
      >
        <div className="relative max-w-140 flex-1">
          <Search size={15} className="pointer-events-none absolute top-2.5 left-2.5 text-muted" aria-hidden />
          <input
            type="search"
            aria-label="Search issues"
            placeholder="Words of the title"
            value={text}
            maxLength={200}
            autoComplete="off"
            onChange={(event) => setText(event.target.value)}
            onKeyDown={(event) => event.key === "Escape" && event.currentTarget.blur()}
            className="min-h-9 w-full rounded border border-edge bg-bg pr-2 pl-8 text-data"
          />
        </div>
        <Button type="submit" className="min-h-9">
          Run
        </Button>
        <span className="ml-auto" />
        <Menu
          align="end"
          label="Order"
          trigger={
            <Button aria-label={`Order: ${sortNames[sort]}`} className="min-h-9">
              {sortNames[sort]} <ChevronDown size={12} aria-hidden />
            </Button>
          }
        >
          <MenuChoice
            value={sort}
            onChange={(next) => void navigate({ search: (was) => ({ ...was, sort: next === "last" ? undefined : next }) })}
            choices={(Object.keys(sortNames) as IssueSort[]).map((value) => ({ value, name: sortNames[value] }))}
          />
        </Menu>
      </form>
      <Await query={query} queryKey={queryKey} skeleton={<Skeleton rows={12} />}>
        {({ issues, total }) =>
          issues.length === 0 ? (
            <div className="px-4 py-8 text-center text-muted">
              <p>{q ? "No issue has all of these words in its title." : `No errors ${words}.`}</p>
              <div className="mt-3 flex justify-center gap-2">
                {q && <Button onClick={() => void navigate({ search: (was) => ({ ...was, q: undefined }) })}>Clear the search</Button>}
                {newest !== undefined && (newest < range.from || newest >= range.to) && (
                  <Button onClick={() => setRaw({ from: new Date(newest - 12 * 3_600_000).toISOString(), to: new Date(newest + 1000).toISOString() })}>Show the newest errors</Button>
                )}
              </div>
            </div>
          ) : (
            <>
              <div aria-hidden className="grid grid-cols-[minmax(0,1fr)_9rem_5rem_4.5rem_7rem_7rem_8rem] gap-x-4 border-y border-line bg-s1 py-1.5 pr-3 pl-4 text-tiny text-muted max-lg:hidden">
                <span>Issue</span>
                <span>Over the range</span>
                <span className="text-right">Events</span>
                <span className="text-right">Users</span>
                <span>Last seen</span>
                <span>First seen</span>
                <span>Release</span>
              </div>
              <ul ref={list} aria-label="Issues" className={query.isPlaceholderData ? "stale" : ""}>
                {issues.toSorted(order[sort]).map((issue) => (
                  <li key={issue.id} className="border-b border-line [contain-intrinsic-size:auto_53px] [content-visibility:auto]">
                    <IssueLine issue={issue} from={range.from} wide />
                  </li>
                ))}
              </ul>
              {total > issues.length && (
                <p className="px-4 py-3 text-data text-muted">
                  These are the {count(issues.length)} seen last of {count(total)}. Narrow the range or search to see others.
                </p>
              )}
            </>
          )
        }
      </Await>
    </>
  );
}
