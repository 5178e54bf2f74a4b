import { useLocation, useNavigate, useSearch } from "@tanstack/react-router";
import { createContext, useCallback, useContext, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import type { Refresh } from "./addresses";
import { usePref } from "./prefs";
import { defaultRange, freeze, inWords, isLive, resolve, same, step as stepRange, type Range, type RawRange } from "./range";
import { minute, second, type Zone } from "./time";

/** How often a live range moves on; off is 0. */
const refreshEvery: Record<Refresh, number> = { off: 0, "10s": 10 * second, "30s": 30 * second, "1m": minute, "5m": 5 * minute };
const defaultRefresh: Refresh = "30s";

interface RangeState {
  /** As it stands in the address. */
  raw: RawRange;
  /** In milliseconds; the same object until the range changes or moves on. */
  range: Range;
  /** "in the last 1 h" */
  words: string;
  zone: Zone;
  /** The time that relative edges count from. */
  now: number;
  live: boolean;
  refresh: Refresh;
  /** Whether something on the page keeps the range where it is while a person reads. */
  held: boolean;
  setRaw: (raw: RawRange) => void;
  setRefresh: (refresh: Refresh) => void;
  /** Narrows to the part drawn on a chart. */
  zoom: (range: Range) => void;
  /** Undoes the last zoom; without one, shows twice as much. */
  zoomBack: () => void;
  step: (direction: -1 | 1) => void;
  /** Counts relative edges from this moment on. */
  refreshNow: () => void;
  hold: (on: boolean) => void;
}

const Context = createContext<RangeState | undefined>(undefined);

export function RangeProvider({ children }: { children: ReactNode }) {
  const search = useSearch({ strict: false });
  const navigate = useNavigate();
  const zone = usePref("zone");
  const [now, setNow] = useState(() => Date.now());
  const [held, setHeld] = useState(false);
  const zooms = useRef<RawRange[]>([]);
  const { from = defaultRange.from, to = defaultRange.to, refresh = defaultRefresh } = search;
  const raw = useMemo(() => ({ from, to }), [from, to]);
  const live = isLive(raw);

  const refreshNow = useCallback(() => setNow(Date.now()), []);

  // A page that is opened, and a tab that is looked at again, show what is new.
  const path = useLocation({ select: (location) => location.pathname });
  useEffect(() => {
    if (!live) return undefined;
    const renew = () => setNow((was) => (document.visibilityState === "visible" && Date.now() - was > 15 * second ? Date.now() : was));
    renew();
    document.addEventListener("visibilitychange", renew);
    return () => document.removeEventListener("visibilitychange", renew);
  }, [path, live]);

  const every = refreshEvery[refresh];
  useEffect(() => {
    if (!live || held || every === 0) return undefined;
    const timer = setInterval(() => document.visibilityState === "visible" && setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [live, held, every]);

  const range = useMemo(() => resolve(raw, now, zone) ?? resolve(defaultRange, now, zone)!, [raw, now, zone]);

  const value = useMemo<RangeState>(() => {
    const go = (next: RawRange) => {
      setNow(Date.now());
      void navigate({ to: ".", search: (was) => ({ ...was, ...next, row: undefined }) });
    };
    return {
      raw,
      range,
      words: inWords(raw, zone, now),
      zone,
      now,
      live,
      refresh,
      held,
      refreshNow,
      hold: setHeld,
      setRaw: (next) => {
        zooms.current = [];
        go(next);
      },
      setRefresh: (next) =>
        void navigate({ to: ".", replace: true, search: (was) => ({ ...was, refresh: next === defaultRefresh ? undefined : next }) }),
      zoom: (part) => {
        zooms.current.push(raw);
        const from = Math.floor(part.from / second) * second;
        go(freeze({ from, to: Math.max(Math.ceil(part.to / second) * second, from + second) }));
      },
      zoomBack: () => {
        const last = zooms.current.pop();
        if (last && !same(last, raw)) return go(last);
        const half = (range.to - range.from) / 2;
        const end = Math.min(range.to + half, Date.now());
        return go(freeze({ from: end - 4 * half, to: end }));
      },
      step: (direction) => go(stepRange(raw, direction, Date.now(), zone)),
    };
  }, [raw, range, zone, now, live, refresh, held, refreshNow, navigate]);

  return <Context value={value}>{children}</Context>;
}

export function useRange(): RangeState {
  const state = useContext(Context);
  if (!state) throw new Error("useRange outside of RangeProvider");
  return state;
}

/** Keeps the range from moving on by itself as long as on is true. */
export function useHold(on: boolean): void {
  const { hold } = useRange();
  useEffect(() => {
    hold(on);
    return () => hold(false);
  }, [on, hold]);
}
