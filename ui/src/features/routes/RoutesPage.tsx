import { useMutation, useQuery } from "@tanstack/react-query";
import { ArrowDown, ArrowUp, Pencil, Plus, Trash2 } from "lucide-react";
import { useId, useState } from "react";
import { Button, IconButton } from "../../components/Button";
import { Field, fieldClass } from "../../components/Field";
import { Await, ErrorNote, PageHead, Panel, Skeleton } from "../../components/Page";
import { api, ApiError, data, type Matcher, type Route, type StoredRoutes } from "../../lib/api";
import { plural } from "../../lib/format";
import { useKeys } from "../../lib/keys";
import { announce, useAnswer, useProject, useTitle } from "../../lib/page";
import { queryClient } from "../../lib/query";
import { policiesQuery, teamsQuery } from "../rules/queries";
import { RuleTabs } from "../rules/RuleTabs";
import { MatchRows } from "./MatchRows";
import { defaultGroupBy, find, freshID, labelsOf, moved } from "./routing";

const labels = ["service", "environment", "area", "severity", "kind", "rule", "project", "team"];

export function RoutesPage() {
  const { project } = useProject();
  const queryKey = ["routes", project];
  const query = useQuery({ queryKey, queryFn: ({ signal }) => data(api.GET("/projects/{project}/routes", { params: { path: { project } }, signal })) });
  const n = query.data?.routes.routes?.length ?? 0;
  const sentence = query.data && (query.data.meta.version === 0 ? "Nobody has said yet who gets what." : `${plural(n, "route")} ${n === 1 ? "says" : "say"} who gets what.`);
  useTitle(sentence, "Routes");
  useAnswer(sentence, String(project));
  return (
    <div className="pb-10">
      <RuleTabs />
      <PageHead title={sentence ?? "Routes"} under="From the top, the first route that matches is taken; the last one matches everything. They are for the whole organisation." />
      <Await query={query} queryKey={queryKey} skeleton={<Skeleton rows={6} />}>
        {(found) => <Editor key={found.meta.version} found={found} />}
      </Await>
    </div>
  );
}

const emptyRoute = (routes: readonly Route[], team: string): Route => ({ id: freshID(routes), matchers: [{ label: "service", op: "=", value: "" }], team, policy: "" });

function Editor({ found }: { found: StoredRoutes }) {
  const { project } = useProject();
  const teams = useQuery(teamsQuery(project)).data?.map(({ team }) => team) ?? [];
  const policies = useQuery(policiesQuery(project)).data?.map(({ policy }) => policy) ?? [];
  const stored = found.routes.routes ?? [];
  const [typed, setRoutes] = useState<Route[] | undefined>(undefined);
  // Without routes there is still one that has to be: the default.
  const routes = typed ?? (stored.length > 0 ? stored : [{ id: "default", matchers: [], team: teams[0]?.id ?? "", policy: "" }]);
  const [open, setOpen] = useState<string | undefined>(stored.length === 0 ? "default" : undefined);
  const [text, setText] = useState("");
  const changed = typed !== undefined || stored.length === 0;
  const tested = labelsOf(text);
  const places = text.trim() === "" ? [] : find(routes, tested);
  const lit = new Set(places.flatMap((one) => one.path));
  const teamName = (id: string) => teams.find((one) => one.id === id)?.name ?? id;
  const policyName = (id: string) => policies.find((one) => one.id === id)?.name ?? id;
  const save = useMutation({
    mutationFn: () => data(api.PUT("/projects/{project}/routes", { params: { path: { project }, query: { version: found.meta.version } }, body: { routes } })),
    onSuccess: (answer) => {
      queryClient.setQueryData(["routes", project], answer);
      announce("Routes saved");
    },
  });
  useKeys({ Escape: () => (open ? setOpen(undefined) : false) });
  const problems = save.error instanceof ApiError ? save.error.problems : [];
  return (
    <div className="grid items-start gap-4 px-4 xl:grid-cols-[minmax(0,1fr)_24rem]">
      <div className="min-w-0">
        {teams.length === 0 && <p className="mb-3 text-data text-warn">There is no team yet: a route leads to one, so make a team first.</p>}
        <List {...{ routes, open, lit, teams, policies, teamName, policyName }} all={routes} prefix="routes" problems={problems} top onOpen={setOpen} onChange={setRoutes} />
        <div className="mt-3 flex flex-wrap gap-2">
          <Button
            onClick={() => {
              const fresh = emptyRoute(routes, teams[0]?.id ?? "");
              setRoutes([fresh, ...routes]);
              setOpen(fresh.id);
            }}
          >
            <Plus size={14} aria-hidden /> Add a route
          </Button>
          <Button kind={changed ? "primary" : "plain"} disabled={!changed || save.isPending} onClick={() => save.mutate()}>
            {save.isPending ? "Saving…" : "Save routes"}
          </Button>
          {typed !== undefined && (
            <Button kind="ghost" onClick={() => setRoutes(undefined)}>
              Discard
            </Button>
          )}
        </div>
        {save.error && <ErrorNote className="mt-3" error={save.error} />}
      </div>
      <Panel title="Where would this go?">
        <div className="flex flex-col gap-3 p-3">
          <Field label="Labels" value={text} onChange={(event) => setText(event.target.value)} placeholder="service=checkout, severity=page" className="[&_input]:font-mono" hint="As they are above, saved or not." autoComplete="off" spellCheck={false} />
          {text.trim() !== "" && (
            <div role="status">
              {places.length === 0 && <p className="text-warn">To nobody: no route matches.</p>}
              {places.map((one) => (
                <p key={one.path.join(" ")} className="mb-2">
                  To <b className="font-medium">{one.team ? teamName(one.team) : "no team"}</b>, by {one.policy ? policyName(one.policy) : "the team's policy"}
                  <span className="block text-data text-muted">
                    {one.path.join(" → ")}; one incident for each {one.groupBy.join(", ")}
                  </span>
                </p>
              ))}
            </div>
          )}
        </div>
      </Panel>
    </div>
  );
}

interface ListProps {
  routes: readonly Route[];
  all: readonly Route[];
  prefix: string;
  problems: ApiError["problems"];
  open: string | undefined;
  lit: ReadonlySet<string>;
  teams: readonly { id: string; name: string }[];
  policies: readonly { id: string; name: string }[];
  teamName: (id: string) => string;
  policyName: (id: string) => string;
  top: boolean;
  onOpen: (id: string | undefined) => void;
  onChange: (routes: Route[]) => void;
}

function List(props: ListProps) {
  const { routes, all, prefix, problems, open, lit, teamName, policyName, top, onOpen, onChange } = props;
  return (
    <ol aria-label={top ? "Routes" : "Routes inside"} className={top ? "rounded border border-line bg-s1" : "border-t border-line pl-5"}>
      {routes.map((route, i) => {
        const fixed = top && i === routes.length - 1;
        const wrong = problems.filter((one) => one.field.startsWith(`${prefix}[${i}].`) && !one.field.startsWith(`${prefix}[${i}].routes`));
        const change = (next: Route) => onChange(routes.map((one, at) => (at === i ? next : one)));
        return (
          <li key={i} className={`border-b border-line last:border-b-0 ${lit.has(route.id) ? "bg-accent-soft" : ""}`}>
            <div className="flex flex-wrap items-center gap-x-3 gap-y-1 px-3 py-2">
              <div className="min-w-0 flex-1 basis-60">
                <p className="wrap-anywhere">
                  {(route.matchers ?? []).length === 0 ? <span>{top ? "Everything else" : "Everything"}</span> : <code className="font-mono text-data">{route.matchers!.map(matcherText).join(", ")}</code>}
                  <span className="text-muted"> → </span>
                  <span className="font-medium">{route.team ? teamName(route.team) : top ? "no team" : "the team around it"}</span>
                  {route.policy && <span className="text-muted">, by {policyName(route.policy)}</span>}
                </p>
                <p className="text-data text-muted">
                  {route.id}
                  {route.group_by?.length ? `; for each ${route.group_by.join(", ")}` : ""}
                  {route.continue ? "; goes on" : ""}
                </p>
                {wrong.map((one) => (
                  <p key={one.field + one.message} className="text-data text-bad">
                    {one.field.slice(prefix.length + 4)}: {one.message}
                  </p>
                ))}
              </div>
              <div className="flex">
                {!fixed && (
                  <>
                    <IconButton label={`Move ${route.id} up`} disabled={i === 0} onClick={() => onChange(moved(routes, i, -1, top))}>
                      <ArrowUp size={14} aria-hidden />
                    </IconButton>
                    <IconButton label={`Move ${route.id} down`} disabled={i >= routes.length - (top ? 2 : 1)} onClick={() => onChange(moved(routes, i, 1, top))}>
                      <ArrowDown size={14} aria-hidden />
                    </IconButton>
                  </>
                )}
                <IconButton label={`Edit ${route.id}`} aria-expanded={open === route.id} onClick={() => onOpen(open === route.id ? undefined : route.id)}>
                  <Pencil size={14} aria-hidden />
                </IconButton>
                {!fixed && (
                  <IconButton label={`Remove ${route.id}`} onClick={() => onChange(routes.filter((_, at) => at !== i))}>
                    <Trash2 size={14} aria-hidden />
                  </IconButton>
                )}
              </div>
            </div>
            {open === route.id && <RouteForm {...props} route={route} fixed={fixed} onRoute={change} />}
            {route.routes && route.routes.length > 0 && (
              <List {...props} routes={route.routes} all={all} prefix={`${prefix}[${i}].routes`} top={false} onChange={(inner) => change({ ...route, routes: inner })} />
            )}
          </li>
        );
      })}
    </ol>
  );
}

function matcherText({ label, op, value }: Matcher): string {
  return `${label || "…"}${op}${value || '""'}`;
}

function RouteForm({ route, fixed, all, teams, policies, top, onRoute, onOpen }: ListProps & { route: Route; fixed: boolean; onRoute: (route: Route) => void }) {
  const ids = useId();
  return (
    <div className="flex flex-col gap-3 border-t border-line bg-bg p-3">
      {fixed ? (
        <p className="text-data text-muted">The last route takes whatever no other took.</p>
      ) : (
        <MatchRows value={route.matchers ?? []} onChange={(matchers) => onRoute({ ...route, matchers })} labels={labels} what={`route ${route.id}`} none="Without a condition it matches everything." />
      )}
      <div className="grid gap-3 sm:grid-cols-2">
        <Choice id={`${ids}t`} label="Team" none={top ? "choose one" : "that of the route around it"} all={teams} value={route.team} onChange={(team) => onRoute({ ...route, team })} />
        <Choice id={`${ids}p`} label="Policy" none="the team's" all={policies} value={route.policy} onChange={(policy) => onRoute({ ...route, policy })} />
        <Field
          label="One incident for each"
          defaultValue={route.group_by?.join(", ") ?? ""}
          placeholder={defaultGroupBy.join(", ")}
          className="[&_input]:font-mono"
          onChange={(event) => {
            const by = event.target.value.split(",").map((one) => one.trim()).filter(Boolean);
            const { group_by: _by, ...rest } = route;
            onRoute(by.length > 0 ? { ...rest, group_by: by } : rest);
          }}
        />
        <Field
          key={route.id}
          label="Id"
          defaultValue={route.id}
          pattern="[a-z0-9][a-z0-9_\-]{0,99}"
          className="[&_input]:font-mono"
          onBlur={(event) => {
            const id = event.target.value.trim();
            if (id === route.id || id === "") return;
            onRoute({ ...route, id });
            onOpen(id);
          }}
        />
      </div>
      {!fixed && (
        <label className="flex items-start gap-2 text-data">
          <input type="checkbox" checked={route.continue ?? false} onChange={(event) => onRoute({ ...route, continue: event.target.checked })} className="mt-0.5 size-4 accent-(--accent)" />
          Go on: the routes below are asked as well
        </label>
      )}
      <div className="flex gap-2">
        <Button onClick={() => onRoute({ ...route, routes: [...(route.routes ?? []), emptyRoute(all, "")] })}>
          <Plus size={14} aria-hidden /> Add a route inside
        </Button>
        <Button kind="ghost" onClick={() => onOpen(undefined)}>
          Done
        </Button>
      </div>
    </div>
  );
}

function Choice({ id, label, none, all, value, onChange }: { id: string; label: string; none: string; all: readonly { id: string; name: string }[]; value: string; onChange: (value: string) => void }) {
  return (
    <div>
      <label htmlFor={id} className="mb-1 block text-data">
        {label}
      </label>
      <select id={id} value={value} onChange={(event) => onChange(event.target.value)} className={fieldClass}>
        <option value="">{none}</option>
        {value && !all.some((one) => one.id === value) && <option>{value}</option>}
        {all.map((one) => (
          <option key={one.id} value={one.id}>
            {one.name}
          </option>
        ))}
      </select>
    </div>
  );
}
