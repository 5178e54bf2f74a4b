import { useQuery } from "@tanstack/react-query";
import { CircleCheck, TriangleAlert } from "lucide-react";
import { Await, Panel } from "../../components/Page";
import { Sparkline } from "../../components/Sparkline";
import { api, data, type Alerting } from "../../lib/api";
import { count, duration, plural } from "../../lib/format";
import { second } from "../../lib/time";

const key = ["alerting"];

/** Whether the rules of this installation were all looked at: what was due is done, held or failed. */
export function AlertingPanel() {
  const query = useQuery({ queryKey: key, queryFn: ({ signal }) => data(api.GET("/alerting", { signal })), refetchInterval: 30_000, staleTime: 15_000 });
  return (
    <Panel title="Alerting health" more={<p className="text-data text-muted">all projects, last 24 hours</p>}>
      <Await query={query} queryKey={key}>
        {(found) => <Account found={found} />}
      </Await>
    </Panel>
  );
}

/** What is wrong with alerting itself, in words; undefined while nothing is. */
export function trouble(found: Alerting): string | undefined {
  if (found.due === 0) return undefined;
  if (found.replicas.length === 0) return "Nobody evaluates rules now.";
  if (found.missing > 0) return `${plural(found.missing, "evaluation")} did not happen.`;
  if ((found.lag_seconds ?? 0) > 300) return `The newest count is ${duration(found.lag_seconds! * second)} old.`;
  if (found.failed > 0) return `${plural(found.failed, "evaluation")} failed.`;
  return undefined;
}

function Account({ found }: { found: Alerting }) {
  const wrong = trouble(found);
  if (found.due === 0) return <p className="p-3 text-muted">No rule was due in the last 24 hours.</p>;
  const figures: [string, string][] = [
    ["due", count(found.due)],
    ["done", count(found.done)],
    ["held back for late data", count(found.held)],
    ["failed", count(found.failed)],
    ["missing", count(found.missing)],
    ["behind", found.lag_seconds === undefined ? "unknown" : duration(found.lag_seconds * second)],
  ];
  return (
    <div className="flex flex-wrap items-start gap-x-8 gap-y-3 p-3">
      <div className="min-w-0 basis-72">
        <p className="flex items-center gap-2">
          {wrong ? <TriangleAlert size={15} className="shrink-0 text-warn" aria-hidden /> : <CircleCheck size={15} className="shrink-0 text-ok" aria-hidden />}
          {wrong ?? "Everything that was due is accounted for."}
        </p>
        <p className="mt-1 text-data text-muted wrap-anywhere">
          {found.replicas.length === 0 ? "No evaluator is running." : `Evaluated by ${found.replicas.join(", ")}.`}
        </p>
      </div>
      <dl className="flex flex-wrap gap-x-6 gap-y-2">
        {figures.map(([name, value]) => (
          <div key={name} className="flex flex-col-reverse">
            <dt className="text-tiny text-muted">{name}</dt>
            <dd className="font-mono text-data">{value}</dd>
          </div>
        ))}
      </dl>
      <Sparkline
        className="h-10 min-w-48 flex-1"
        values={found.hours.map((one) => one.due)}
        over={found.hours.map((one) => one.due - one.done - one.held)}
        label={`Evaluations by hour: ${count(found.due)} due, ${count(found.failed)} failed, ${count(found.missing)} missing`}
      />
    </div>
  );
}
