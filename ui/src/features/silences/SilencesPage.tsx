import { useMutation, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Plus } from "lucide-react";
import { AlertTabs } from "../../components/AlertTabs";
import { Button, buttonClass } from "../../components/Button";
import { Await, Empty, PageHead, When } from "../../components/Page";
import { useRowKeys } from "../../components/useRowKeys";
import { silencesQuery, windowsQuery } from "../../lib/alerting";
import { api, type Silence, type StoredWindow } from "../../lib/api";
import { count, duration } from "../../lib/format";
import { spanWords } from "../../lib/incidents";
import { announce, useAnswer, useNow, useProject, useTitle } from "../../lib/page";
import { usePref } from "../../lib/prefs";
import { queryClient } from "../../lib/query";
import { matchersText, repeatWords, silencesSentence } from "../../lib/silences";

const route = getRouteApi("/p/$project/silences");

export function SilencesPage() {
  const { project, param } = useProject();
  const { tab } = route.useSearch();
  const navigate = route.useNavigate();
  const zone = usePref("zone");
  const now = useNow();
  const silencesAsked = silencesQuery(project);
  const windowsAsked = windowsQuery(project);
  const silences = useQuery(silencesAsked);
  const windows = useQuery(windowsAsked);
  const open = windows.data?.filter((one) => one.active).length ?? 0;
  const sentence = silences.data && windows.data && silencesSentence(silences.data, open, zone, now);
  useTitle(sentence, "Silences");
  useAnswer(sentence, project + String(tab));
  return (
    <>
      <AlertTabs />
      <PageHead
        title={sentence ?? "Silences"}
        actions={
          <Link to={tab ? "/p/$project/new-window" : "/p/$project/new-silence"} params={{ project: param }} className={buttonClass("primary")}>
            <Plus size={14} aria-hidden /> {tab ? "New window" : "New silence"}
          </Link>
        }
      />
      <div role="group" aria-label="Show" className="flex flex-wrap gap-1.5 px-4 pb-3">
        <Button aria-pressed={!tab} onClick={() => void navigate({ search: (was) => ({ ...was, tab: undefined }) })}>
          Silences <span className="text-muted">{count(silences.data?.filter((one) => one.state !== "ended").length ?? 0)}</span>
        </Button>
        <Button aria-pressed={tab === "maintenance"} onClick={() => void navigate({ search: (was) => ({ ...was, tab: "maintenance" }) })}>
          Maintenance <span className="text-muted">{count(windows.data?.length ?? 0)}</span>
        </Button>
      </div>
      {tab ? (
        <Await query={windows} queryKey={windowsAsked.queryKey}>
          {(all) => <Windows all={all} />}
        </Await>
      ) : (
        <Await query={silences} queryKey={silencesAsked.queryKey}>
          {(all) => <Silences all={all} />}
        </Await>
      )}
    </>
  );
}

const groups: { state: Silence["state"]; name: string }[] = [
  { state: "active", name: "Now" },
  { state: "waiting", name: "Coming" },
  { state: "ended", name: "Ended in the last 7 d" },
];

function Silences({ all }: { all: Silence[] }) {
  const list = useRowKeys<HTMLDivElement>();
  if (all.length === 0) return <Empty>A silence mutes new messages of what it matches; what is over is told all the same. It always ends, after 30 d at the latest.</Empty>;
  return (
    <div ref={list} className="pb-8">
      {groups.map(({ state, name }) => {
        const some = all.filter((one) => one.state === state);
        return some.length === 0 ? null : (
          <section key={state} aria-label={name}>
            <h2 className="border-y border-line bg-s1 px-4 py-1 text-data text-muted">{name}</h2>
            <ul>
              {some.map((one) => (
                <SilenceRow key={one.silence.id} stored={one} />
              ))}
            </ul>
          </section>
        );
      })}
    </div>
  );
}

function SilenceRow({ stored: { silence, state } }: { stored: Silence }) {
  const { project, param } = useProject();
  const zone = usePref("zone");
  const now = useNow();
  const end = useMutation({
    mutationFn: () => api.POST("/projects/{project}/silences/{id}/end", { params: { path: { project, id: silence.id } } }),
    onSuccess: async () => {
      await queryClient.invalidateQueries({ queryKey: ["silences", project] });
      announce(state === "waiting" ? "The silence is removed" : "The silence has ended");
    },
  });
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-1 border-b border-line px-4 py-2">
      <div className={`min-w-0 flex-1 basis-72 ${state === "ended" ? "text-muted" : ""}`}>
        <p className="font-mono text-data wrap-anywhere">{matchersText(silence.matchers)}</p>
        <p className="wrap-anywhere">{silence.reason}</p>
        <p className="text-data text-muted">
          {silence.author} · {spanWords(silence.from, silence.to, zone, now)}
          {silence.until_resolved && " · until it is resolved"}
          {state === "active" && !silence.until_resolved && ` · ${duration(Math.max(60_000, Math.floor((Date.parse(silence.to) - now) / 60_000) * 60_000))} left`}
        </p>
        {end.error && <p className="text-data text-bad">{end.error.message}</p>}
      </div>
      {state === "ended" ? (
        <Link
          data-row
          to="/p/$project/new-silence"
          params={{ project: param }}
          search={{ match: silence.matchers.map((one) => matchersText([one])) }}
          className={buttonClass("ghost")}
        >
          Silence again
        </Link>
      ) : (
        <Button data-row disabled={end.isPending} onClick={() => end.mutate()}>
          {state === "waiting" ? "Remove" : "End now"}
        </Button>
      )}
    </li>
  );
}

function Windows({ all }: { all: StoredWindow[] }) {
  const { param } = useProject();
  const list = useRowKeys<HTMLUListElement>();
  const zone = usePref("zone");
  const now = useNow();
  if (all.length === 0) return <Empty>A maintenance window says when something is expected to be bad: what it matches is not judged meanwhile. It may come again by a rule.</Empty>;
  return (
    <ul ref={list} aria-label="Maintenance windows" className="border-t border-line pb-8">
      {all.map(({ window: one, active, next_from, next_to }) => (
        <li key={one.id} className="relative border-b border-line px-4 py-2 hover:bg-s2">
          <div className="flex flex-wrap items-baseline justify-between gap-x-4">
            <Link data-row to="/p/$project/silences/windows/$id" params={{ project: param, id: one.id }} className="font-medium after:absolute after:inset-0 after:content-['']">
              {one.name}
            </Link>
            <span className={`text-data ${active ? "text-warn" : "text-muted"}`}>{active ? "open now" : next_from ? <>next <When at={next_from} /></> : "over"}</span>
          </div>
          <p className="font-mono text-data wrap-anywhere">{matchersText(one.matchers)}</p>
          <p className="text-data text-muted">
            {repeatWords(one.repeat)} · {spanWords(next_from ?? one.from, next_to ?? one.to, zone, now)} · {one.zone || "UTC"}
          </p>
        </li>
      ))}
    </ul>
  );
}
