import { useMutation, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { ArrowLeft } from "lucide-react";
import { useId, useState, type FormEvent } from "react";
import { Button, buttonClass } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { Field, fieldClass } from "../../components/Field";
import { Await, ErrorNote, PageHead, Panel, Skeleton } from "../../components/Page";
import { api, data, type Probe, type ProbeResult, type ProbeSettings } from "../../lib/api";
import { duration } from "../../lib/format";
import { announce, useProject, useTitle } from "../../lib/page";
import { queryClient } from "../../lib/query";
import { headerLines, headersOf } from "./state";

const route = getRouteApi("/p/$project/probes/$probe");

type Kind = ProbeSettings["kind"];

const kinds: { kind: Kind; name: string; hint: string; target: string; example: string }[] = [
  { kind: "http", name: "Page or API", hint: "An answer over HTTP, and its certificate.", target: "Address", example: "https://shop.example/health" },
  { kind: "tcp", name: "Port", hint: "Something listens and accepts.", target: "Host and port", example: "mail.shop.example:25" },
  { kind: "tls", name: "Certificate", hint: "A TLS handshake, without a request.", target: "Host and port", example: "mail.shop.example:465" },
  { kind: "dns", name: "Name", hint: "A lookup finds its records.", target: "Name", example: "shop.example" },
];

const methods = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];
const bodyless = ["GET", "HEAD", "OPTIONS"];
const recordTypes = ["A", "AAAA", "CNAME", "MX", "TXT", "NS"] as const;
const intervals = [
  [30, "30 seconds"],
  [60, "minute"],
  [300, "5 minutes"],
] as const;

export function NewProbePage() {
  useTitle("New probe");
  return (
    <div className="mx-auto max-w-160 pb-10">
      <PageHead title="New probe" under="It asks from this server, and from every region that runs midwatch probe." />
      <Form />
    </div>
  );
}

export function ProbePage() {
  const { project } = useProject();
  const { probe } = route.useParams();
  const queryKey = ["probe", project, probe];
  const query = useQuery({
    queryKey,
    queryFn: ({ signal }) => data(api.GET("/projects/{project}/probes/{probe}", { params: { path: { project, probe } }, signal })),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });
  useTitle(query.data?.name, "Probes");
  return (
    <div className="mx-auto max-w-160 pb-10">
      <Link from="/p/$project/probes/$probe" to="/p/$project/probes" className="inline-flex min-h-9 items-center gap-1.5 px-4 pt-1 text-data text-muted hover:text-ink">
        <ArrowLeft size={14} aria-hidden /> All probes
      </Link>
      <PageHead title={query.data?.name ?? "Probe"} />
      <Await query={query} queryKey={queryKey} skeleton={<Skeleton rows={10} />}>
        {(found) => <Form probe={found} />}
      </Await>
    </div>
  );
}

interface Draft {
  name: string;
  kind: Kind;
  target: string;
  method: string;
  headers: string;
  body: string;
  status: string;
  contains: string;
  follow: boolean;
  record: (typeof recordTypes)[number];
  resolver: string;
  interval: 30 | 60 | 300;
  timeout: number;
  regions: string;
  need: string;
  service: string;
  paused: boolean;
}

function draftOf(probe: Probe | undefined): Draft {
  return {
    name: probe?.name ?? "",
    kind: probe?.kind ?? "http",
    target: probe?.target ?? "",
    method: probe?.method ?? "GET",
    headers: headerLines(probe?.headers),
    body: probe?.body ?? "",
    status: probe?.expect_status ?? "",
    contains: probe?.contains ?? "",
    follow: probe ? (probe.follow_redirects ?? false) : true,
    record: probe?.record_type ?? "A",
    resolver: probe?.resolver ?? "",
    interval: probe?.interval_seconds ?? 30,
    timeout: probe?.timeout_seconds ?? 10,
    regions: probe?.regions?.join(", ") ?? "",
    need: probe?.need ? String(probe.need) : "",
    service: probe?.service ?? "",
    paused: probe?.paused ?? false,
  };
}

function settingsOf(draft: Draft): ProbeSettings {
  const { kind } = draft;
  const out: ProbeSettings = { name: draft.name.trim(), kind, target: draft.target.trim(), interval_seconds: draft.interval, timeout_seconds: draft.timeout };
  const regions = draft.regions.split(/[\s,]+/).filter(Boolean);
  if (regions.length) out.regions = regions;
  if (draft.need) out.need = Number(draft.need);
  if (draft.service.trim()) out.service = draft.service.trim();
  if (draft.paused) out.paused = true;
  if (draft.contains && (kind === "http" || kind === "dns")) out.contains = draft.contains;
  if (kind === "http") {
    const headers = headersOf(draft.headers);
    out.method = draft.method;
    if (headers) out.headers = headers;
    if (draft.body && !bodyless.includes(draft.method)) out.body = draft.body;
    if (draft.status.trim()) out.expect_status = draft.status.trim();
    if (draft.follow) out.follow_redirects = true;
  }
  if (kind === "dns") {
    out.record_type = draft.record;
    if (draft.resolver.trim()) out.resolver = draft.resolver.trim();
  }
  return out;
}

function Form({ probe }: { probe?: Probe }) {
  const { project, param } = useProject();
  const navigate = useNavigate();
  const [draft, setDraft] = useState(() => draftOf(probe));
  const [removing, setRemoving] = useState(false);
  const change = (some: Partial<Draft>) => setDraft((was) => ({ ...was, ...some }));
  const settings = settingsOf(draft);
  const kind = kinds.find((one) => one.kind === draft.kind)!;

  const leave = async () => {
    await queryClient.invalidateQueries({ queryKey: ["probes", project] });
    await navigate({ to: "/p/$project/probes", params: { project: param } });
  };
  const save = useMutation({
    mutationFn: () =>
      probe
        ? data(api.PUT("/projects/{project}/probes/{probe}", { params: { path: { project, probe: probe.id }, query: { version: probe.version } }, body: settings }))
        : data(api.POST("/projects/{project}/probes", { params: { path: { project } }, body: settings })),
    onSuccess: leave,
  });
  const remove = useMutation({
    mutationFn: () => api.DELETE("/projects/{project}/probes/{probe}", { params: { path: { project, probe: probe?.id ?? "" } } }),
    onSuccess: leave,
  });
  const trial = useMutation({
    // A trial needs no name.
    mutationFn: () => data(api.POST("/projects/{project}/probes/test", { params: { path: { project } }, body: { ...settings, name: settings.name || "trial" } })),
    onSuccess: (result) => announce(result.ok ? "It answers" : (result.error ?? "It failed")),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    save.mutate();
  };

  return (
    <form onSubmit={submit} className="flex flex-col gap-5 px-4">
      <fieldset>
        <legend className="mb-1 text-data">What to ask</legend>
        <div className="grid gap-2 sm:grid-cols-2">
          {kinds.map((one) => (
            <label key={one.kind} className="flex cursor-pointer gap-2 rounded border border-line bg-s1 p-2.5 hover:border-edge has-[:checked]:border-accent has-[:checked]:bg-accent-soft has-[:focus-visible]:outline-2 has-[:focus-visible]:outline-accent">
              <input type="radio" name="kind" checked={draft.kind === one.kind} onChange={() => change({ kind: one.kind })} className="mt-1 accent-(--accent)" />
              <span>
                {one.name}
                <span className="block text-data text-muted">{one.hint}</span>
              </span>
            </label>
          ))}
        </div>
      </fieldset>
      <Field label="Name" required maxLength={200} value={draft.name} onChange={(event) => change({ name: event.target.value })} placeholder="Shop" />
      <Field label={kind.target} required maxLength={2000} value={draft.target} onChange={(event) => change({ target: event.target.value })} placeholder={kind.example} className="[&_input]:font-mono" autoComplete="off" autoCapitalize="none" spellCheck={false} />
      {draft.kind === "http" && <Request draft={draft} change={change} />}
      {draft.kind === "dns" && (
        <div className="grid gap-4 sm:grid-cols-2">
          <Select label="Record" value={draft.record} options={recordTypes.map((one) => [one, one])} onChange={(value) => change({ record: value as Draft["record"] })} />
          <Field label="Resolver" value={draft.resolver} onChange={(event) => change({ resolver: event.target.value })} placeholder="9.9.9.9" hint="Empty: that of the machine that asks." />
        </div>
      )}
      {(draft.kind === "http" || draft.kind === "dns") && (
        <Field label={draft.kind === "http" ? "Text that the answer has to hold" : "Text that a record has to hold"} maxLength={1000} value={draft.contains} onChange={(event) => change({ contains: event.target.value })} hint="Empty: any will do." />
      )}
      <div className="grid gap-4 sm:grid-cols-2">
        <Select label="Ask every" value={String(draft.interval)} options={intervals.map(([value, words]) => [String(value), words])} onChange={(value) => change({ interval: Number(value) as Draft["interval"] })} />
        <Field label="Give up after (seconds)" type="number" required min={1} max={30} value={draft.timeout} onChange={(event) => change({ timeout: Number(event.target.value) })} />
        <Field label="Regions" value={draft.regions} onChange={(event) => change({ regions: event.target.value })} placeholder="local, eu-west" hint="Empty: all that there are. This server is local." />
        <Field label="Down when it fails from" type="number" min={1} max={20} value={draft.need} onChange={(event) => change({ need: event.target.value })} hint="Regions; empty: more than half." />
        <Field label="Service" maxLength={200} value={draft.service} onChange={(event) => change({ service: event.target.value })} placeholder="checkout" hint="What it is about, for alerts." />
        <Check label="Paused" checked={draft.paused} onChange={(paused) => change({ paused })} className="sm:pt-7" />
      </div>
      {trial.data && !trial.isPending && <Outcome result={trial.data} />}
      {trial.error && <ErrorNote error={trial.error} />}
      {save.error && <ErrorNote error={save.error} />}
      <div className="flex flex-wrap gap-2">
        <Button type="submit" kind="primary" disabled={save.isPending || !settings.name || !settings.target}>
          {save.isPending ? "Saving…" : probe ? "Save changes" : "Make probe"}
        </Button>
        <Button onClick={() => trial.mutate()} disabled={trial.isPending || !settings.target}>
          {trial.isPending ? "Asking…" : "Try now"}
        </Button>
        <Link to="/p/$project/probes" params={{ project: param }} className={buttonClass("ghost")}>
          Cancel
        </Link>
        {probe && (
          <Button className="ml-auto text-bad" onClick={() => setRemoving(true)}>
            Delete…
          </Button>
        )}
      </div>
      {removing && probe && (
        <Confirm label={`Delete ${probe.name}?`} button="Delete probe" busy="Deleting…" action={remove} onClose={() => setRemoving(false)}>
          <p>It is not asked any more. What it has measured stays as long as the project keeps metrics.</p>
        </Confirm>
      )}
    </form>
  );
}

function Request({ draft, change }: { draft: Draft; change: (some: Partial<Draft>) => void }) {
  return (
    <>
      <div className="grid gap-4 sm:grid-cols-2">
        <Select label="Method" value={draft.method} options={methods.map((one) => [one, one])} onChange={(method) => change({ method })} />
        <Field label="Good answers" maxLength={100} value={draft.status} onChange={(event) => change({ status: event.target.value })} placeholder="200-399" hint="Statuses and ranges: 200-299, 404." />
      </div>
      <Check label="Follow redirects" checked={draft.follow} onChange={(follow) => change({ follow })} />
      <Text label="Headers" value={draft.headers} onChange={(headers) => change({ headers })} placeholder="Authorization: Bearer …" hint="One on a line. Everybody of your organisation can read them." />
      {!bodyless.includes(draft.method) && <Text label="Body" value={draft.body} onChange={(body) => change({ body })} />}
    </>
  );
}

/** What came of a trial. */
function Outcome({ result }: { result: ProbeResult }) {
  const { timings, certificate } = result;
  const steps: [string, number][] = [
    ["name", timings.dns_ms],
    ["connection", timings.connect_ms],
    ["TLS", timings.tls_ms],
    ["first byte", timings.first_byte_ms],
  ];
  return (
    <Panel className={`border-l-[3px] ${result.ok ? "border-l-ok" : "border-l-bad"}`}>
      <div role="status" className="flex flex-col gap-1 px-3 py-2">
        <p className="wrap-anywhere">
          {result.ok ? `It answers${result.status_code ? ` ${result.status_code}` : ""} in ${duration(timings.total_ms)}.` : <>It fails: {result.error}</>}
        </p>
        <p className="text-data text-muted">
          {steps
            .filter(([, ms]) => ms > 0)
            .map(([name, ms]) => `${name} ${duration(ms)}`)
            .join(" · ")}
        </p>
        {result.answers && result.answers.length > 0 && <p className="font-mono text-data wrap-anywhere">{result.answers.join(", ")}</p>}
        {certificate && (
          <p className="text-data wrap-anywhere text-muted">
            Certificate of {certificate.issuer || "an unnamed authority"} for {certificate.names.join(", ")}: {certificate.words}.
          </p>
        )}
      </div>
    </Panel>
  );
}

function Select({ label, value, options, onChange }: { label: string; value: string; options: readonly (readonly [string, string])[]; onChange: (value: string) => void }) {
  const id = useId();
  return (
    <div>
      <label htmlFor={id} className="mb-1 block text-data">
        {label}
      </label>
      <select id={id} value={value} onChange={(event) => onChange(event.target.value)} className={fieldClass}>
        {options.map(([one, words]) => (
          <option key={one} value={one}>
            {words}
          </option>
        ))}
      </select>
    </div>
  );
}

function Text({ label, value, onChange, hint, placeholder }: { label: string; value: string; onChange: (value: string) => void; hint?: string; placeholder?: string }) {
  const id = useId();
  return (
    <div>
      <label htmlFor={id} className="mb-1 block text-data">
        {label}
      </label>
      <textarea id={id} rows={3} value={value} onChange={(event) => onChange(event.target.value)} placeholder={placeholder} spellCheck={false} aria-describedby={hint ? `${id}-more` : undefined} className={`${fieldClass} py-1.5 font-mono`} />
      {hint && (
        <p id={`${id}-more`} className="mt-1 text-data text-muted">
          {hint}
        </p>
      )}
    </div>
  );
}

function Check({ label, checked, onChange, className = "" }: { label: string; checked: boolean; onChange: (checked: boolean) => void; className?: string }) {
  return (
    <label className={`flex items-center gap-2 ${className}`}>
      <input type="checkbox" checked={checked} onChange={(event) => onChange(event.target.checked)} className="accent-(--accent)" />
      {label}
    </label>
  );
}
