import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Plus, Search, TriangleAlert } from "lucide-react";
import { Button, buttonClass } from "../../components/Button";
import { Await, Empty, PageHead, Skeleton, When } from "../../components/Page";
import { useRowKeys } from "../../components/useRowKeys";
import { ruleClasses, ruleStates, severities, type RulesAddress } from "../../lib/addresses";
import type { StoredRule } from "../../lib/api";
import { count } from "../../lib/format";
import { useKeys } from "../../lib/keys";
import { toggled } from "../../lib/logText";
import { useAnswer, useDraft, useProject, useTitle } from "../../lib/page";
import { AlertingPanel } from "./AlertingPanel";
import { chosen, rulesSentence, stateOf, worst } from "./list";
import { rulesQuery, teamsQuery } from "./queries";
import { ClassBadge, SeverityBar, SeverityWord, StateWord } from "./RuleMarks";
import { RuleTabs } from "./RuleTabs";
import { sentence, unbroken } from "./sentence";
import { TemplateGrid } from "./TemplateGrid";

const route = getRouteApi("/p/$project/rules");

export function RulesPage() {
  const { project, param } = useProject();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const options = rulesQuery(project);
  const query = useQuery(options);
  const teams = useQuery(teamsQuery(project));
  const list = useRowKeys<HTMLUListElement>();
  const words = query.data && rulesSentence(query.data);
  useTitle(words, "Rules");
  useAnswer(words, String(project));
  useKeys({ n: () => void navigate({ to: "/p/$project/rules/new", params: { project: param } }) });
  const nameOf = (team: string | undefined) => teams.data?.find((one) => one.team.id === team)?.team.name;
  return (
    <div className="pb-10">
      <RuleTabs />
      <PageHead
        title={words ?? "Rules"}
        under={query.data?.length === 0 ? "A rule watches what users feel, and tells a person when it lasts. Begin with one of these." : undefined}
        actions={
          <Link to="/p/$project/rules/new" params={{ project: param }} className={buttonClass("primary")}>
            <Plus size={14} aria-hidden /> New rule
          </Link>
        }
      />
      <Await query={query} queryKey={options.queryKey} skeleton={<Skeleton rows={8} />}>
        {(all) => {
          if (all.length === 0) return <TemplateGrid service="" />;
          const found = chosen(all, search);
          return (
            <>
              <Filter all={all} search={search} onChange={(next) => void navigate({ search: (was) => ({ ...was, ...next }), replace: true })} />
              <div aria-hidden className={`grid border-y border-line bg-s1 py-1.5 pr-3 pl-4 text-tiny text-muted max-lg:hidden ${columns}`}>
                <span>Rule</span>
                <span>Severity</span>
                <span>State</span>
                <span>Open</span>
                <span>Last evaluated</span>
              </div>
              <ul ref={list} aria-label="Rules">
                {found.map((one) => (
                  <Row key={one.rule.id} one={one} team={nameOf(one.rule.team)} />
                ))}
              </ul>
              {found.length === 0 && <Empty>No rule is like this. Take a filter away to see others.</Empty>}
            </>
          );
        }}
      </Await>
      <div className="px-4 pt-6">
        <AlertingPanel />
      </div>
    </div>
  );
}

const columns = "gap-x-4 gap-y-1 grid-cols-[minmax(0,1fr)_auto] lg:grid-cols-[minmax(0,1fr)_5rem_6.5rem_5rem_9rem]";

function Row({ one, team }: { one: StoredRule; team: string | undefined }) {
  const { param } = useProject();
  const { open, last_slot: last, problem } = one.evaluation;
  const words = sentence(one.rule, team);
  const watched = stateOf(one) === "live" || stateOf(one) === "shadow";
  // Jobs and what other systems say are judged as they come.
  const waiting = one.rule.kind === "cron" || one.rule.kind === "external" ? "as it happens" : "not yet";
  return (
    <li className={`relative grid min-h-14 items-center border-b border-line py-2 pr-3 pl-4 hover:bg-s2 ${columns}`}>
      {open > 0 && <SeverityBar value={worst(one)} />}
      <div className="min-w-0 max-lg:col-span-2">
        <Link
          data-row
          to="/p/$project/rules/$id"
          params={{ project: param, id: one.rule.id }}
          aria-label={`${one.rule.name}: ${words}`}
          className="block font-medium after:absolute after:inset-0 after:content-['']"
        >
          <span className="line-clamp-2">{unbroken(words)}</span>
        </Link>
        <p className="mt-0.5 flex min-w-0 flex-wrap items-center gap-x-2 gap-y-0.5 text-data text-muted">
          <ClassBadge value={one.class} />
          <span className="truncate">{one.rule.name}</span>
          {problem && (
            <span className="inline-flex items-center gap-1 text-warn">
              <TriangleAlert size={13} className="shrink-0" aria-hidden /> {problem}
            </span>
          )}
        </p>
      </div>
      <div className="max-lg:col-span-2 max-lg:flex max-lg:flex-wrap max-lg:gap-x-4 lg:contents">
        <SeverityWord value={worst(one)} />
        <StateWord value={stateOf(one)} />
        <span className={`text-data ${open > 0 ? "font-medium text-bad" : "text-muted"}`}>{open > 0 ? `${count(open)} open` : <span className="max-lg:hidden">none</span>}</span>
        <span className="text-data text-muted">{last ? <When at={last} mode="ago" /> : watched ? waiting : <span className="max-lg:hidden">–</span>}</span>
      </div>
    </li>
  );
}

function Filter({ all, search, onChange }: { all: StoredRule[]; search: RulesAddress; onChange: (next: Partial<RulesAddress>) => void }) {
  const [q, setQ] = useDraft(search.q ?? "");
  const states = ruleStates.map((one) => ({ one, n: all.filter((r) => stateOf(r) === one).length })).filter(({ one, n }) => n > 0 || search.state?.includes(one));
  const open = all.filter((one) => one.evaluation.open > 0).length;
  const blind = all.filter((one) => one.evaluation.problem !== undefined).length;
  return (
    <div className="flex flex-wrap items-center gap-1.5 px-4 pb-3">
      <div className="relative max-sm:w-full">
        <Search size={14} className="pointer-events-none absolute top-2 left-2 text-muted" aria-hidden />
        <input
          type="search"
          aria-label="Find a rule"
          placeholder="Find a rule"
          value={q}
          maxLength={200}
          onChange={(event) => {
            setQ(event.target.value);
            onChange({ q: event.target.value.trim() || undefined });
          }}
          onKeyDown={(event) => event.key === "Escape" && event.currentTarget.blur()}
          className="min-h-7.5 w-full rounded border border-edge bg-bg pr-2 pl-7 text-data sm:w-56"
        />
      </div>
      {states.length > 1 &&
        states.map(({ one, n }) => (
          <Button key={one} aria-pressed={search.state?.includes(one) ?? false} onClick={() => onChange({ state: toggled(search.state, one) })}>
            <StateWord value={one} /> <span className="text-muted">{count(n)}</span>
          </Button>
        ))}
      {(open > 0 || search.only === "open") && (
        <Button aria-pressed={search.only === "open"} onClick={() => onChange({ only: search.only === "open" ? undefined : "open" })}>
          open <span className="text-muted">{count(open)}</span>
        </Button>
      )}
      {(blind > 0 || search.only === "problem") && (
        <Button aria-pressed={search.only === "problem"} onClick={() => onChange({ only: search.only === "problem" ? undefined : "problem" })}>
          with a problem <span className="text-muted">{count(blind)}</span>
        </Button>
      )}
      <Choice label="Severity" none="any severity" all={severities} value={search.severity} onChange={(severity) => onChange({ severity })} />
      <Choice label="Class" none="any class" all={ruleClasses} value={search.class} onChange={(of) => onChange({ class: of })} />
    </div>
  );
}

function Choice<T extends string>({ label, none, all, value, onChange }: { label: string; none: string; all: readonly T[]; value: T | undefined; onChange: (value: T | undefined) => void }) {
  return (
    <select
      aria-label={label}
      value={value ?? ""}
      onChange={(event) => onChange(all.find((one) => one === event.target.value))}
      className={`min-h-7 rounded border bg-s2 px-1.5 text-data ${value ? "border-accent text-accent" : "border-line text-ink"}`}
    >
      <option value="">{none}</option>
      {all.map((one) => (
        <option key={one}>{one}</option>
      ))}
    </select>
  );
}
