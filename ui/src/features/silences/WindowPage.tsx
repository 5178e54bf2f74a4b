import { useMutation, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Trash2 } from "lucide-react";
import { useId, useState, type FormEvent } from "react";
import { Button, buttonClass } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { Field, fieldClass } from "../../components/Field";
import { Await, ErrorNote, PageHead, Skeleton } from "../../components/Page";
import { windowsQuery } from "../../lib/alerting";
import { api, ApiError, data, type StoredWindow } from "../../lib/api";
import { useKeys } from "../../lib/keys";
import { toggled } from "../../lib/logText";
import { idFrom } from "../../lib/oncall";
import { announce, useProject, useTitle } from "../../lib/page";
import { usePref } from "../../lib/prefs";
import { queryClient } from "../../lib/query";
import { matchersText, repeatOf, repeatText, repeatWords, weekdayName, weekdays, type Repeat } from "../../lib/silences";
import { fromInputValue, hour, inputValue } from "../../lib/time";
import { here, ZoneField } from "../oncall/fields";
import { MatchersField, useMatchers } from "./MatchersField";

const edit = getRouteApi("/p/$project/silences/windows/$id");
const fresh = getRouteApi("/p/$project/new-window");

export function EditWindowPage() {
  const { project } = useProject();
  const { id } = edit.useParams();
  const options = windowsQuery(project);
  const query = useQuery(options);
  return (
    <Await query={query} queryKey={options.queryKey} skeleton={<Skeleton rows={8} />}>
      {(all) => {
        const found = all.find((one) => one.window.id === id);
        return found ? <Form key={id} stored={found} /> : <ErrorNote className="m-4" error={new ApiError("not_found", `There is no window ${id}; it may have been removed.`)} />;
      }}
    </Await>
  );
}

export function NewWindowPage() {
  return <Form stored={undefined} />;
}

const kinds: { kind: Repeat["kind"]; name: string }[] = [
  { kind: "never", name: "once" },
  { kind: "daily", name: "days" },
  { kind: "weekly", name: "weeks" },
  { kind: "monthly", name: "months" },
  { kind: "other", name: "by a rule" },
];

function Form({ stored }: { stored: StoredWindow | undefined }) {
  const { project, param } = useProject();
  const navigate = fresh.useNavigate();
  const zone = usePref("zone");
  const kindID = useId();
  // Of when the form was opened: what is typed is not to be changed by what comes meanwhile.
  const [opened] = useState(stored);
  const before = opened?.window;
  const [name, setName] = useState(before?.name ?? "");
  const matchers = useMatchers(before?.matchers?.length ? matchersText(before.matchers) : "");
  const [from, setFrom] = useState(() => inputValue(before ? Date.parse(before.from) : Math.ceil(Date.now() / hour) * hour, zone).slice(0, 16));
  const [to, setTo] = useState(() => inputValue(before ? Date.parse(before.to) : Math.ceil(Date.now() / hour) * hour + hour, zone).slice(0, 16));
  const [place, setPlace] = useState(before?.zone || here);
  const [repeat, setRepeat] = useState(() => repeatOf(before?.repeat));
  const [asking, setAsking] = useState(false);
  const title = before ? `Edit ${before.name}` : "New maintenance window";
  useTitle(title, "Silences");
  const back = () => navigate({ to: "/p/$project/silences", params: { project: param }, search: (was) => ({ ...was, tab: "maintenance" as const }) });
  useKeys({ Escape: () => void back() });
  const id = before?.id ?? idFrom(name);
  const path = { project, id };
  const done = async (said: string) => {
    await queryClient.invalidateQueries({ queryKey: ["windows", project] });
    announce(said);
    await back();
  };
  const a = fromInputValue(from, zone);
  const b = fromInputValue(to, zone);
  const save = useMutation({
    mutationFn: () => {
      const text = repeatText(repeat);
      return data(
        api.PUT("/projects/{project}/windows/{id}", {
          params: { path, query: { version: opened?.meta.version ?? 0 } },
          body: { id, name: name.trim(), matchers: matchers.value ?? [], from: new Date(a!).toISOString(), to: new Date(b!).toISOString(), zone: place, ...(text ? { repeat: text } : {}) },
        }),
      );
    },
    onSuccess: () => done("The window is saved"),
  });
  const remove = useMutation({ mutationFn: () => api.DELETE("/projects/{project}/windows/{id}", { params: { path } }), onSuccess: () => done("The window is removed") });
  const wrong = a !== undefined && b !== undefined && a >= b;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (matchers.value && a !== undefined && b !== undefined && !wrong) save.mutate();
  };
  return (
    <div className="mx-auto max-w-160 pb-10">
      <PageHead title={title} under={`What it matches is not judged meanwhile, ${repeatWords(repeatText(repeat))}. What was open before stays open.`} />
      <form onSubmit={submit} className="flex flex-col gap-5 px-4">
        <Field label="Name" required maxLength={100} autoFocus={!before} value={name} onChange={(event) => setName(event.target.value)} placeholder="Database upgrade" />
        <MatchersField matchers={matchers} hint='Conditions such as service="checkout", all of which have to hold. Empty is everything.' />
        <div className="grid gap-4 sm:grid-cols-2">
          <Field label={`From (${zone === "utc" ? "UTC" : "your time"})`} type="datetime-local" required value={from} onChange={(event) => setFrom(event.target.value)} />
          <Field label="To" type="datetime-local" required value={to} onChange={(event) => setTo(event.target.value)} error={wrong ? "It is not after the start." : undefined} hint="7 d after the start at the latest." />
        </div>
        <fieldset>
          <legend className="mb-1 text-data">Comes again</legend>
          <div className="flex flex-wrap items-center gap-2">
            {["daily", "weekly", "monthly"].includes(repeat.kind) && (
              <label className="flex items-center gap-2 text-data text-muted">
                every
                <input type="number" min={1} max={99} required value={repeat.interval} onChange={(event) => setRepeat({ ...repeat, interval: Number(event.target.value) })} className={`${fieldClass} w-20!`} />
              </label>
            )}
            <label htmlFor={kindID} className="sr-only">
              Repetition
            </label>
            <select id={kindID} value={repeat.kind} onChange={(event) => setRepeat({ ...repeat, kind: event.target.value as Repeat["kind"], text: repeatText(repeat) ?? repeat.text })} className={`${fieldClass} w-auto!`}>
              {kinds.map((one) => (
                <option key={one.kind} value={one.kind}>
                  {one.name}
                </option>
              ))}
            </select>
          </div>
          {repeat.kind === "weekly" && (
            <div role="group" aria-label="On these days" className="mt-2 flex flex-wrap gap-1.5">
              {weekdays.map((one) => (
                <Button key={one} aria-pressed={repeat.days.includes(one)} onClick={() => setRepeat({ ...repeat, days: toggled(repeat.days, one) ?? [] })}>
                  {weekdayName(one)}
                </Button>
              ))}
            </div>
          )}
          {repeat.kind === "other" && (
            <Field
              label="Rule"
              required
              maxLength={200}
              value={repeat.text}
              onChange={(event) => setRepeat({ ...repeat, text: event.target.value })}
              placeholder="FREQ=MONTHLY;BYDAY=2TU"
              hint="A rule of RFC 5545 of FREQ, INTERVAL, BYDAY, UNTIL or COUNT."
              className="mt-2 [&_input]:font-mono"
            />
          )}
        </fieldset>
        {repeat.kind !== "never" && <ZoneField value={place} onChange={setPlace} hint="By whose clock it comes again." />}
        {save.error && <ErrorNote error={save.error} />}
        <div className="flex flex-wrap gap-2">
          <Button type="submit" kind="primary" disabled={save.isPending}>
            {save.isPending ? "Saving…" : "Save window"}
          </Button>
          <Link to="/p/$project/silences" params={{ project: param }} search={{ tab: "maintenance" }} className={buttonClass("ghost")}>
            Cancel
          </Link>
          {before && (
            <Button kind="ghost" className="ml-auto" onClick={() => setAsking(true)}>
              <Trash2 size={14} aria-hidden /> Remove
            </Button>
          )}
        </div>
      </form>
      {asking && before && (
        <Confirm label={`Remove ${before.name}?`} button="Remove window" action={remove} onClose={() => setAsking(false)}>
          <p>{opened?.active ? "It is open now: what it matches is judged again from this moment." : "It does not come again."}</p>
        </Confirm>
      )}
    </div>
  );
}
