import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { Button } from "../../components/Button";
import { Chart, type Band } from "../../components/Chart";
import { ErrorNote, Panel, Progress, When } from "../../components/Page";
import { colors, grid, type Series } from "../../components/series";
import type { Rule } from "../../lib/api";
import { count, duration, plural, valueFormat } from "../../lib/format";
import { useProject } from "../../lib/page";
import { bound, lengthText, seconds, spell, withValue } from "./length";
import { levelsOf } from "./kinds";
import { substance } from "./lifecycle";
import { put } from "./path";
import { caught, nights, rehearse, type Rehearsal } from "./rehearsal";
import { quantity, unitOf } from "./sentence";

const spans = [1, 7, 30] as const;

/** The text as it stood for a moment: not each key that is pressed is a rehearsal. */
function useSettled(text: string, ms: number): string {
  const [settled, setSettled] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(text), ms);
    return () => clearTimeout(timer);
  }, [text, ms]);
  return settled;
}

/**
 * What the rule would have done in the past days. Done tells the substance of what was rehearsed; missing that this server has no
 * rehearsals, and then nothing is shown.
 */
export function RehearsalPane({ rule, valid, onDone, onMissing, onChange }: { rule: Rule; valid: boolean; onDone: (substance: string) => void; onMissing: () => void; onChange: (rule: Rule) => void }) {
  const { project } = useProject();
  const [days, setDays] = useState<(typeof spans)[number]>(7);
  const now = substance(rule);
  const asked = useSettled(now, 700);
  const queryKey = ["rehearsal", project, days, asked];
  const query = useQuery({
    queryKey,
    queryFn: async ({ signal }) => (await rehearse(project, JSON.parse(asked) as Rule, days, signal)) ?? null,
    enabled: valid && asked === now,
    placeholderData: keepPreviousData,
    retry: false,
    staleTime: 5 * 60_000,
  });
  const found = query.data;
  const fresh = found !== undefined && !query.isPlaceholderData && asked === now;
  useEffect(() => {
    if (found === null) onMissing();
    else if (fresh && found.problems.length === 0) onDone(now);
    // Only a new answer is news.
    // oxlint-disable-next-line react/exhaustive-deps
  }, [found, fresh, now]);
  if (found === null) return null;
  return (
    <Panel
      title="Had it been live"
      more={
        <div role="group" aria-label="How far back" className="flex gap-1">
          {spans.map((one) => (
            <Button key={one} kind="ghost" tight aria-pressed={days === one} onClick={() => setDays(one)}>
              {one === 1 ? "1 day" : `${one} days`}
            </Button>
          ))}
        </div>
      }
    >
      {query.error && !query.isFetching ? (
        <ErrorNote className="m-3" error={query.error} retry={() => void query.refetch()} />
      ) : found ? (
        <div className={query.isFetching || !valid ? "stale" : ""}>
          {query.isFetching && <p className="px-3 pt-2 text-data text-muted" role="status">Replaying the {days === 1 ? "day" : `${days} days`} again…</p>}
          <Result found={found} rule={rule} onChange={onChange} />
        </div>
      ) : valid ? (
        <Progress queryKey={queryKey} stopped={query.fetchStatus === "idle" && asked === now} again={() => void query.refetch()} />
      ) : (
        <p className="p-3 text-muted">It is rehearsed on the past {days === 1 ? "day" : `${days} days`} as soon as it is complete.</p>
      )}
    </Panel>
  );
}

function Result({ found, rule, onChange }: { found: Rehearsal; rule: Rule; onChange: (rule: Rule) => void }) {
  const known = caught(found);
  const figures: [string, number, string][] = [
    ["pages", found.pages, found.pages > 0 ? "text-bad" : ""],
    ["at night", found.pages_at_night, found.pages_at_night > 0 ? "text-bad" : ""],
    ["tickets", found.tickets, ""],
    ["mails", found.mails, ""],
    ["healed by itself", found.self_resolved, ""],
    ["held back", found.held, ""],
  ];
  return (
    <>
      <dl className="flex flex-wrap gap-x-6 gap-y-2 px-3 pt-3">
        {figures.map(([name, n, tone]) => (
          <div key={name} className="flex flex-col-reverse">
            <dt className="text-tiny text-muted">{name}</dt>
            <dd className={`text-head font-medium ${tone}`}>{count(n)}</dd>
          </div>
        ))}
      </dl>
      {known && <p className="px-3 pt-2 text-data text-muted">{known}.</p>}
      {found.problems.map((one) => (
        <p key={`${one.field} ${one.message}`} className="px-3 pt-2 text-data text-warn first-letter:uppercase">
          {one.message}
        </p>
      ))}
      <Preview found={found} rule={rule} />
      <Firings found={found} rule={rule} />
      <HeatMap found={found} rule={rule} onChange={onChange} />
      <p className="border-t border-line px-3 py-1.5 text-tiny text-muted">
        Replayed in {duration(found.took_ms)}, through debounce, quiet hours and routing as they are now.
      </p>
    </>
  );
}

const drawn = 20;

function Preview({ found, rule }: { found: Rehearsal; rule: Rule }) {
  const range = useMemo(() => ({ from: Date.parse(found.from), to: Date.parse(found.to) }), [found]);
  const [zoomed, setZoomed] = useState<typeof range | undefined>(undefined);
  const { times, series, stepMs } = useMemo(() => {
    const some = found.series.slice(0, drawn);
    const step = smallest(some.flatMap((one) => one.points.slice(0, 200).map(([at = 0], i, all) => at - (all[i - 1]?.[0] ?? at)).filter((d) => d > 0)));
    const aligned = grid(some.map((one) => ({ points: one.points.map(([at = 0, value = Number.NaN]) => ({ at, value })) })), step);
    const tokens = colors(some.map((one) => one.group));
    return {
      stepMs: step,
      times: aligned.times,
      series: some.map((one, i): Series => ({ key: one.group, name: one.group || rule.service || rule.name, ...tokens.get(one.group)!, values: aligned.values[i]! })),
    };
  }, [found, rule.service, rule.name]);
  const bands = useMemo(
    (): Band[] => [
      ...nights(range.from, range.to).map((one) => ({ ...one, token: "--edge", alpha: 0.13 })),
      ...found.firings.map((one) => ({ from: Date.parse(one.from), to: Date.parse(one.to), token: "--bad", alpha: 0.28 })),
    ],
    [found, range],
  );
  const unit = unitOf(rule);
  const format = useMemo(() => (unit === "1" ? valueFormat("ratio") : valueFormat(unit === "x" ? "" : unit)), [unit]);
  if (times.length === 0) return <p className="px-3 py-4 text-muted">It would have read nothing: no value in these days.</p>;
  return (
    <div className="pt-2">
      <Chart
        label={`What the rule reads from ${new Date(range.from).toISOString()} on: ${plural(series.length, "line")}, fired ${plural(found.firings.length, "time")}`}
        times={times}
        series={series}
        range={zoomed ?? range}
        format={format}
        stepMs={stepMs}
        height={200}
        bands={bands}
        limit={found.threshold ?? undefined}
        onZoom={setZoomed}
        onBack={() => setZoomed(undefined)}
      />
      <p className="flex flex-wrap gap-x-4 px-3 pb-1 text-tiny text-muted">
        {found.threshold !== null && found.threshold !== undefined && <span>dashed: {quantity(found.threshold, unit)}</span>}
        <span>
          <span aria-hidden className="mr-1 inline-block size-2.5 bg-bad/30 align-[-1px]" />
          would have fired
        </span>
        <span>
          <span aria-hidden className="mr-1 inline-block size-2.5 bg-edge/30 align-[-1px]" />
          night
        </span>
        {found.series.length > drawn && <span>the first {drawn} of {count(found.series.length)} groups</span>}
      </p>
    </div>
  );
}

function smallest(distances: readonly number[]): number {
  return distances.length === 0 ? 60_000 : distances.reduce((a, b) => Math.min(a, b));
}

const listed = 5;

function Firings({ found, rule }: { found: Rehearsal; rule: Rule }) {
  const [all, setAll] = useState(false);
  if (found.firings.length === 0) return <p className="px-3 py-2 text-muted">It would have told nobody.</p>;
  const rows = all ? found.firings : found.firings.slice(0, listed);
  return (
    <div className="overflow-x-auto px-3 pt-1 pb-2">
      <table className="w-full text-data">
        <caption className="sr-only">When it would have fired</caption>
        <thead className="text-left text-muted">
          <tr className="border-b border-line">
            {["from", "for", "group", "worst", "ended"].map((head) => (
              <th key={head} scope="col" className="py-1 pr-3 font-normal">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((one) => (
            <tr key={`${one.group} ${one.level} ${one.from}`} className="border-b border-line">
              <td className="py-1 pr-3">
                <When at={one.from} mode="clock" />
              </td>
              <td className="pr-3 whitespace-nowrap">{duration(Date.parse(one.to) - Date.parse(one.from))}</td>
              <td className="max-w-40 truncate pr-3" title={one.group}>
                {one.group || "–"}
              </td>
              <td className="pr-3 font-mono whitespace-nowrap">{quantity(one.worst, unitOf(rule))}</td>
              <td className="max-w-40 truncate" title={one.reason}>
                {one.reason.replaceAll("_", " ")}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {found.firings.length > listed && (
        <Button kind="ghost" className="mt-1" onClick={() => setAll(!all)}>
          {all ? "Show fewer" : `Show all ${count(found.firings.length)}`}
        </Button>
      )}
    </div>
  );
}

function near(a: number, b: number | undefined): boolean {
  return b !== undefined && Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b));
}

/** Pages for each limit and hold: to see whether a little more patience would have kept it quiet. */
function HeatMap({ found, rule, onChange }: { found: Rehearsal; rule: Rule; onChange: (rule: Rule) => void }) {
  const { thresholds, holds, pages } = found.heat;
  const most = Math.max(1, ...pages.flat());
  if (thresholds.length === 0 || holds.length === 0) return null;
  const level = levelsOf(rule)[0];
  const limit = bound(level?.fire ?? "");
  const hold = seconds(level?.for ?? "");
  const choose = (threshold: number, s: number) => onChange(put(put(rule, "levels[0].fire", withValue(level?.fire ?? "", threshold)), "levels[0].for", lengthText(s)));
  return (
    <div className="border-t border-line px-3 py-2">
      <h3 className="text-data font-medium">Pages for other limits and times</h3>
      <p className="mb-1.5 text-tiny text-muted">Press a field to take its limit and time.</p>
      <div className="overflow-x-auto">
        <table className="text-tiny">
          <caption className="sr-only">Pages by limit (rows) and how long it lasts (columns)</caption>
          <thead>
            <tr>
              <td />
              {holds.map((s) => (
                <th key={s} scope="col" className="px-1 pb-1 font-normal whitespace-nowrap text-muted">
                  {lengthText(s)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {thresholds.map((threshold, row) => (
              <tr key={threshold}>
                <th scope="row" className="pr-2 text-right font-normal whitespace-nowrap text-muted">
                  {quantity(threshold, unitOf(rule))}
                </th>
                {holds.map((s, column) => {
                  const n = pages[row]?.[column] ?? 0;
                  const current = near(threshold, limit?.value) && s === hold;
                  return (
                    <td key={s} className="p-px">
                      <button
                        type="button"
                        aria-pressed={current}
                        aria-label={`${quantity(threshold, unitOf(rule))} for ${spell(s)}: ${plural(n, "page")}`}
                        onClick={() => choose(threshold, s)}
                        className={`relative grid h-7 w-11 place-items-center rounded-sm border hover:border-edge ${current ? "border-accent font-medium" : "border-line"}`}
                      >
                        <span aria-hidden className="absolute inset-0 rounded-sm bg-bad" style={{ opacity: n === 0 ? 0 : 0.06 + 0.24 * (n / most) }} />
                        <span className={`relative ${n === 0 ? "text-muted" : ""}`}>{count(n)}</span>
                      </button>
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

