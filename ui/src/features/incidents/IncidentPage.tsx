import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { ArrowLeft, BookOpen, ChevronRight, CircleCheck, CircleDot, ExternalLink, TriangleAlert, UserRound, type LucideIcon } from "lucide-react";
import { useState, type ReactNode } from "react";
import { buttonClass } from "../../components/Button";
import { Await, Empty, Panel, Skeleton, When } from "../../components/Page";
import { SeverityBar, SeverityWord } from "../../components/Severity";
import { incidentQuery, receiverNamesQuery } from "../../lib/alerting";
import { api, data, type Delivery, type IncidentDetail, type IncidentInstance } from "../../lib/api";
import { digits, duration, plural } from "../../lib/format";
import { careWords, dossierOf, incidentSentence, isOpen, proseTimes, safeLink, timeline, type Dossier, type EntryTone } from "../../lib/incidents";
import { useKeys } from "../../lib/keys";
import { useAnswer, useNow, useProject, useTitle } from "../../lib/page";
import { usePref } from "../../lib/prefs";
import { IncidentActions } from "./IncidentActions";
import { IncidentChart } from "./IncidentChart";
import { useNames } from "./people";

const route = getRouteApi("/p/$project/incidents/$incident");

export function IncidentPage() {
  const { project } = useProject();
  const { incident: id } = route.useParams();
  const navigate = route.useNavigate();
  const zone = usePref("zone");
  const now = useNow();
  const options = incidentQuery(project, id);
  const query = useQuery(options);
  const sentence = query.data && incidentSentence(query.data.incident, zone, now);
  useTitle(sentence ?? "Incident", "Incidents");
  useAnswer(sentence, `${id} ${query.data?.incident.state}`);
  useKeys({ Escape: () => void navigate({ to: "/p/$project/incidents" }) });
  return (
    <div className="pb-8 max-md:pb-24 print:pb-0">
      <Link from="/p/$project/incidents/$incident" to="/p/$project/incidents" className="inline-flex min-h-9 items-center gap-1.5 px-4 pt-1 text-data text-muted hover:text-ink print:hidden">
        <ArrowLeft size={14} aria-hidden /> All incidents
      </Link>
      {!query.data && <h1 className="sr-only">Incident</h1>}
      <Await query={query} queryKey={options.queryKey} skeleton={<Skeleton rows={10} />}>
        {(found) => <Detail key={found.incident.id} detail={found} sentence={sentence ?? ""} />}
      </Await>
    </div>
  );
}

function Detail({ detail, sentence }: { detail: IncidentDetail; sentence: string }) {
  const zone = usePref("zone");
  const now = useNow();
  const { incident } = detail;
  const dossier = dossierOf(detail.dossier);
  const name = useNames();
  const care = careWords(detail, name, zone, now);
  const act = detail.instances.find((one) => !one.resolved_at) ?? detail.instances[0];
  return (
    <>
      <header className="flex flex-wrap items-start justify-between gap-x-6 gap-y-3 px-4 pb-4">
        <div className="relative min-w-0 flex-1 basis-80 pl-3">
          <SeverityBar severity={incident.severity} />
          <h1 className="text-lead font-medium text-balance">{sentence}</h1>
          <p className="mt-0.5 flex flex-wrap gap-x-4 text-data text-muted">
            <SeverityWord severity={incident.severity} />
            <span>{incident.state === "merged" ? "part of another incident" : incident.state}</span>
            <span>number {incident.number}</span>
            {incident.team && <span>{incident.team}</span>}
            {incident.flapping && <span className="text-warn">flapping</span>}
            {(incident.episode ?? 1) > 1 && <span className="text-warn">bad again, {incident.episode} times</span>}
            {Object.entries(detail.labels)
              .filter(([, value]) => value)
              .map(([label, value]) => (
                <span key={label} className="font-mono">
                  {label}={value}
                </span>
              ))}
          </p>
          {care && <p className={incident.acknowledged_by ? "mt-1 text-ok" : incident.severity === "page" ? "mt-1 text-bad" : "mt-1"}>{care}</p>}
          {incident.late && <p className="mt-1 text-data text-warn">People were told late: {proseTimes(incident.late, zone, now)}.</p>}
        </div>
        <IncidentActions detail={detail} />
      </header>
      <div className="grid items-start gap-4 px-4 xl:grid-cols-[minmax(0,1fr)_26rem] print:block print:space-y-4">
        <div className="flex min-w-0 flex-col gap-4">
          {act && <FirstAction instance={act} />}
          <IncidentChart detail={detail} dossier={dossier} />
          <DossierPanels dossier={dossier} open={isOpen(incident)} />
          <Instances title={plural(detail.instances.length, "instance")} instances={detail.instances} />
          {detail.causes.length > 0 && <Instances title="Probably because" instances={detail.causes} />}
          <Related detail={detail} />
        </div>
        <div className="flex min-w-0 flex-col gap-4">
          <Timeline detail={detail} now={now} />
          <Told deliveries={detail.deliveries} />
        </div>
      </div>
    </>
  );
}

/** What to do first: in sight before anything that explains. */
function FirstAction({ instance }: { instance: IncidentInstance }) {
  const runbook = safeLink(instance.runbook ?? "");
  if (!instance.first_action && !runbook) return null;
  return (
    <section aria-label="First action" className="flex flex-wrap items-center justify-between gap-x-4 gap-y-2 rounded border border-accent bg-accent-soft px-4 py-3">
      <p className="min-w-0 flex-1 basis-60 text-head">
        <span className="block text-data text-muted">First action</span>
        {instance.first_action || "Follow the runbook."}
      </p>
      {runbook && (
        <a href={runbook} target="_blank" rel="noreferrer" className={buttonClass("plain", "px-3 min-h-9")}>
          <BookOpen size={14} aria-hidden /> Open the runbook
        </a>
      )}
    </section>
  );
}

function DossierPanels({ dossier, open }: { dossier: Dossier | undefined; open: boolean }) {
  if (!dossier) return open ? <p className="text-data text-muted">What was known when people were first told is put together when they are.</p> : null;
  const lead = dossier.sections.filter((one) => one.lead);
  const rest = dossier.sections.filter((one) => !one.lead);
  return (
    <Panel title="What was known when people were told" more={dossier.at && <When at={dossier.at} className="text-data text-muted" />}>
      <div className="divide-y divide-line">
        {lead.map((one) => (
          <DossierSection key={one.title} section={one} />
        ))}
        {dossier.facts.length > 0 && (
          <dl className="grid grid-cols-2 gap-x-6 gap-y-2 px-3 py-2.5 sm:grid-cols-3">
            {dossier.facts.map((one) => (
              <div key={one.name}>
                <dt className="text-data text-muted">{one.name}</dt>
                <dd className="wrap-anywhere">{one.value}</dd>
              </div>
            ))}
          </dl>
        )}
        {rest.map((one) => (
          <DossierSection key={one.title} section={one} />
        ))}
        {dossier.sections.length === 0 && <Empty>Nothing stood out.</Empty>}
      </div>
    </Panel>
  );
}

function DossierSection({ section }: { section: Dossier["sections"][number] }) {
  const zone = usePref("zone");
  const now = useNow();
  return (
    <section className="px-3 py-2.5">
      <h3 className="text-data text-muted">{section.title}</h3>
      <ul className={section.lead ? "text-head" : ""}>
        {section.lines.map((line, i) => (
          <li key={i} className="flex items-baseline gap-2 py-0.5">
            <span className="min-w-0 wrap-anywhere">{line.link ? <PageLink to={line.link}>{proseTimes(line.text, zone, now)}</PageLink> : proseTimes(line.text, zone, now)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** A link of a message: to a page of this server in this tab, to others in a new one. */
function PageLink({ to, children }: { to: string; children: ReactNode }) {
  const url = new URL(to, location.href);
  const here = url.origin === location.origin;
  return (
    <a href={here ? `${url.pathname}${url.search}${url.hash}` : to} {...(here ? {} : { target: "_blank", rel: "noreferrer" })} className="text-accent underline underline-offset-2">
      {children}
      {!here && <ExternalLink size={12} aria-label="(opens elsewhere)" className="ml-1 inline" />}
    </a>
  );
}

function Instances({ title, instances }: { title: string; instances: IncidentInstance[] }) {
  const { project, param } = useProject();
  if (instances.length === 0) return null;
  return (
    <Panel title={title}>
      <ul>
        {instances.map((one) => (
          <li key={one.key} className="relative border-b border-line px-3 py-2 pl-4 last:border-b-0">
            <SeverityBar severity={one.severity} />
            <div className="flex flex-wrap items-baseline justify-between gap-x-4">
              <p className="min-w-0 wrap-anywhere">{one.headline}</p>
              <p className="text-data">{one.resolved_at ? <span className="text-ok">over after {duration(Date.parse(one.resolved_at) - Date.parse(one.since))}</span> : <span className="text-bad">open</span>}</p>
            </div>
            <p className="flex flex-wrap gap-x-4 text-data text-muted">
              {one.rule ? (
                <a href={`/p/${one.project || param}/rules/${encodeURIComponent(one.rule)}`} className="text-accent underline underline-offset-2">
                  {one.name || one.rule}
                </a>
              ) : (
                <span>{one.name}</span>
              )}
              <span>
                since <When at={one.since} mode="clock" />
              </span>
              {one.limit && (
                <span title={String(one.worst)}>
                  worst {valueText(one.worst, one.unit)}, limit {one.limit}
                </span>
              )}
              {one.project !== project && one.project > 0 && <span>project {one.project}</span>}
              {Object.entries(one.labels ?? {})
                .filter(([label]) => !["severity", "class", "area"].includes(label))
                .map(([label, value]) => (
                  <span key={label} className="font-mono wrap-anywhere">
                    {label}={value}
                  </span>
                ))}
            </p>
            {one.summary && <p className="mt-0.5 text-data">{one.summary}</p>}
          </li>
        ))}
      </ul>
    </Panel>
  );
}

/** A value of an instance: shares are told in percent. */
function valueText(value: number, unit: string | undefined): string {
  if (unit === "%") return `${digits(value * 100)}\u00a0%`;
  return unit && unit !== "1" ? `${digits(value)}\u00a0${unit}` : digits(value);
}

function Related({ detail }: { detail: IncidentDetail }) {
  const { param } = useProject();
  const link = (incident: string, text: string) => (
    <Link to="/p/$project/incidents/$incident" params={{ project: param, incident }} className="text-accent underline underline-offset-2">
      {text}
    </Link>
  );
  if (detail.affected.length === 0 && !detail.parent) return null;
  return (
    <Panel title={detail.parent ? "Part of" : "Also affected"}>
      <ul className="px-3 py-2">
        {detail.parent && <li>{link(detail.parent, "The incident that this one became part of")}</li>}
        {detail.affected.map((one) => (
          <li key={one.incident} className="py-0.5">
            {link(one.incident, one.name)} <span className="text-data text-muted">waits for this to end</span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

const looks: Record<EntryTone, { icon: LucideIcon; tone: string }> = {
  bad: { icon: TriangleAlert, tone: "text-bad" },
  warn: { icon: CircleDot, tone: "text-warn" },
  ok: { icon: CircleCheck, tone: "text-ok" },
  person: { icon: UserRound, tone: "text-info" },
  quiet: { icon: CircleDot, tone: "text-quiet" },
};

function Timeline({ detail, now }: { detail: IncidentDetail; now: number }) {
  const zone = usePref("zone");
  const name = useNames();
  return (
    <Panel title="Timeline">
      <ol className="px-3 py-2">
        {timeline(detail, now).map((one, i, all) => {
          const { icon: Icon, tone } = looks[one.tone];
          return (
            <li key={one.id} className="relative flex gap-3 pb-2.5 last:pb-0">
              {i < all.length - 1 && <span aria-hidden className="absolute top-5 bottom-0 left-[7px] w-px bg-line" />}
              <Icon size={15} aria-hidden className={`mt-0.5 shrink-0 ${tone}`} />
              <div className="min-w-0 flex-1">
                <p className="text-data text-muted">
                  {one.kind === "now" ? "now" : <When at={one.at} mode="clock" precision="second" />}
                  {one.person && ` · ${name(one.person)}`}
                </p>
                <p className="wrap-anywhere whitespace-pre-wrap">{proseTimes(one.text, zone, now)}</p>
              </div>
            </li>
          );
        })}
      </ol>
    </Panel>
  );
}

const states: Record<Delivery["state"], { word: string; tone: string }> = {
  due: { word: "waits", tone: "text-muted" },
  sending: { word: "is being sent", tone: "text-info" },
  done: { word: "delivered", tone: "text-ok" },
  withdrawn: { word: "withdrawn", tone: "text-quiet" },
  failed: { word: "failed", tone: "text-bad" },
  folded: { word: "in another message", tone: "text-quiet" },
};

const actions: Record<string, string> = {
  trigger: "told", update: "update", reminder: "reminder", escalate: "escalation", acknowledge: "acknowledged", resolve: "told that it is over", ticket: "ticket", comment: "comment",
  close: "ticket closed", mail: "mail",
};

function Told({ deliveries }: { deliveries: Delivery[] }) {
  const { project } = useProject();
  const names = useQuery(receiverNamesQuery(project)).data;
  return (
    <Panel title="Who was told">
      {deliveries.length === 0 ? (
        <Empty>Nobody yet.</Empty>
      ) : (
        <ul>
          {deliveries.map((one) => (
            <DeliveryRow key={one.key} delivery={one} name={names?.find((r) => r.id === one.receiver)?.name ?? one.receiver} />
          ))}
        </ul>
      )}
    </Panel>
  );
}

function DeliveryRow({ delivery, name }: { delivery: Delivery; name: string }) {
  const [open, setOpen] = useState(false);
  const { word, tone } = delivery.state === "due" && delivery.attempts > 0 ? { word: "tries again", tone: "text-warn" } : states[delivery.state];
  return (
    <li className="border-b border-line last:border-b-0">
      <button type="button" aria-expanded={open} onClick={() => setOpen(!open)} className="flex w-full items-start gap-2 px-3 py-2 text-left hover:bg-s2">
        <ChevronRight size={14} aria-hidden className={`mt-0.5 shrink-0 text-muted print:hidden ${open ? "rotate-90" : ""}`} />
        <span className="min-w-0 flex-1">
          <span className="flex flex-wrap justify-between gap-x-3">
            <span className="font-medium wrap-anywhere">{name}</span>
            <span className={`text-data ${tone}`}>{word}</span>
          </span>
          <span className="block text-data text-muted">
            {actions[delivery.action] ?? delivery.action} <When at={delivery.done_at ?? delivery.due_at} mode="clock" precision="second" />
            {delivery.attempts > 1 && ` · ${plural(delivery.attempts, "attempt")}`}
            {delivery.uncertain && " · may have come twice"}
          </span>
          {delivery.last_error && delivery.state !== "done" && <span className="block text-data text-bad wrap-anywhere">{delivery.last_error}</span>}
        </span>
      </button>
      {open && <Attempts delivery={delivery} />}
    </li>
  );
}

function Attempts({ delivery }: { delivery: Delivery }) {
  const { project } = useProject();
  const queryKey = ["delivery", project, delivery.key, delivery.attempts, delivery.state];
  const query = useQuery({
    queryKey,
    queryFn: ({ signal }) => data(api.GET("/projects/{project}/deliveries/{key}", { params: { path: { project, key: delivery.key } }, signal })),
  });
  return (
    <div className="border-t border-line bg-bg">
      <Await query={query} queryKey={queryKey} skeleton={<Skeleton rows={1} />}>
        {({ tries }) =>
          tries.length === 0 ? (
            <p className="px-4 py-2 text-data text-muted">Not tried yet.</p>
          ) : (
            <ol className="px-4 py-2 text-data">
              {tries.map((one) => (
                <li key={one.number} className="flex flex-wrap gap-x-3 py-0.5">
                  <span className="text-muted">
                    {one.number}. <When at={one.at} mode="clock" precision="second" />
                  </span>
                  <span className={one.error ? "text-bad" : "text-ok"}>{one.code ? `answered ${one.code}` : one.error ? "no answer" : "accepted"}</span>
                  <span className="text-muted">{duration(one.took_ms)}</span>
                  {(one.error || one.excerpt) && <span className="basis-full font-mono text-muted wrap-anywhere">{one.error || one.excerpt}</span>}
                </li>
              ))}
            </ol>
          )
        }
      </Await>
    </div>
  );
}

