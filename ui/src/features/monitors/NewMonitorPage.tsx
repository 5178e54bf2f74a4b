import { useMutation } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useId, useState, type FormEvent } from "react";
import { Button, buttonClass } from "../../components/Button";
import { Field, fieldClass } from "../../components/Field";
import { ErrorNote, PageHead } from "../../components/Page";
import { api, ApiError, data, type NewMonitor } from "../../lib/api";
import { useProject, useTitle } from "../../lib/page";
import { queryClient } from "../../lib/query";
import { slugFrom } from "../../lib/slug";

type Kind = "crontab" | "interval" | "none";

const kinds: { kind: Kind; name: string; hint: string }[] = [
  { kind: "crontab", name: "Cron expression", hint: "The job runs at set times." },
  { kind: "interval", name: "Interval", hint: "The job runs again some time after it ran." },
  { kind: "none", name: "Not yet", hint: "Only keep its runs; nothing is ever late." },
];

const crons: [string, string][] = [
  ["*/5 * * * *", "every 5 min"],
  ["0 * * * *", "hourly"],
  ["30 2 * * *", "daily at 02:30"],
  ["0 6 * * 1", "Mondays at 06:00"],
];

const units = { minutes: 60, hours: 3600, days: 86_400 } as const;
type Unit = keyof typeof units;

const zones = typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("timeZone") : [];
const here = Intl.DateTimeFormat().resolvedOptions().timeZone;

export function NewMonitorPage() {
  useTitle("New monitor");
  const { project, param } = useProject();
  const navigate = useNavigate();
  const [name, setName] = useState("");
  const [typedSlug, setSlug] = useState<string | undefined>(undefined);
  const [kind, setKind] = useState<Kind>("crontab");
  const [cron, setCron] = useState("30 2 * * *");
  const [timezone, setTimezone] = useState(here || "UTC");
  const [every, setEvery] = useState(1);
  const [unit, setUnit] = useState<Unit>("hours");
  const [margin, setMargin] = useState(10);
  const [runtime, setRuntime] = useState(60);
  const unitID = useId();
  const zonesID = useId();
  const slug = typedSlug ?? slugFrom(name, /[^a-z0-9_-]+/g);
  const slugOK = /^[a-z0-9_-]{1,100}$/.test(slug);

  const create = useMutation({
    mutationFn: () => {
      const body: NewMonitor = { slug };
      if (name.trim()) body.name = name.trim();
      const limits = { margin_seconds: margin * 60, max_runtime_seconds: runtime * 60 };
      if (kind === "crontab") body.schedule = { kind, value: cron.trim(), timezone, ...limits };
      if (kind === "interval") body.schedule = { kind, value: String(every * units[unit]), ...limits };
      return data(api.POST("/projects/{project}/monitors", { params: { path: { project } }, body }));
    },
    onSuccess: async (monitor) => {
      await queryClient.invalidateQueries({ queryKey: ["monitors", project] });
      await navigate({ to: "/p/$project/monitors/$slug", params: { project: param, slug: monitor.slug } });
    },
  });
  const taken = create.error instanceof ApiError && create.error.code === "conflict";
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (slugOK) create.mutate();
  };

  return (
    <div className="mx-auto max-w-160 pb-10">
      <PageHead title="New monitor" under="A monitor knows when a job should run, and notices when it did not, failed, or hangs." />
      <form onSubmit={submit} className="flex flex-col gap-5 px-4">
        <Field label="Name" maxLength={200} autoFocus value={name} onChange={(event) => setName(event.target.value)} placeholder="Nightly backup" />
        <Field
          label="Short name"
          required
          maxLength={100}
          value={slug}
          onChange={(event) => setSlug(event.target.value)}
          className="[&_input]:font-mono"
          hint="Stands in its ping URL: small letters, digits, hyphens and underscores."
          error={slug !== "" && !slugOK ? "Only small letters, digits, hyphens and underscores, at most 100." : taken ? "This project has a monitor with this short name." : undefined}
        />
        <fieldset>
          <legend className="mb-1 text-data">Schedule</legend>
          <div className="grid gap-2 sm:grid-cols-3">
            {kinds.map((one) => (
              <label key={one.kind} className="flex cursor-pointer gap-2 rounded border border-line bg-s1 p-2.5 hover:border-edge has-[:checked]:border-accent has-[:checked]:bg-accent-soft has-[:focus-visible]:outline-2 has-[:focus-visible]:outline-accent">
                <input type="radio" name="kind" checked={kind === one.kind} onChange={() => setKind(one.kind)} className="mt-1 accent-(--accent)" />
                <span>
                  {one.name}
                  <span className="block text-data text-muted">{one.hint}</span>
                </span>
              </label>
            ))}
          </div>
        </fieldset>
        {kind === "crontab" && (
          <>
            <div>
              <Field label="Cron expression" required maxLength={200} value={cron} onChange={(event) => setCron(event.target.value)} className="[&_input]:font-mono" autoComplete="off" spellCheck={false} />
              <div className="mt-2 flex flex-wrap gap-1.5" role="group" aria-label="Common schedules">
                {crons.map(([value, words]) => (
                  <Button key={value} onClick={() => setCron(value)} aria-pressed={cron === value}>
                    {words}
                  </Button>
                ))}
              </div>
            </div>
            <Field label="Time zone" required list={zonesID} value={timezone} onChange={(event) => setTimezone(event.target.value)} hint="In which the clock of the schedule runs." />
            <datalist id={zonesID}>
              <option value="UTC" />
              {zones.map((zone) => (
                <option key={zone} value={zone} />
              ))}
            </datalist>
          </>
        )}
        {kind === "interval" && (
          <div className="flex items-end gap-2">
            <Field label="Every" type="number" required min={1} max={1000} value={every} onChange={(event) => setEvery(Number(event.target.value))} className="w-28" />
            <div>
              <label htmlFor={unitID} className="sr-only">
                Unit
              </label>
              <select id={unitID} value={unit} onChange={(event) => setUnit(event.target.value as Unit)} className={fieldClass}>
                {(Object.keys(units) as Unit[]).map((one) => (
                  <option key={one}>{one}</option>
                ))}
              </select>
            </div>
          </div>
        )}
        {kind !== "none" && (
          <div className="grid gap-4 sm:grid-cols-2">
            <Field label="Late after (minutes)" type="number" required min={0} max={10_080} value={margin} onChange={(event) => setMargin(Number(event.target.value))} hint="How long it may stay away after its time." />
            <Field label="Stuck after (minutes)" type="number" required min={0} max={43_200} value={runtime} onChange={(event) => setRuntime(Number(event.target.value))} hint="How long one run may take; 0 for any time." />
          </div>
        )}
        {create.error && !taken && <ErrorNote error={create.error} />}
        <div className="flex gap-2">
          <Button type="submit" kind="primary" disabled={create.isPending || !slugOK}>
            {create.isPending ? "Making it…" : "Make monitor"}
          </Button>
          <Link to="/p/$project/monitors" params={{ project: param }} className={buttonClass("ghost")}>
            Cancel
          </Link>
        </div>
      </form>
    </div>
  );
}
