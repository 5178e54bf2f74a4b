import { getRouteApi } from "@tanstack/react-router";
import { Filter, Search, WrapText, X } from "lucide-react";
import { useMemo, useState, type FormEvent } from "react";
import { Button, IconButton } from "../../components/Button";
import { LevelDot, levels } from "../../components/Level";
import { Await, Empty, ErrorNote, PageHead, Progress, Skeleton } from "../../components/Page";
import type { LogsAddress } from "../../lib/addresses";
import type { Level, LogHistogram } from "../../lib/api";
import { compact, count, percent } from "../../lib/format";
import { useKeys } from "../../lib/keys";
import { toggled, wanted, without } from "../../lib/logText";
import { useAnswer, useDraft, useTitle } from "../../lib/page";
import { setPref, usePref } from "../../lib/prefs";
import { logsSentence } from "../../lib/sentence";
import { useHold, useRange } from "../../lib/useRange";
import { FirstEvent } from "../setup/SetupPanel";
import { useSignals } from "../setup/useSignals";
import { Histogram } from "./Histogram";
import { LineDetail } from "./LineDetail";
import { LineList } from "./LineList";
import { useHistogram, useLines } from "./useLogs";

const route = getRouteApi("/p/$project/logs");

export function LogsPage() {
  const signals = useSignals("logs");
  if (signals && !signals.logs.received) {
    return <FirstEvent signal="logs" title="No log line has arrived yet." under="Any of these sends one. They hold this project's own key and run as they stand." />;
  }
  return <Logs lastAt={signals?.logs.last_at} />;
}

function Logs({ lastAt }: { lastAt: string | undefined }) {
  const { q, level, service, row } = route.useSearch();
  const navigate = route.useNavigate();
  const { range, words, raw, setRaw } = useRange();
  const wrap = usePref("wrap");
  const [facetsOpen, setFacetsOpen] = useState(false);
  const [away, setAway] = useState(false);
  const filter = useMemo(() => ({ q, level, service }), [q, level, service]);
  const filtered = Boolean(q ?? level ?? service);

  const lines = useLines(range, filter);
  const histogram = useHistogram(range, filter);
  // The counts beside a filter are of what it could show, so they are asked without it.
  const byLevel = useHistogram(range, { q, level: undefined, service }, level !== undefined);
  const byService = useHistogram(range, { q, level, service: undefined }, service !== undefined);
  const leveled = (level ? byLevel : histogram).data;
  const levelCounts = useMemo(() => countLevels(leveled), [leveled]);
  const services = (service ? byService : histogram).data?.services ?? [];

  const rows = useMemo(() => lines.data?.pages.flatMap((page) => page.rows) ?? [], [lines.data]);
  const open = row === undefined ? undefined : rows.find((one) => one.id === row);
  useHold(open !== undefined || away);

  const sentence = histogram.data && logsSentence(histogram.data, filtered, words);
  useTitle(sentence, "Logs");
  useAnswer(sentence, JSON.stringify([filter, raw]));

  const change = (next: LogsAddress, replace = false) => void navigate({ search: (was) => ({ ...was, row: undefined, ...next }), replace });
  const openRow = (id: string | undefined) => void navigate({ search: (was) => ({ ...was, row: id }), replace: row !== undefined && id !== undefined });
  useKeys({ Escape: () => (row === undefined ? false : openRow(undefined)) });

  const facets = (
    <Facets
      levelCounts={levelCounts}
      services={services}
      service={service}
      onService={(one) => change({ service: toggled(service, one) })}
    />
  );
  const empty = lines.data && rows.length === 0;
  const newest = lastAt ? Date.parse(lastAt) : undefined;

  return (
    <div className="flex h-full min-h-128 flex-col">
      <PageHead
        title={sentence ?? "Logs"}
        busy={histogram.isPlaceholderData}
        actions={
          <>
            <IconButton label="Wrap long lines" aria-pressed={wrap} onClick={() => setPref("wrap", !wrap)}>
              <WrapText size={15} aria-hidden />
            </IconButton>
            <Button className="lg:hidden" aria-expanded={facetsOpen} onClick={() => setFacetsOpen(!facetsOpen)}>
              <Filter size={14} aria-hidden /> Filters
            </Button>
          </>
        }
      />
      <QueryBar q={q} onRun={(next) => change({ q: next })} />
      <div className="flex flex-wrap items-center gap-1.5 px-4 pt-2">
        <div role="group" aria-label="Levels" className="flex flex-wrap gap-1.5">
          {levels
            .filter((one) => level?.includes(one) || (levelCounts[one] ?? 0) > 0 || ["error", "warn", "info"].includes(one))
            .map((one) => (
              <button
                key={one}
                type="button"
                aria-pressed={level?.includes(one) ?? false}
                onClick={() => change({ level: toggled(level, one) })}
                title={`${count(levelCounts[one] ?? 0)} lines`}
                className="flex min-h-6.5 items-center gap-1.5 rounded-full border border-line bg-s1 px-2.5 text-data text-muted hover:bg-s2 aria-pressed:border-accent aria-pressed:bg-accent-soft aria-pressed:text-ink"
              >
                <LevelDot level={one} /> {one} <span className="text-muted">{compact(levelCounts[one] ?? 0)}</span>
              </button>
            ))}
        </div>
        {service?.map((one) => (
          <Chip key={one} name={`service ${one}`} onRemove={() => change({ service: toggled(service, one) })} />
        ))}
        {filtered && (
          <Button kind="ghost" onClick={() => change({ q: undefined, level: undefined, service: undefined })}>
            Clear all
          </Button>
        )}
      </div>
      <div className="px-2 pt-2">
        {/* When both fail it is for one reason, and the list tells it. */}
        {(histogram.data || !lines.error) && (
          <Await query={lines.error ? { ...histogram, error: null } : histogram} queryKey={histogram.queryKey} skeleton={<div className="mx-2 h-30 rounded-sm bg-s2" aria-hidden />}>
            {(found) => <Histogram histogram={found} />}
          </Await>
        )}
      </div>
      {facetsOpen && <div className="border-t border-line lg:hidden">{facets}</div>}
      <div className={`grid min-h-0 flex-1 border-t border-line lg:grid-cols-[220px_minmax(0,1fr)] ${open ? "xl:grid-cols-[220px_minmax(0,1fr)_minmax(22rem,28rem)]" : ""}`}>
        <aside aria-label="Filters" className="overflow-auto border-r border-line max-lg:hidden">
          {facets}
        </aside>
        <div className="flex min-h-0 min-w-0 flex-col">
          {lines.error && <ErrorNote className="m-4" error={lines.error} retry={() => void lines.refetch()} />}
          {!lines.data && !lines.error && (
            <Progress queryKey={lines.queryKey} stopped={lines.fetchStatus === "idle"} again={() => void lines.refetch()} skeleton={<Skeleton rows={12} />} />
          )}
          {empty && (
            <div className="px-4 py-8 text-center text-muted">
              <p>{filtered ? "No line matches." : "No line in this range."}</p>
              <div className="mt-3 flex flex-wrap justify-center gap-2">
                {filtered && <Button onClick={() => change({ q: undefined, level: undefined, service: undefined })}>Clear the filters</Button>}
                {newest !== undefined && (newest < range.from || newest >= range.to) && (
                  <Button onClick={() => setRaw({ from: new Date(newest - 30 * 60_000).toISOString(), to: new Date(newest + 1000).toISOString() })}>
                    Show the newest lines
                  </Button>
                )}
              </div>
            </div>
          )}
          {rows.length > 0 && (
            <LineList
              rows={rows}
              total={histogram.data?.total}
              marks={wanted(q ?? "")}
              open={row}
              stale={lines.isPlaceholderData}
              hasMore={lines.hasNextPage}
              loading={lines.isFetchingNextPage}
              onMore={() => void lines.fetchNextPage()}
              onOpen={openRow}
              onAway={setAway}
            />
          )}
        </div>
        {open && (
          <LineDetail
            key={open.id}
            line={open}
            q={q ?? ""}
            onClose={() => openRow(undefined)}
            onQuery={(next) => change({ q: next })}
            onLevel={(exclude) => change({ level: exclude ? without(level, levels, open.level) : [open.level] })}
            onService={(exclude) => change({ service: exclude ? without(service, services.map((one) => one.service), open.service) : [open.service] })}
          />
        )}
      </div>
    </div>
  );
}

function countLevels(histogram: LogHistogram | undefined): Partial<Record<Level, number>> {
  const out: Partial<Record<Level, number>> = {};
  for (const bucket of histogram?.buckets ?? []) {
    for (const [name, n] of Object.entries(bucket.counts)) {
      const level = name as Level;
      out[level] = (out[level] ?? 0) + n;
    }
  }
  return out;
}

function QueryBar({ q, onRun }: { q: string | undefined; onRun: (q: string | undefined) => void }) {
  const [text, setText] = useDraft(q ?? "");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onRun(text.trim() || undefined);
  };
  return (
    <form role="search" onSubmit={submit} className="flex gap-2 px-4">
      <div className="relative flex-1">
        <Search size={15} className="pointer-events-none absolute top-2.5 left-2.5 text-muted" aria-hidden />
        <input
          type="search"
          aria-label="Search logs"
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => event.key === "Escape" && event.currentTarget.blur()}
          placeholder={'words  "a phrase"  -without'}
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          maxLength={1000}
          className="min-h-9 w-full rounded border border-edge bg-bg pr-2 pl-8 font-mono text-data"
        />
      </div>
      <Button type="submit" className="min-h-9">
        Run
      </Button>
    </form>
  );
}

function Chip({ name, onRemove }: { name: string; onRemove: () => void }) {
  return (
    <span className="inline-flex min-h-6.5 items-center gap-1 rounded-full border border-accent bg-accent-soft pr-1 pl-2.5 text-data">
      {name}
      <button type="button" aria-label={`Remove ${name}`} onClick={onRemove} className="grid size-6 place-items-center rounded-full text-muted hover:text-ink">
        <X size={13} aria-hidden />
      </button>
    </span>
  );
}

interface FacetsProps {
  levelCounts: Partial<Record<Level, number>>;
  services: LogHistogram["services"];
  service: string[] | undefined;
  onService: (service: string) => void;
}

function Facets({ levelCounts, services, service, onService }: FacetsProps) {
  const total = Object.values(levelCounts).reduce((a, b) => a + b, 0);
  const max = Math.max(1, ...services.map((one) => one.count));
  // A service that is filtered for stays in sight though it has nothing in this range.
  const shown = [...services, ...(service ?? []).filter((name) => !services.some((one) => one.service === name)).map((name) => ({ service: name, count: 0 }))];
  return (
    <section className="py-2">
      <h2 className="px-4 py-1 text-tiny text-muted">Services</h2>
      {shown.length === 0 && <Empty>None</Empty>}
      <ul>
        {shown.map((one) => (
          <li key={one.service}>
            <label className="relative flex min-h-7 cursor-pointer items-center gap-2 px-4 hover:bg-s2 has-[:focus-visible]:bg-s2">
              <input
                type="checkbox"
                checked={service?.includes(one.service) ?? false}
                disabled={one.service === ""}
                onChange={() => onService(one.service)}
                className="size-3.5 shrink-0 accent-(--accent)"
              />
              <span className="min-w-0 flex-1 truncate text-data" title={one.service}>
                {one.service || <i className="text-muted">unnamed</i>}
              </span>
              <span className="text-data text-muted" title={`${count(one.count)} lines, ${percent(one.count, total)}`}>
                {compact(one.count)}
              </span>
              <span aria-hidden className="absolute bottom-0 left-9 h-[2px] rounded-full bg-s3" style={{ width: `calc((100% - 3.25rem) * ${one.count / max})` }} />
            </label>
          </li>
        ))}
      </ul>
      {services.length >= 20 && <p className="px-4 py-1 text-tiny text-muted">The 20 with most lines</p>}
    </section>
  );
}
