import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { Await, Empty, Panel, Skeleton, When } from "../../components/Page";
import { api, data, type Transition } from "../../lib/api";
import { useProject } from "../../lib/page";
import { edges } from "../../lib/query";
import { useRange } from "../../lib/useRange";
import { IncidentLink } from "../deliveries/IncidentLink";
import { RuleEditor } from "./RuleEditor";

const route = getRouteApi("/p/$project/rules/$id");

export function RulePage() {
  const { project } = useProject();
  const { id } = route.useParams();
  const queryKey = ["rule", project, id];
  const query = useQuery({
    queryKey,
    queryFn: ({ signal }) => data(api.GET("/projects/{project}/rules/{id}", { params: { path: { project, id } }, signal })),
    refetchOnMount: "always",
  });
  // What is edited is what is there now, and not what was looked at some time ago.
  const fresh = { ...query, data: query.isFetchedAfterMount ? query.data : undefined };
  return (
    <>
      {!fresh.data && <h1 className="sr-only">Rule {id}</h1>}
      <Await query={fresh} queryKey={queryKey} skeleton={<Skeleton rows={12} />}>
        {(found) => (
          <RuleEditor key={`${project} ${id}`} start={found.rule} stored={found}>
            <History id={id} />
          </RuleEditor>
        )}
      </Await>
    </>
  );
}

const words: Record<string, string> = {
  trigger: "fired", fire: "fired", resolve: "resolved", reopened: "fired again", flapping: "flaps", transient: "healed by itself", recurring: "keeps coming back",
  inconclusive: "undecided", nodata: "no data", update: "changed", rebound: "bad again",
};

function History({ id }: { id: string }) {
  const { project } = useProject();
  const { range, words: when } = useRange();
  const queryKey = ["rule-history", project, id, range.from, range.to];
  const query = useQuery({
    queryKey,
    queryFn: async ({ signal }) =>
      (await data(api.GET("/projects/{project}/rules/{id}/history", { params: { path: { project, id }, query: edges(range) }, signal }))).transitions,
  });
  return (
    <Panel title="What it did">
      <Await query={query} queryKey={queryKey}>
        {(all) => (all.length === 0 ? <Empty>Nothing {when}.</Empty> : <ul className="max-h-80 overflow-auto">{all.map((one) => <Row key={one.id} one={one} />)}</ul>)}
      </Await>
    </Panel>
  );
}

function Row({ one }: { one: Transition }) {
  const reason = one.details?.reason;
  return (
    <li className="flex min-h-8 flex-wrap items-center gap-x-4 border-b border-line px-3 py-1 text-data last:border-b-0">
      <When at={one.at} precision="second" className="text-muted" />
      <span className="font-medium">{words[one.kind] ?? one.kind.replaceAll("_", " ")}</span>
      <span className="min-w-0 flex-1 font-mono wrap-anywhere">{one.group}</span>
      {typeof reason === "string" && <span className="text-muted">{reason.replaceAll("_", " ")}</span>}
      {one.incident && (
        <IncidentLink id={one.incident} />
      )}
    </li>
  );
}
