import { TriangleAlert } from "lucide-react";
import { Fragment, useEffect, useState, type ReactNode } from "react";
import { useQueryClient, type UseQueryResult } from "@tanstack/react-query";
import { ApiError } from "../lib/api";
import { useNow } from "../lib/page";
import { roughly, relative } from "../lib/format";
import { iso, stamp, type Precision } from "../lib/time";
import { usePref } from "../lib/prefs";
import { Button, CopyButton } from "./Button";

/** The first line of a page: the sentence that answers its question. */
export function PageHead({ title, under, actions, busy = false }: { title: ReactNode; under?: ReactNode; actions?: ReactNode; busy?: boolean }) {
  return (
    <div className="flex flex-wrap items-start justify-between gap-x-4 gap-y-2 px-4 pt-4 pb-3">
      <div className="min-w-0 flex-1 basis-72">
        <h1 className={`text-lead font-medium text-balance ${busy ? "stale" : ""}`}>{title}</h1>
        {under && <p className="mt-0.5 text-data text-muted">{under}</p>}
      </div>
      {actions && <div className="flex flex-wrap items-center gap-2">{actions}</div>}
    </div>
  );
}

export function Panel({ title, more, children, className = "" }: { title?: ReactNode; more?: ReactNode; children: ReactNode; className?: string }) {
  return (
    <section className={`rounded border border-line bg-s1 ${className}`}>
      {title && (
        <div className="flex min-h-9 flex-wrap items-center justify-between gap-2 border-b border-line px-3 py-1">
          <h2 className="text-data font-medium">{title}</h2>
          {more}
        </div>
      )}
      {children}
    </section>
  );
}

/** Grey bars in the shape of what will come. */
export function Skeleton({ rows = 6, className = "" }: { rows?: number; className?: string }) {
  return (
    <div className={`flex flex-col gap-2 p-4 ${className}`} aria-hidden>
      {Array.from({ length: rows }, (_, i) => (
        <div key={i} className={`h-5 rounded-sm bg-s2 ${["w-full", "w-11/12", "w-4/5", "w-10/12"][i % 4]}`} />
      ))}
    </div>
  );
}

const advice: Partial<Record<ApiError["code"], string>> = {
  invalid: "Change the query or the range, then run it again.",
  not_found: "It may be outside of the time range, or gone.",
  forbidden: "Ask someone of your organisation for access.",
  rate_limited: "Wait a moment, then try again.",
  unavailable: "The store is starting or busy. What was sent meanwhile is kept and will appear.",
  unreachable: "Check that Midwatch runs and that this device can reach it. Senders keep their data and send it later.",
  internal: "Try again. If it stays, the request id finds the cause in Midwatch's own log.",
};

/** What happened, what it means and what to do. */
export function ErrorNote({ error, retry, className = "" }: { error: Error; retry?: () => void; className?: string }) {
  const known = error instanceof ApiError ? error : new ApiError("internal", error.message);
  return (
    <div role="alert" className={`flex flex-wrap items-start gap-3 rounded border border-line border-l-[3px] border-l-bad bg-s1 px-4 py-3 ${className}`}>
      <TriangleAlert size={16} className="mt-0.5 shrink-0 text-bad" aria-hidden />
      <div className="min-w-0 flex-1 basis-60">
        <p className="first-letter:uppercase">{known.message}</p>
        <p className="text-data text-muted">{advice[known.code]}</p>
        {known.requestId && (
          <p className="mt-1 flex items-center gap-1 text-data text-muted">
            Request <code className="font-mono">{known.requestId}</code>
            <CopyButton bare label="Copy the request id" text={known.requestId} />
          </p>
        )}
      </div>
      {retry && <Button onClick={retry}>Try again</Button>}
    </div>
  );
}

type AnyQuery<T> = Pick<UseQueryResult<T>, "data" | "error" | "isFetching" | "fetchStatus" | "refetch" | "dataUpdatedAt">;

/**
 * Shows a query in its states: a skeleton for the first second, then progress that can be stopped, an error with
 * what to do, and what was there before while something newer is fetched.
 */
export function Await<T>({ query, queryKey, skeleton, children }: { query: AnyQuery<T>; queryKey: readonly unknown[]; skeleton?: ReactNode; children: (data: T) => ReactNode }) {
  if (query.data !== undefined) {
    return (
      <>
        {query.error && (
          <ErrorNote className="m-4" error={query.error} retry={() => void query.refetch()} />
        )}
        {children(query.data)}
      </>
    );
  }
  if (query.error) return <ErrorNote className="m-4" error={query.error} retry={() => void query.refetch()} />;
  return <Progress queryKey={queryKey} stopped={query.fetchStatus === "idle"} again={() => void query.refetch()} skeleton={skeleton} />;
}

export function Progress({ queryKey, stopped, again, skeleton }: { queryKey: readonly unknown[]; stopped: boolean; again: () => void; skeleton?: ReactNode }) {
  const client = useQueryClient();
  const [start, setStart] = useState(() => Date.now());
  const [took, setTook] = useState(0);
  useEffect(() => {
    if (stopped) return undefined;
    const timer = setInterval(() => setTook(Date.now() - start), 500);
    return () => clearInterval(timer);
  }, [start, stopped]);
  const restart = () => {
    setStart(Date.now());
    setTook(0);
    again();
  };
  if (stopped) {
    return (
      <p className="flex items-center gap-3 p-4 text-muted">
        Stopped. <Button onClick={restart}>Run again</Button>
      </p>
    );
  }
  if (took < 1000) return skeleton ?? <Skeleton />;
  return (
    <div className="flex items-center gap-3 p-4 text-muted" role="status">
      Still reading, {roughly(took)}.
      <Button onClick={() => void client.cancelQueries({ queryKey })}>Stop</Button>
    </div>
  );
}

/** A point in time: the clock, how long ago, and on hover the exact ISO time. */
export function When({ at, mode = "both", precision, className = "" }: { at: string | number; mode?: "both" | "ago" | "clock"; precision?: Precision; className?: string }) {
  const zone = usePref("zone");
  const now = useNow();
  const ms = typeof at === "number" ? at : Date.parse(at);
  const exact = typeof at === "string" && zone === "utc" ? at : iso(ms, zone);
  const ago = relative(ms, now);
  const time = stamp(ms, zone, now, precision);
  return (
    <time dateTime={new Date(ms).toISOString()} title={mode === "ago" ? `${time}\n${exact}` : exact} className={`whitespace-nowrap ${className}`}>
      {mode === "ago" ? ago : mode === "clock" ? time : `${time} (${ago})`}
    </time>
  );
}

/** A text with long names in it, which may break after their dots, slashes and underscores. */
export function Breakable({ text }: { text: string }) {
  return (
    <span className="wrap-anywhere">
      {text.split(/(?<=[._/])/).map((part, i) => (
        <Fragment key={i}>
          {i > 0 && <wbr />}
          {part}
        </Fragment>
      ))}
    </span>
  );
}

/** A shortcut as it is printed on keys. */
export function Kbd({ children }: { children: ReactNode }) {
  return <kbd className="rounded-sm border border-line bg-s2 px-1 font-sans text-tiny text-muted">{children}</kbd>;
}

export function Empty({ children }: { children: ReactNode }) {
  return <p className="px-4 py-8 text-center text-muted">{children}</p>;
}
