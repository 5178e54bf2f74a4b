import { useQuery } from "@tanstack/react-query";
import { Await } from "../../components/Page";
import { Snippets } from "../../components/Snippets";
import type { Signal } from "../../lib/api";
import { useProject, useTitle } from "../../lib/page";
import { setupQuery } from "../../lib/query";
import { snippets } from "../../lib/snippets";

const labels: Record<Signal, string> = {
  logs: "Ways to send logs",
  metrics: "Ways to send metrics",
  errors: "Ways to send errors",
  checkins: "Ways to check in",
};

const pageNames: Record<Signal, string> = { logs: "Logs", metrics: "Metrics", errors: "Errors", checkins: "Monitors" };

/** What to paste to send a first event, with the project's own key. */
export function SetupPanel({ signal }: { signal: Signal }) {
  const { project } = useProject();
  const query = setupQuery(project);
  const setup = useQuery(query);
  return (
    <section aria-label={labels[signal]} className="overflow-hidden rounded border border-line bg-s1">
      <Await query={setup} queryKey={query.queryKey}>
        {(data) => <Snippets all={snippets(data)[signal]} label={labels[signal]} />}
      </Await>
    </section>
  );
}

export function Waiting({ children = "Waiting for the first event…" }: { children?: string }) {
  return (
    <p role="status" className="flex items-center gap-2.5 text-muted">
      <span aria-hidden className="size-2 rounded-full bg-accent motion-safe:animate-[pulse_2s_ease-in-out_infinite]" />
      {children}
    </p>
  );
}

/** A page whose signal has never come: how to send it, until it does. */
export function FirstEvent({ signal, title, under }: { signal: Signal; title: string; under: string }) {
  useTitle("Waiting for the first event", pageNames[signal]);
  return (
    <div className="mx-auto max-w-230 p-4 pt-8">
      <h1 className="text-lead font-medium">{title}</h1>
      <p className="mt-1 mb-5 text-muted">{under}</p>
      <SetupPanel signal={signal} />
      <div className="mt-5">
        <Waiting />
      </div>
    </div>
  );
}
