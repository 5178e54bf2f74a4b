import { keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useEffect, useState, type FormEvent } from "react";
import { Button, buttonClass } from "../../components/Button";
import { Field } from "../../components/Field";
import { ErrorNote, PageHead, Panel, When } from "../../components/Page";
import { SeverityBar } from "../../components/Severity";
import { api, data, type Matcher, type NewSilence } from "../../lib/api";
import { plural } from "../../lib/format";
import { useKeys } from "../../lib/keys";
import { announce, useProject, useTitle } from "../../lib/page";
import { usePref } from "../../lib/prefs";
import { queryClient } from "../../lib/query";
import { longestSilence, previewSentence, silenceSpans } from "../../lib/silences";
import { fromInputValue, hour, inputValue } from "../../lib/time";
import { MatchersField, useMatchers } from "./MatchersField";

const route = getRouteApi("/p/$project/new-silence");

type Length = (typeof silenceSpans)[number]["name"] | "resolved" | "other";

export function NewSilencePage() {
  const { project, param } = useProject();
  const { match } = route.useSearch();
  const navigate = route.useNavigate();
  const zone = usePref("zone");
  const matchers = useMatchers((match ?? []).join(", "));
  const [length, setLength] = useState<Length>("1 h");
  const [from, setFrom] = useState("");
  const [to, setTo] = useState(() => inputValue(Date.now() + 2 * hour, zone).slice(0, 16));
  const [reason, setReason] = useState("");
  useTitle("New silence", "Silences");
  const back = () => navigate({ to: "/p/$project/silences", params: { project: param } });
  useKeys({ Escape: () => void back() });

  const bodyOf = (found: Matcher[]): NewSilence => {
    const start = length === "other" && from !== "" ? fromInputValue(from, zone) : undefined;
    const span = silenceSpans.find((one) => one.name === length)?.ms ?? longestSilence;
    const end = length === "other" ? (fromInputValue(to, zone) ?? Date.now()) : Date.now() + span;
    return {
      matchers: found,
      to: new Date(end).toISOString(),
      reason: reason.trim(),
      ...(start === undefined ? {} : { from: new Date(start).toISOString() }),
      ...(length === "resolved" ? { until_resolved: true } : {}),
    };
  };
  const save = useMutation({
    mutationFn: () => data(api.POST("/projects/{project}/silences", { params: { path: { project } }, body: bodyOf(matchers.value!) })),
    onSuccess: async () => {
      await Promise.all([queryClient.invalidateQueries({ queryKey: ["silences", project] }), queryClient.invalidateQueries({ queryKey: ["incidents", project] })]);
      announce("Silenced");
      await back();
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (matchers.value?.length) save.mutate();
  };
  return (
    <div className="mx-auto max-w-160 pb-10">
      <PageHead title="New silence" under="It mutes new messages of what it matches. What is over is told all the same." />
      <form onSubmit={submit} className="flex flex-col gap-5 px-4">
        <MatchersField matchers={matchers} required />
        <fieldset>
          <legend className="mb-1 text-data">How long</legend>
          <div className="flex flex-wrap gap-1.5">
            {silenceSpans.map(({ name }) => (
              <Button key={name} aria-pressed={length === name} onClick={() => setLength(name)}>
                {name}
              </Button>
            ))}
            <Button aria-pressed={length === "resolved"} onClick={() => setLength("resolved")}>
              until resolved
            </Button>
            <Button aria-pressed={length === "other"} onClick={() => setLength("other")}>
              from … to …
            </Button>
          </div>
          {length === "resolved" && <p className="mt-1 text-data text-muted">It ends when the incident does, after 30 d at the latest.</p>}
          {length === "other" && (
            <div className="mt-2 grid gap-4 sm:grid-cols-2">
              <Field label="From" type="datetime-local" value={from} onChange={(event) => setFrom(event.target.value)} hint="Empty is now." />
              <Field label="To" type="datetime-local" required value={to} onChange={(event) => setTo(event.target.value)} />
            </div>
          )}
        </fieldset>
        <Field label="Reason" required maxLength={1000} value={reason} onChange={(event) => setReason(event.target.value)} placeholder="Known, fixed with the next release" hint="For the others, and for the next digest." />
        {matchers.value !== undefined && matchers.value.length > 0 && <Preview matchers={matchers.value} />}
        {save.error && <ErrorNote error={save.error} />}
        <div className="flex gap-2">
          <Button type="submit" kind="primary" disabled={save.isPending}>
            {save.isPending ? "Silencing…" : "Silence"}
          </Button>
          <Link to="/p/$project/silences" params={{ project: param }} className={buttonClass("ghost")}>
            Cancel
          </Link>
        </div>
      </form>
    </div>
  );
}

/** What it mutes now, and would have muted in the last week; asked again half a second after the last key. */
function Preview({ matchers }: { matchers: Matcher[] }) {
  const { project, param } = useProject();
  const text = JSON.stringify(matchers);
  const [asked, setAsked] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setAsked(text), 500);
    return () => clearTimeout(timer);
  }, [text]);
  const query = useQuery({
    queryKey: ["silence-preview", project, asked],
    retry: false,
    queryFn: ({ signal }) =>
      data(
        api.POST("/projects/{project}/silences/preview", {
          params: { path: { project } },
          body: { matchers: JSON.parse(asked) as Matcher[], to: new Date(Date.now() + hour).toISOString(), reason: "preview" },
          signal,
        }),
      ),
    placeholderData: keepPreviousData,
  });
  if (query.error) return <p className="text-data text-bad first-letter:uppercase">{query.error.message}</p>;
  if (!query.data) return null;
  const { now, past } = query.data;
  const shown = [...now, ...past].slice(0, 10);
  return (
    <Panel title={previewSentence(now.map((one) => one.incident), past.map((one) => one.incident))}>
      {shown.length > 0 && (
        <ul>
          {shown.map(({ incident, instances }) => (
            <li key={incident.id} className="relative border-b border-line px-3 py-1.5 pl-4 last:border-b-0">
              <SeverityBar severity={incident.severity} />
              <Link to="/p/$project/incidents/$incident" params={{ project: param, incident: incident.id }} className="hover:underline">
                {incident.title}
              </Link>
              <span className="block text-data text-muted">
                {incident.state} · since <When at={incident.since} />
                {instances > 1 && ` · ${plural(instances, "instance")}`}
              </span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}
