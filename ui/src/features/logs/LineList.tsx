import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useEffect, useRef, useState } from "react";
import { LevelBar, LevelWord } from "../../components/Level";
import { Button } from "../../components/Button";
import type { Log } from "../../lib/api";
import { count } from "../../lib/format";
import { useKeys } from "../../lib/keys";
import { cut } from "../../lib/logText";
import { usePref } from "../../lib/prefs";
import { day, clock, stamp, type Zone } from "../../lib/time";
import { useRange } from "../../lib/useRange";

interface LineListProps {
  rows: Log[];
  total: number | undefined;
  marks: string[];
  /** The id of the line whose details are shown. */
  open: string | undefined;
  stale: boolean;
  hasMore: boolean;
  loading: boolean;
  onMore: () => void;
  onOpen: (id: string) => void;
  /** Whether the list is scrolled away from the newest line. */
  onAway: (away: boolean) => void;
}

/** Lines, newest first. Only those in sight are in the document; more are fetched towards the end. */
export function LineList({ rows, total, marks, open, stale, hasMore, loading, onMore, onOpen, onAway }: LineListProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const zone = usePref("zone");
  const wrap = usePref("wrap");
  const { range } = useRange();
  const [cursor, setCursor] = useState<string | undefined>(open);
  const at = rows.findIndex((row) => row.id === (open ?? cursor));

  // oxlint-disable-next-line react-hooks-js/incompatible-library
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 28,
    getItemKey: (index) => rows[index]!.id,
    overscan: 20,
  });
  const items = virtual.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (hasMore && !loading && last > rows.length - 60) onMore();
  }, [hasMore, loading, last, rows.length, onMore]);

  const away = (virtual.scrollOffset ?? 0) > 200;
  useEffect(() => {
    onAway(away);
    return () => onAway(false);
  }, [away, onAway]);

  const move = (by: number) => {
    const next = at < 0 ? 0 : Math.min(Math.max(at + by, 0), rows.length - 1);
    const row = rows[next];
    if (!row) return;
    setCursor(row.id);
    virtual.scrollToIndex(next);
    if (open !== undefined) onOpen(row.id);
    else scroller.current?.focus({ preventScroll: true });
  };
  const openCursor = () => {
    const row = rows[at];
    if (!row) return false;
    onOpen(row.id);
    return true;
  };
  const inList = () => scroller.current?.contains(document.activeElement) || document.activeElement === document.body || document.activeElement?.id === "main";
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    ArrowDown: () => (inList() ? move(1) : false),
    ArrowUp: () => (inList() ? move(-1) : false),
    PageDown: () => (inList() ? move(20) : false),
    PageUp: () => (inList() ? move(-20) : false),
    Home: () => (inList() ? move(-rows.length) : false),
    End: () => (inList() ? move(rows.length) : false),
    Enter: openCursor,
    o: openCursor,
  });

  const dated = range.to - range.from > day;
  return (
    <>
      <div
        ref={scroller}
        role="grid"
        aria-label="Log lines, newest first"
        aria-rowcount={hasMore ? -1 : rows.length}
        aria-activedescendant={items.some((item) => item.index === at) ? `line-${rows[at]!.id}` : undefined}
        aria-busy={stale || loading}
        tabIndex={0}
        className={`group/lines min-h-0 flex-1 overflow-auto outline-none ${stale ? "stale" : ""}`}
      >
        <div role="presentation" className="relative" style={{ height: virtual.getTotalSize() }}>
          <div role="presentation" className="absolute inset-x-0 top-0" style={{ transform: `translateY(${items[0]?.start ?? 0}px)` }}>
            {items.map((item) => {
              const row = rows[item.index]!;
              return (
                <div key={row.id} ref={virtual.measureElement} data-index={item.index} role="presentation">
                  <Line row={row} index={item.index} marks={marks} zone={zone} dated={dated} wrap={wrap} current={item.index === at} open={row.id === open} onOpen={onOpen} />
                </div>
              );
            })}
          </div>
        </div>
      </div>
      <p className="flex min-h-8 items-center justify-between gap-3 border-t border-line px-3 text-tiny text-muted">
        <span>
          {count(rows.length)}
          {total !== undefined && total >= rows.length ? ` of ${count(total)}` : ""} read{loading ? ", reading more…" : hasMore || (total !== undefined && rows.length < total) ? "" : "; that is all"}
        </span>
        {away && (
          <Button kind="ghost" className="min-h-6 text-tiny" onClick={() => virtual.scrollToIndex(0)}>
            Back to the newest
          </Button>
        )}
      </p>
    </>
  );
}

interface LineProps {
  row: Log;
  index: number;
  marks: string[];
  zone: Zone;
  dated: boolean;
  wrap: boolean;
  current: boolean;
  open: boolean;
  onOpen: (id: string) => void;
}

const Line = memo(
  function Line({ row, index, marks, zone, dated, wrap, current, open, onOpen }: LineProps) {
    const at = Date.parse(row.time);
    return (
      // The keys are those of the grid around it.
      // oxlint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/interactive-supports-focus
      <div
        id={`line-${row.id}`}
        role="row"
        aria-rowindex={index + 1}
        aria-selected={open}
        onClick={() => onOpen(row.id)}
        className={`relative flex min-h-7 items-baseline gap-3 py-1 pr-3 pl-3.5 font-mono text-data leading-5 hover:bg-s2 max-md:flex-wrap max-md:gap-x-3 max-md:gap-y-0 max-md:border-b max-md:border-line ${
          open ? "bg-accent-soft" : current ? "bg-s2" : ""} ${current ? "outline-2 -outline-offset-2 outline-accent group-focus-visible/lines:outline-solid" : ""
        }`}
      >
        <LevelBar level={row.level} />
        <span role="gridcell" className="shrink-0 text-muted" title={row.time}>
          {dated ? stamp(at, zone, 0, "milli").replace(/ \d{4} /, " ") : clock(at, zone, "milli")}
        </span>
        <span role="gridcell" className="w-14 shrink-0">
          <LevelWord level={row.level} />
        </span>
        <span role="gridcell" className="w-28 shrink-0 truncate text-muted max-md:w-auto max-md:max-w-40" title={row.service}>
          {row.service}
        </span>
        <span role="gridcell" className={`min-w-0 flex-1 max-md:basis-full ${wrap ? "break-words whitespace-pre-wrap" : "truncate max-md:line-clamp-2 max-md:whitespace-normal"}`}>
          {cut(wrap ? row.body : row.body.slice(0, 1000), marks).map((part, i) => (i % 2 ? <mark key={i}>{part}</mark> : part))}
        </span>
      </div>
    );
  },
  (a, b) =>
    a.row === b.row && a.index === b.index && a.zone === b.zone && a.dated === b.dated && a.wrap === b.wrap && a.current === b.current && a.open === b.open && a.marks.join("\n") === b.marks.join("\n"),
);
