import { keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";
import { Link, useBlocker, useNavigate } from "@tanstack/react-router";
import { ArrowLeft, Trash2 } from "lucide-react";
import { lazy, Suspense, useDeferredValue, useEffect, useState } from "react";
import { Button } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { ErrorNote, Panel, Skeleton } from "../../components/Page";
import { api, ApiError, data, type Problem, type Rule, type StoredRule } from "../../lib/api";
import { useKeys } from "../../lib/keys";
import { announce, useProject, useTitle } from "../../lib/page";
import { queryClient } from "../../lib/query";
import { RuleFormProvider } from "./form";
import { keptAs, nextSteps, substance } from "./lifecycle";
import { proposal, ticketed, type Proposal } from "./proposal";
import { rulesQuery } from "./queries";
import { RehearsalPane } from "./RehearsalPane";
import { RuleFields } from "./RuleFields";
import { ClassBadge, StateWord } from "./RuleMarks";
import { sentence } from "./sentence";
import { SentenceEditor } from "./SentenceEditor";

const YamlPane = lazy(() => import("./YamlPane").then((m) => ({ default: m.YamlPane })));

function useDebounced<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}

/** A rule in words, as a form, as YAML and as what it would have done; kept by its buttons. */
export function RuleEditor({ start, stored, children }: { start: Rule; stored: StoredRule | undefined; children?: React.ReactNode }) {
  const { project, param } = useProject();
  const navigate = useNavigate();
  const [proposed, setProposed] = useState(() => stored && proposal(location.hash.slice(1), stored));
  const [rule, change] = useState(proposed?.rule ?? start);
  const [meta, setMeta] = useState(stored?.meta);
  const [kept, setKept] = useState(JSON.stringify(stored?.rule));
  const [rehearsed, setRehearsed] = useState<string | undefined>(undefined);
  const [possible, setPossible] = useState(true);
  const [yaml, setYaml] = useState(true);
  const [asking, setAsking] = useState(false);
  const [broken, setBroken] = useState(false);
  const changed = JSON.stringify(rule) !== kept;
  // What a mail proposed and nobody touched is nothing to lose.
  const unsaved = changed && stored !== undefined && rule !== proposed?.rule;
  const decided = async () => {
    setProposed(undefined);
    await navigate({ to: ".", search: true, hash: "", replace: true, ignoreBlocker: true });
  };

  const asked = useDebounced(rule, 350);
  const judged = useQuery({
    queryKey: ["rule-verdict", project, asked],
    queryFn: ({ signal }) => data(api.POST("/projects/{project}/rules/validate", { params: { path: { project } }, body: asked, signal })),
    placeholderData: keepPreviousData,
    retry: false,
  });
  const verdict = judged.data;
  const unreadable = judged.error instanceof ApiError && judged.error.code === "invalid" ? judged.error : undefined;
  const current = !judged.isPlaceholderData && asked === rule && !judged.error;
  const valid = current && verdict?.ok === true && !broken;
  const problems = judged.error ? [] : (verdict?.problems ?? []);

  const save = useMutation({
    mutationFn: (next: Rule) =>
      data(
        api.PUT("/projects/{project}/rules/{id}", {
          params: { path: { project, id: next.id }, query: meta && meta.id === next.id ? { version: meta.version } : { version: 0 } },
          body: next,
        }),
      ),
    onSuccess: async (answer) => {
      const now = answer.rule;
      change(now);
      setKept(JSON.stringify(now));
      setMeta(answer.meta);
      queryClient.setQueryData(["rule", project, answer.meta.id], answer);
      void queryClient.invalidateQueries({ queryKey: rulesQuery(project).queryKey });
      announce(`Rule saved, ${now.state ?? "draft"}`);
      if (proposed) await decided();
      if (stored?.meta.id !== answer.meta.id) await navigate({ to: "/p/$project/rules/$id", params: { project: param, id: answer.meta.id }, replace: true, ignoreBlocker: true });
    },
  });
  const remove = useMutation({
    mutationFn: () => api.DELETE("/projects/{project}/rules/{id}", { params: { path: { project, id: meta!.id } } }),
    onSuccess: async () => {
      announce("Rule deleted");
      setKept(JSON.stringify(rule));
      await queryClient.invalidateQueries({ queryKey: rulesQuery(project).queryKey });
      await navigate({ to: "/p/$project/rules", params: { project: param }, ignoreBlocker: true });
    },
  });
  const tried = rehearsed !== undefined && rehearsed === substance(rule);
  const keep = () => save.mutate({ ...rule, state: keptAs(rule, tried) });
  const steps = nextSteps(rule, tried, possible);
  const blocked = steps.find((one) => one.not);
  const refused = save.error instanceof ApiError ? save.error.problems : [];

  useBlocker({
    // Another range of time is the same page.
    shouldBlockFn: ({ current, next }) => unsaved && current.pathname !== next.pathname && !confirm("Leave without saving the rule?"),
    enableBeforeUnload: () => unsaved,
  });
  useKeys({
    "mod+s": keep,
    y: () => setYaml((on) => !on),
    Escape: () => void navigate({ to: "/p/$project/rules", params: { project: param } }),
  });
  useTitle(sentence(rule), "Rules");

  return (
    <RuleFormProvider value={{ rule, effective: verdict?.effective, problems: [...problems, ...refused.filter((one) => !problems.some((p) => p.message === one.message))], change }}>
      <div className="pb-10">
        <Link to="/p/$project/rules" params={{ project: param }} className="inline-flex min-h-9 items-center gap-1.5 px-4 pt-1 text-data text-muted hover:text-ink">
          <ArrowLeft size={14} aria-hidden /> All rules
        </Link>
        <h1 className="sr-only">{stored ? `Rule ${rule.name}` : "New rule"}</h1>
        <div className="grid items-start gap-x-6 gap-y-4 px-4 max-xl:flex max-xl:flex-col max-xl:items-stretch xl:grid-cols-[minmax(0,1fr)_minmax(0,34rem)]">
          <div className="flex min-w-0 flex-col gap-5 max-xl:contents">
            <div className="max-xl:order-1">
              <SentenceEditor />
              <p className="mt-2 flex flex-wrap items-center gap-x-3 gap-y-1">
                <StateWord value={rule.state ?? "draft"} />
                {verdict && <ClassBadge value={verdict.class} />}
                {meta && <span className="text-data text-muted">version {meta.version}, by {meta.updated_by || "nobody"}</span>}
                {changed && <span className="text-data text-accent">not saved</span>}
              </p>
            </div>
            <div className="flex flex-col gap-3 empty:hidden max-xl:order-1">
            {proposed && (
              <Proposed
                proposed={proposed}
                changes={changed}
                onOther={change}
                onLeave={() => {
                  change(start);
                  void decided();
                }}
              />
            )}
            <Verdict problems={problems} warnings={judged.error ? [] : (verdict?.warnings ?? [])} rule={rule} change={change} />
            {judged.error && <ErrorNote error={judged.error} retry={() => void judged.refetch()} />}
            </div>
            <div className="flex flex-col gap-2 max-xl:order-1">
              <div className="flex flex-wrap items-center gap-2">
                <Button kind={changed ? "primary" : "plain"} aria-keyshortcuts="Control+S Meta+S" disabled={!changed || save.isPending || !valid} onClick={keep}>
                  {save.isPending ? "Saving…" : stored ? "Save" : "Save as draft"}
                </Button>
                {steps.map((step) => (
                  <Button
                    key={step.to}
                    kind={step.primary && !changed ? "primary" : "plain"}
                    disabled={save.isPending || !valid || step.not !== undefined}
                    aria-describedby={step.not ? "not-yet" : undefined}
                    onClick={() => save.mutate({ ...rule, state: step.to })}
                  >
                    {step.name}
                  </Button>
                ))}
                {meta && (
                  <Button kind="ghost" onClick={() => setAsking(true)}>
                    <Trash2 size={14} aria-hidden /> Delete
                  </Button>
                )}
                <Button kind="ghost" aria-pressed={yaml} aria-keyshortcuts="y" onClick={() => setYaml(!yaml)} className="ml-auto">
                  YAML
                </Button>
              </div>
              {broken && <p className="text-data text-bad">The YAML cannot be read as it stands.</p>}
              {blocked?.not && (
                <p id="not-yet" className="text-data text-muted">
                  {blocked.not}
                </p>
              )}
              {save.error && <ErrorNote error={save.error} />}
            </div>
            <div className="flex flex-col gap-5 max-xl:order-3">
              <RuleFields fresh={!stored} />
              {children}
            </div>
          </div>
          <div className="flex min-w-0 flex-col gap-4 max-xl:contents xl:sticky xl:top-0 xl:max-h-[calc(100dvh-3.5rem)] xl:overflow-auto xl:pb-4">
            <div className="empty:hidden max-xl:order-2">
              <RehearsalPane rule={rule} valid={valid} onDone={setRehearsed} onMissing={() => setPossible(false)} onChange={change} />
            </div>
            {yaml && (
              <div className="max-xl:order-4">
              <Suspense fallback={<Panel title="As YAML"><Skeleton rows={10} /></Panel>}>
                <Yaml rule={rule} problems={unreadable ? [{ field: "", message: unreadable.message }] : problems} onChange={change} onBroken={setBroken} />
              </Suspense>
              </div>
            )}
          </div>
        </div>
      </div>
      {asking && meta && (
        <Confirm label={`Delete ${rule.name}?`} button="Delete rule" busy="Deleting…" action={remove} onClose={() => setAsking(false)}>
          <p>What it has open is resolved, and whoever was told of it is told so. Its past incidents stay.</p>
        </Confirm>
      )}
    </RuleFormProvider>
  );
}

function Yaml(props: { rule: Rule; problems: readonly Problem[]; onChange: (rule: Rule) => void; onBroken: (broken: boolean) => void }) {
  // The sentence and the form come first while somebody types.
  const problems = useDeferredValue(props.problems);
  return <YamlPane {...props} problems={problems} />;
}

/** What the link of a mail proposes, and the ways out of it. */
function Proposed({ proposed, changes, onOther, onLeave }: { proposed: Proposal; changes: boolean; onOther: (rule: Rule) => void; onLeave: () => void }) {
  return (
    <div role="status" aria-label="What the mail proposes" className="rounded border border-line border-l-[3px] border-l-accent bg-s1 px-3 py-2 text-data">
      <p>{proposed.words}.</p>
      {changes && <p className="text-muted">Nothing is changed yet: look at what it would have done, then save it.</p>}
      <div className="mt-2 flex flex-wrap gap-2">
        {proposed.other && <Button onClick={() => onOther(proposed.other!.rule)}>{proposed.other.name}</Button>}
        <Button onClick={onLeave}>
          {changes ? "Leave it as it was" : "Close"}
        </Button>
      </div>
    </div>
  );
}

/** What is wrong in all, and for a cause that would page the rules that page for it already. */
function Verdict({ problems, warnings, rule, change }: { problems: readonly Problem[]; warnings: readonly Problem[]; rule: Rule; change: (rule: Rule) => void }) {
  const { param } = useProject();
  if (problems.length === 0 && warnings.length === 0) return null;
  const cause = problems.find((one) => one.message.startsWith("a cause cannot page"));
  return (
    <div role="status" aria-label="What is to be said of the rule" className={`rounded border border-line border-l-[3px] bg-s1 px-3 py-2 text-data ${problems.length > 0 ? "border-l-bad" : "border-l-warn"}`}>
      <ul className="flex flex-col gap-1">
        {[...problems, ...warnings].map((one) => (
          <li key={`${one.field} ${one.message}`}>
            <code className="font-mono text-muted">{one.field}</code> {one.message}
          </li>
        ))}
      </ul>
      {cause && (
        <div className="mt-2 flex flex-wrap items-center gap-2">
          <Button onClick={() => change(ticketed(rule))}>Make it a ticket</Button>
          {cause.rules?.map((id) => (
            <Link key={id} to="/p/$project/rules/$id" params={{ project: param, id }} className="text-accent underline underline-offset-2">
              {id}
            </Link>
          ))}
        </div>
      )}
    </div>
  );
}
