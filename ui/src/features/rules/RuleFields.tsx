import { useQuery } from "@tanstack/react-query";
import { ChevronRight, Plus, Trash2 } from "lucide-react";
import { useId, type ReactNode } from "react";
import { Button, IconButton } from "../../components/Button";
import { fieldClass } from "../../components/Field";
import type { RuleKind, Severity } from "../../lib/api";
import { useProject } from "../../lib/page";
import { BoundField, CheckField, LengthField, ListField, MatchField, PairsField, SelectField, TextField, useRuleForm } from "./form";
import { kindNames, kinds, levelsOf, ofKind } from "./kinds";
import { put } from "./path";
import { metricNamesQuery, monitorNamesQuery, rulesQuery, servicesQuery, teamsQuery } from "./queries";

export const aggregates = [
  ["avg", "average"], ["min", "minimum"], ["max", "maximum"], ["sum", "sum"], ["last", "last value"], ["count", "count"], ["rate", "rate"], ["increase", "increase"],
  ["p50", "median"], ["p90", "p90"], ["p95", "p95"], ["p99", "p99"], ["p99.9", "p99.9"],
] as const;

export const severityChoices: readonly (readonly [Severity, string])[] = [
  ["page", "Page: now"],
  ["ticket", "Ticket: in working hours"],
  ["mail", "Mail: in the morning"],
];

/** What the fields of a rule are chosen from. */
export function useChoices() {
  const { project } = useProject();
  const { rule } = useRuleForm();
  const services = useQuery(servicesQuery(project)).data ?? [];
  const metrics = useQuery(metricNamesQuery(project)).data ?? [];
  const monitors = useQuery(monitorNamesQuery(project)).data ?? [];
  const teams = useQuery(teamsQuery(project)).data?.map(({ team }) => [team.id, team.name] as const) ?? [];
  const rules = (useQuery(rulesQuery(project)).data ?? []).map((one) => one.rule.id).filter((id) => id !== rule.id);
  const labels = metrics.find((one) => one.name === rule.query.metric)?.labels ?? [];
  return { services, metrics: metrics.map((one) => one.name), monitors, teams, rules, labels };
}

/** The fields of a rule by what a person asks: what, when, who, and what to do. */
export function RuleFields({ fresh }: { fresh: boolean }) {
  const { rule, change, effective } = useRuleForm();
  const { services, metrics, monitors, teams, rules, labels } = useChoices();
  const kind = kinds[rule.kind];
  const source = rule.query.source ?? kind?.sources[0];
  const ratio = rule.kind === "error_rate" || rule.kind === "slo_burn" || rule.kind === "log_ratio";
  return (
    <>
      <Part title="What">
        <div className={pair}>
          <TextField path="name" label="Name" required />
          <TextField path="id" label="Id" mono required hint={fresh ? "Stands in its address and in files; it stays." : "It stays: another id is another rule."} />
        </div>
        <div className={pair}>
          <KindSelect value={rule.kind} onChange={(next) => change(ofKind(rule, next))} />
          <TextField path="service" label="Service" list={services} />
        </div>
        {kind && kind.sources.length > 1 && <SelectField path="query.source" label="Reads" none="the usual" choices={kind.sources.map((one) => [one, one] as const)} />}
        {source === "metrics" && (
          <div className={pair}>
            <TextField path="query.metric" label="Metric" list={metrics} mono />
            {(rule.kind === "threshold" || rule.kind === "forecast" || rule.kind === "anomaly" || rule.kind === "absence") && <SelectField path="query.aggregate" label="Aggregate" none="the usual" choices={aggregates} />}
          </div>
        )}
        {source === "logs" && (
          <div className={pair}>
            <TextField path="query.text" label="Words of the log record" hint={ratio ? "Those that have them are the bad ones." : undefined} />
            <ListField path="query.levels" label="Levels" hint="Such as error, fatal; none are all." list={["error", "fatal", "warn"]} />
          </div>
        )}
        {source === "monitors" && (
          <div className={pair}>
            <TextField path="query.monitor" label={rule.kind === "cron" ? "Monitor" : "Probe or monitor"} list={monitors} mono hint="None are all of the service." />
            {rule.kind === "uptime" && <TextField path="query.regions" label="Regions that must see it fail" numeric />}
          </div>
        )}
        {rule.kind === "slo_burn" && (
          <div className={pair}>
            <TextField path="slo.target" label="Objective" numeric hint="The share that is good, such as 0.999." />
            <LengthField path="slo.period" label="Period" />
          </div>
        )}
        {rule.kind === "forecast" && (
          <div className={pair}>
            <TextField path="forecast.capacity_metric" label="Metric of what there is room for" list={metrics} mono />
            <TextField path="forecast.capacity" label="Or a fixed capacity" numeric />
          </div>
        )}
        {source !== "monitors" && source !== "external" && (
          <>
            <MatchField path="query.where" label="Only where" labels={labels} />
            {ratio && <MatchField path="query.bad" label="Bad are those where" labels={labels} hint={effective?.query.bad?.length && !rule.query.bad?.length ? "Answers of 500 and above, unless you say otherwise." : undefined} />}
          </>
        )}
        <ListField path="query.by" label="For each" list={labels} hint="Labels; each group of values is judged and told alone." />
      </Part>

      <Part title="When">
        {levelsOf(rule).map((level, i) => (
          <Level key={i} i={i} bounded={kind?.bounded === true} only={levelsOf(rule).length === 1} severity={level.severity} />
        ))}
        {(rule.levels?.length ?? 0) < 5 && (
          <Button kind="ghost" className="self-start" onClick={() => change(put(rule, `levels[${levelsOf(rule).length}]`, { severity: "ticket" }))}>
            <Plus size={14} aria-hidden /> Add a level
          </Button>
        )}
        <div className={pair}>
          <LengthField path="window" label="Over the last" hint="How much data one look takes." />
          <SelectField path="interval" label="Looks every" none="the usual" choices={[["10s", "10 seconds"], ["30s", "30 seconds"], ["1m", "minute"], ["5m", "5 minutes"], ["1h", "hour"]]} />
        </div>
      </Part>

      <Part title="Who">
        <div className={pair}>
          <SelectField path="team" label="Team" none="whom the routes name" choices={teams} />
          <TextField path="environment" label="Environment" hint="Empty is every one." />
        </div>
      </Part>

      <Part title="What to do">
        <TextField path="first_action" label="First action" long hint="What to do first, for somebody who was asleep a minute ago." />
        <TextField path="runbook_url" label="Runbook" hint="The address of a page with more." />
        <TextField path="summary" label="Summary" long hint="The message's own words; {{value}}, {{limit}}, {{service}} and labels are filled in." />
      </Part>

      <details className="group rounded border border-line">
        <summary className="flex min-h-9 items-center gap-1.5 px-3 text-data font-medium">
          <ChevronRight size={14} className="group-open:rotate-90" aria-hidden /> Advanced
          <span className="truncate font-normal text-muted">recovery, debounce, missing data, flapping, limits, hours, labels</span>
        </summary>
        <div className="flex flex-col gap-4 border-t border-line p-3">
          <div className={pair}>
            <LengthField path="recover_for" label="Good again after" />
            <LengthField path="delay" label="Waits for late data" hint="0 is by what was measured." />
            <SelectField path="debounce.mode" label="Evidence" none="the usual" choices={[["consecutive", "every look is bad"], ["ratio", "a share of the looks is bad"]]} />
            {rule.debounce?.mode === "ratio" && <TextField path="debounce.ratio" label="Share that is enough" numeric />}
            <TextField path="min_samples" label="At least so many samples" numeric />
            {ratio && <TextField path="min_bad" label="At least so many bad ones" numeric />}
          </div>
          <div className={pair}>
            <SelectField path="no_data" label="No data means" none="the usual" choices={[["keep", "nothing: stay as it was"], ["ok", "zero: all is well"], ["breach", "bad"]]} />
            <LengthField path="no_data_for" label="Tell of no data after" />
            <LengthField path="stale_close" label="Close without data after" />
            <LengthField path="missing_group_close" label="Close one missing group after" />
          </div>
          <div className={pair}>
            <LengthField path="reopen" label="Reopens within" hint="Bad again so soon is the same incident." />
            <TextField path="flap.n" label="Flapping after onsets" numeric />
            <LengthField path="flap.window" label="within" />
            <LengthField path="flap.exit" label="Flapping ends when good for" />
            <TextField path="recur.n" label="A ticket after so many blips" numeric />
            <LengthField path="recur.window" label="within" />
          </div>
          <div className={pair}>
            <TextField path="limits.tracked" label="Groups that are followed" numeric />
            <TextField path="limits.open" label="Groups that are open at once" numeric />
          </div>
          <div className={pair}>
            <ListField path="depends_on" label="Depends on" list={rules} hint="Rules that keep this one quiet while they fire." />
            <TextField path="active" label="Active hours" hint="Such as Mon-Fri 08:00-20:00 Europe/Berlin; outside, a page is a ticket." />
            <SelectField path="quiet" label="In quiet hours" none="pages pass" choices={[["hold", "even pages wait"]]} />
            <SelectField path="area" label="Area" none="the usual" choices={["availability", "latency", "correctness", "feature"].map((one) => [one, one] as const)} />
            <SelectField path="class" label="Class" none="by what it reads" choices={[["symptom", "symptom: users feel it"], ["leading", "leading: users will feel it"], ["cause", "cause: it may be why"]]} />
            <TextField path="owner" label="Owner" />
          </div>
          {(rule.kind === "cron" || rule.kind === "absence" || rule.kind === "external") && <CheckField path="user_visible" label="Users notice when this is bad" />}
          {(rule.class === "leading" || rule.wall) && (
            <div className={pair}>
              <TextField path="consequence" label="What users will see" />
              <LengthField path="time_to_symptom" label="How long until they do" />
              <TextField path="wall" label="What runs out" list={["disk", "inode", "volume", "certificate", "domain", "quota", "credit", "transaction_id", "sequence", "stream_retention", "last_backup", "last_replica"]} />
              <TextField path="approved_by" label="Who else agrees" />
            </div>
          )}
          <PairsField path="labels" label="Labels" />
        </div>
      </details>
    </>
  );
}

const pair = "grid items-start gap-x-4 gap-y-3 sm:grid-cols-2";

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="flex flex-col gap-3">
      <h2 className="border-b border-line pb-1 text-data font-medium text-muted">{title}</h2>
      {children}
    </section>
  );
}

function Level({ i, bounded, only, severity }: { i: number; bounded: boolean; only: boolean; severity: Severity }) {
  const { rule, change } = useRuleForm();
  return (
    <div role="group" aria-label={`Level ${i + 1}`} className={`relative grid items-start gap-x-3 gap-y-2 rounded border border-line p-3 pr-10 ${bounded ? "sm:grid-cols-2" : "sm:grid-cols-2"}`}>
      <SelectField path={`levels[${i}].severity`} label="Severity" choices={severityChoices} />
      <LengthField path={`levels[${i}].for`} label="When it lasts" />
      {bounded && (
        <>
          <BoundField path={`levels[${i}].fire`} label="Bad is" />
          <BoundField path={`levels[${i}].recover`} label="Good again is" optional hint="Empty: whatever is not bad." />
        </>
      )}
      {!only && (
        <IconButton
          label={`Remove the level ${severity}`}
          className="absolute top-2 right-2"
          onClick={() => change({ ...rule, levels: levelsOf(rule).filter((_, at) => at !== i) })}
        >
          <Trash2 size={14} aria-hidden />
        </IconButton>
      )}
    </div>
  );
}

function KindSelect({ value, onChange }: { value: RuleKind; onChange: (kind: RuleKind) => void }) {
  const id = useId();
  const { problems } = useRuleForm();
  const wrong = problems.find((one) => one.field === "kind");
  return (
    <div>
      <label htmlFor={id} className="mb-1 block text-data">
        Kind
      </label>
      <select id={id} value={value} aria-describedby={`${id}-more`} onChange={(event) => onChange(event.target.value as RuleKind)} className={fieldClass}>
        {!kinds[value] && <option>{value}</option>}
        {kindNames.map((one) => (
          <option key={one} value={one}>
            {kinds[one].name}
          </option>
        ))}
      </select>
      <p id={`${id}-more`} className={`mt-1 text-data ${wrong ? "text-bad" : "text-muted"}`}>
        {wrong?.message ?? kinds[value]?.about}
      </p>
    </div>
  );
}
