import { useMutation, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { BellOff, Check, ChevronDown, MessageSquarePlus, Ellipsis, Printer } from "lucide-react";
import { useRef, useState, type FormEvent } from "react";
import { Button, buttonClass } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { Dialog } from "../../components/Dialog";
import { fieldClass } from "../../components/Field";
import { Menu, MenuItem, MenuLabel, MenuSeparator } from "../../components/Menu";
import { ErrorNote, Kbd } from "../../components/Page";
import { api, data, type IncidentDetail } from "../../lib/api";
import { usePeople } from "./people";
import { isOpen, silenceOf } from "../../lib/incidents";
import { useKeys } from "../../lib/keys";
import { announce, useProject } from "../../lib/page";
import { usePref } from "../../lib/prefs";
import { queryClient, sessionQuery } from "../../lib/query";
import { longestSilence, matchersText, matcherText } from "../../lib/silences";
import { hour } from "../../lib/time";

function fromNow(ms: number): string {
  return new Date(Date.now() + ms).toISOString();
}

type Act = "acknowledge" | "escalate" | "false_alarm";

/** What a person does with an incident: a row at the page's head, and on a phone a bar under the thumb. */
export function IncidentActions({ detail }: { detail: IncidentDetail }) {
  const { project, param } = useProject();
  const { incident } = detail;
  const { data: session } = useQuery(sessionQuery);
  const [asking, setAsking] = useState<"resolve" | "false_alarm" | "note" | undefined>(undefined);
  const keys = usePref("keys");
  const open = isOpen(incident);
  const path = { params: { path: { project, incident: incident.id } } };
  const matchers = silenceOf(detail);
  const done = async (said: string) => {
    announce(said);
    setAsking(undefined);
    await Promise.all([queryClient.invalidateQueries({ queryKey: ["incident", project, incident.id] }), queryClient.invalidateQueries({ queryKey: ["incidents", project] })]);
  };
  const act = useMutation({
    mutationFn: async (what: Act) => {
      if (what === "acknowledge") await api.POST("/projects/{project}/incidents/{incident}/acknowledge", path);
      else if (what === "escalate") await api.POST("/projects/{project}/incidents/{incident}/escalate", path);
      else await api.POST("/projects/{project}/incidents/{incident}/false_alarm", path);
      return what;
    },
    onSuccess: (what) => done(what === "acknowledge" ? "Acknowledged: you look after it" : what === "escalate" ? "The next step is told" : "Marked as a false alarm"),
  });
  const silence = useMutation({
    mutationFn: ({ ms, untilResolved }: { ms: number; untilResolved: boolean }) =>
      data(
        api.POST("/projects/{project}/silences", {
          params: { path: { project } },
          body: { matchers, to: fromNow(ms), reason: `Incident ${incident.number}: ${incident.title}`.slice(0, 300), ...(untilResolved ? { until_resolved: true } : {}) },
        }),
      ),
    onSuccess: async () => {
      await queryClient.invalidateQueries({ queryKey: ["silences", project] });
      await done(`Silenced: ${matchersText(matchers)}`);
    },
  });
  const mine = useMe(session?.user?.email, incident.acknowledged_by);
  const acknowledge = () => {
    if (!open || mine || act.isPending) return false;
    act.mutate("acknowledge");
    return true;
  };
  useKeys({ a: acknowledge, n: () => setAsking("note") });
  const hint = (key: string) => keys && <span className="max-md:hidden"><Kbd>{key}</Kbd></span>;
  return (
    <>
      <div
        role="group"
        aria-label="Actions"
        className="flex flex-wrap items-center gap-2 max-md:fixed max-md:inset-x-0 max-md:bottom-[calc(3.25rem+1px+env(safe-area-inset-bottom))] max-md:z-20 max-md:flex-nowrap max-md:border-t max-md:border-line max-md:bg-s1 max-md:p-2 max-md:[&>*]:min-h-12 print:hidden"
      >
        {open && !incident.acknowledged_by && (
          <Button kind="primary" className="max-md:flex-1" disabled={act.isPending} aria-keyshortcuts="a" onClick={acknowledge}>
            <Check size={16} aria-hidden /> Acknowledge {hint("a")}
          </Button>
        )}
        {open && incident.acknowledged_by && (
          <Button kind="primary" className="max-md:flex-1" onClick={() => setAsking("resolve")}>
            <Check size={16} aria-hidden /> Resolve…
          </Button>
        )}
        {open && (
          <Menu
            align="end"
            label="Silence"
            trigger={
              <Button disabled={silence.isPending} className="max-md:flex-1">
                <BellOff size={14} aria-hidden /> Silence <ChevronDown size={12} aria-hidden />
              </Button>
            }
          >
            <MenuLabel>{matchersText(matchers)}</MenuLabel>
            {matchers.length > 0 && (
              <>
                <MenuItem onSelect={() => silence.mutate({ ms: hour, untilResolved: false })}>For 1 h</MenuItem>
                <MenuItem onSelect={() => silence.mutate({ ms: 4 * hour, untilResolved: false })}>For 4 h</MenuItem>
                <MenuItem onSelect={() => silence.mutate({ ms: longestSilence, untilResolved: true })}>Until it is resolved</MenuItem>
                <MenuSeparator />
              </>
            )}
            <MenuItem asChild>
              <Link to="/p/$project/new-silence" params={{ project: param }} search={{ match: matchers.map(matcherText) }}>
                Something else…
              </Link>
            </MenuItem>
          </Menu>
        )}
        <Button className={open ? "max-md:w-12 max-md:px-0" : "max-md:flex-1"} aria-keyshortcuts="n" onClick={() => setAsking("note")}>
          <MessageSquarePlus size={16} aria-hidden /> <span className={open ? "max-md:sr-only" : ""}>Note</span> {hint("n")}
        </Button>
        <Menu
          align="end"
          label="More"
          trigger={
            <Button aria-label="More actions" className="max-md:w-12 max-md:px-0">
              <Ellipsis size={16} aria-hidden />
            </Button>
          }
        >
          {open && <MenuItem onSelect={() => act.mutate("escalate")}>Escalate: tell the next step now</MenuItem>}
          {open && incident.acknowledged_by && !mine && <MenuItem onSelect={() => act.mutate("acknowledge")}>Take over: acknowledge as you</MenuItem>}
          {open && !incident.acknowledged_by && <MenuItem onSelect={() => setAsking("resolve")}>Resolve by hand…</MenuItem>}
          {!incident.false_alarm && <MenuItem onSelect={() => setAsking("false_alarm")}>False alarm…</MenuItem>}
          <MenuItem onSelect={() => setTimeout(() => print(), 50)}>
            <Printer size={14} aria-hidden /> Print
          </MenuItem>
        </Menu>
      </div>
      {(act.error ?? silence.error) && <ErrorNote className="basis-full" error={(act.error ?? silence.error)!} />}
      {asking === "note" && <NoteDialog detail={detail} onClose={() => setAsking(undefined)} onDone={() => done("Note kept")} />}
      {asking === "resolve" && <ResolveDialog detail={detail} onClose={() => setAsking(undefined)} onDone={() => done("Resolved")} />}
      {asking === "false_alarm" && (
        <Confirm label="A false alarm?" button="Mark as a false alarm" action={{ ...act, mutate: () => act.mutate("false_alarm") }} onClose={() => setAsking(undefined)}>
          <p>{open ? "The incident is closed, everybody who was told hears that it is over, and it counts against the rule's precision." : "It counts against the rule's precision."} This cannot be undone.</p>
        </Confirm>
      )}
    </>
  );
}

/** Whether an incident is acknowledged by who is signed in: by the id of that person, or by the address where there is none. */
function useMe(email: string | undefined, by: string | undefined): boolean {
  const people = usePeople();
  if (!email || !by) return false;
  return by === email || people.some((one) => one.id === by && one.email.toLowerCase() === email.toLowerCase());
}

function NoteDialog({ detail, onClose, onDone }: { detail: IncidentDetail; onClose: () => void; onDone: () => Promise<void> }) {
  const { project } = useProject();
  const [text, setText] = useState("");
  const save = useMutation({
    mutationFn: () => api.POST("/projects/{project}/incidents/{incident}/note", { params: { path: { project, incident: detail.incident.id } }, body: { text: text.trim() } }),
    onSuccess: onDone,
  });
  return <TextDialog label="Note for the others" field="What did you see or do?" button="Keep note" value={text} onChange={setText} required error={save.error} busy={save.isPending} onSubmit={() => save.mutate()} onClose={onClose} />;
}

function ResolveDialog({ detail, onClose, onDone }: { detail: IncidentDetail; onClose: () => void; onDone: () => Promise<void> }) {
  const { project } = useProject();
  const [reason, setReason] = useState("");
  const save = useMutation({
    mutationFn: () =>
      api.POST("/projects/{project}/incidents/{incident}/resolve", { params: { path: { project, incident: detail.incident.id } }, body: reason.trim() ? { reason: reason.trim() } : {} }),
    onSuccess: onDone,
  });
  return (
    <TextDialog
      label="Resolve by hand?"
      under="It is closed although its rules are still bad. They open it again only after they have been good."
      field="Why is it over? (may stay empty)"
      button="Resolve"
      value={reason}
      onChange={setReason}
      error={save.error}
      busy={save.isPending}
      onSubmit={() => save.mutate()}
      onClose={onClose}
    />
  );
}

function TextDialog({ label, under, field, button, value, onChange, required = false, error, busy, onSubmit, onClose }: { label: string; under?: string; field: string; button: string; value: string; onChange: (value: string) => void; required?: boolean; error: Error | null; busy: boolean; onSubmit: () => void; onClose: () => void }) {
  const form = useRef<HTMLFormElement>(null);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onSubmit();
  };
  return (
    <Dialog label={label} onClose={onClose}>
      <form ref={form} onSubmit={submit}>
        {under && <p className="mb-3">{under}</p>}
        <label className="block text-data">
          {field}
          <textarea
            autoFocus
            required={required}
            rows={4}
            maxLength={1000}
            value={value}
            onChange={(event) => onChange(event.target.value)}
            onKeyDown={(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.current?.requestSubmit()}
            className={`mt-1 py-2 ${fieldClass}`}
          />
        </label>
        {error && <ErrorNote className="mt-3" error={error} />}
        <div className="mt-3 flex gap-2">
          <button type="submit" disabled={busy} className={buttonClass("primary")}>
            {button}
          </button>
          <Button kind="ghost" onClick={onClose}>
            Cancel
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
