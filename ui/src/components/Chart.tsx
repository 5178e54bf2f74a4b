import { useEffect, useRef, useState } from "react";
import uPlot from "uplot";
import { count, type ValueFormat } from "../lib/format";
import { useNow } from "../lib/page";
import { usePref, useShownTheme } from "../lib/prefs";
import type { Range } from "../lib/range";
import { clock, date, stamp, wall, type Zone } from "../lib/time";
import { alone, reach, stack, type Series } from "./series";

interface ChartProps {
  /** What the chart shows, in words: it stands in for the picture. */
  label: string;
  times: number[];
  series: Series[];
  range: Range;
  format: ValueFormat;
  /** Lines with gaps, or bars on top of one another that begin at their time. */
  kind?: "lines" | "bars";
  stepMs: number;
  height: number;
  /** A part was drawn with the mouse. */
  onZoom: (range: Range) => void;
  onBack: () => void;
  /** The series that is brought out; the others step back. */
  lit?: string | undefined;
  /** Spans of time behind the lines, such as nights or when a rule fired; the token is a colour. */
  bands?: readonly Band[] | undefined;
  /** A value that is drawn as a line across, and kept in sight. */
  limit?: number | undefined;
}

export interface Band extends Range {
  token: string;
  /** Of the colour; 1 hides what is behind it. */
  alpha: number;
}

interface Hover {
  index: number;
  left: number;
  width: number;
}

/** Time against values on a canvas: crosshair, table of values, drag to zoom, double click to go back. */
export function Chart(props: ChartProps) {
  const { label, times, series, range, kind = "lines", height, format, lit, bands, limit } = props;
  const zone = usePref("zone");
  const now = useNow();
  const theme = useShownTheme();
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const [hover, setHover] = useState<Hover | undefined>(undefined);
  const latest = useRef(props);
  useEffect(() => {
    latest.current = props;
  });

  const shape = series.map((one) => one.key + one.color + String(one.dashed)).join("\n");
  useEffect(() => {
    const host = box.current!;
    const ink = (token: string) => getComputedStyle(host).getPropertyValue(token).trim();
    const axis: uPlot.Axis = {
      stroke: ink("--muted"),
      font: `11px ${getComputedStyle(host).fontFamily}`,
      grid: { stroke: ink("--line"), width: 1 },
      ticks: { show: false },
    };
    const bars = uPlot.paths.bars!({ size: [1, 200], align: 1, gap: 1 });
    const u = new uPlot(
      {
        width: host.clientWidth,
        height,
        padding: [8, 12, 0, 0],
        legend: { show: false },
        scales: {
          x: { range: () => [latest.current.range.from / 1000, latest.current.range.to / 1000] },
          y: {
            range: (_, min, max) => {
              if (latest.current.kind === "bars") return [0, Math.max(max ?? 0, 1) * 1.05];
              const { limit } = latest.current;
              if (limit !== undefined) {
                min = Math.min(min ?? limit, limit);
                max = Math.max(max ?? limit, limit);
              }
              if (min === null || max === null) return [0, 1];
              // From zero, unless that would flatten what moves far above it; what hardly moves shall look so.
              const low = min >= 0 && (min < 0.6 * max || max - min < 0.02 * max) ? 0 : min;
              const high = max <= 0 ? Math.max(max, 0) : max;
              const pad = (high - low || Math.abs(high) || 1) * 0.08;
              return [low === 0 ? 0 : low - pad, high + pad];
            },
          },
        },
        axes: [
          { ...axis, space: 70, size: 26, values: (_, splits, __, ___, incr) => timeTicks(splits, incr, zone) },
          {
            ...axis,
            space: 34,
            size: (_, values) => 14 + Math.max(20, ...(values ?? []).map((text) => text.length * 6.8)),
            values: (_, splits) => splits.map((value) => latest.current.format.tick(value)),
            ...(format.base === 1024 ? { incrs: binarySteps } : {}),
          },
        ],
        cursor: {
          drag: { x: true, y: false, setScale: false },
          points: kind === "bars" ? { show: false } : { size: 7 },
          y: false,
          bind: {
            dblclick: () => () => {
              latest.current.onBack();
              return null;
            },
          },
        },
        series: [
          {},
          ...series.map((one): uPlot.Series =>
            kind === "bars"
              ? { stroke: ink(one.color), fill: ink(one.color), width: 0, paths: bars, points: { show: false } }
              : {
                  stroke: ink(one.color),
                  width: 1.5,
                  ...(one.dashed ? { dash: [5, 4] } : {}),
                  spanGaps: false,
                  gaps: (self, i, _from, _to, gaps) => {
                    const stepWidth = (latest.current.stepMs / 1000) * (self.bbox.width / (self.scales.x!.max! - self.scales.x!.min!));
                    const far = (reach(self.data[i] as (number | null)[]) + 0.5) * stepWidth;
                    return gaps.filter(([from, to]) => to - from > far);
                  },
                  points: { size: 5, fill: ink(one.color), filter: (self, i) => alone(self.data[i] as (number | null)[]) },
                },
          ),
        ],
        hooks: {
          drawClear: [
            (self) => {
              const { left, top, width, height: high } = self.bbox;
              for (const { from, to, token, alpha } of latest.current.bands ?? []) {
                const start = Math.max(self.valToPos(from / 1000, "x", true), left);
                const end = Math.min(self.valToPos(to / 1000, "x", true), left + width);
                if (end < start) continue;
                self.ctx.save();
                self.ctx.globalAlpha = alpha;
                self.ctx.fillStyle = ink(token);
                self.ctx.fillRect(start, top, Math.max(end - start, devicePixelRatio), high);
                self.ctx.restore();
              }
            },
          ],
          draw: [
            (self) => {
              const { limit } = latest.current;
              if (limit === undefined) return;
              const { left, width } = self.bbox;
              const y = Math.round(self.valToPos(limit, "y", true)) + 0.5;
              self.ctx.save();
              self.ctx.strokeStyle = ink("--bad");
              self.ctx.lineWidth = devicePixelRatio;
              self.ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
              self.ctx.beginPath();
              self.ctx.moveTo(left, y);
              self.ctx.lineTo(left + width, y);
              self.ctx.stroke();
              self.ctx.restore();
            },
          ],
          setSelect: [
            (self) => {
              const { left, width } = self.select;
              if (width > 3) latest.current.onZoom({ from: self.posToVal(left, "x") * 1000, to: self.posToVal(left + width, "x") * 1000 });
              self.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
            },
          ],
          setCursor: [
            (self) => {
              const { left } = self.cursor;
              if (left === undefined || left < 0) return setHover(undefined);
              const p = latest.current;
              // A bar is from its time to the next one, a point is the nearest.
              const at = self.posToVal(left, "x") * 1000;
              const index =
                p.kind === "bars" ? p.times.findLastIndex((time) => time <= at) : (self.cursor.idx ?? -1);
              setHover(index < 0 || index >= p.times.length ? undefined : { index, left: left + self.bbox.left / devicePixelRatio, width: self.width });
            },
          ],
        },
      },
      [[], ...series.map(() => [])],
      host,
    );
    plot.current = u;
    const observer = new ResizeObserver(() => {
      if (host.clientWidth > 0 && host.clientWidth !== u.width) u.setSize({ width: host.clientWidth, height });
    });
    observer.observe(host);
    return () => {
      observer.disconnect();
      u.destroy();
      plot.current = undefined;
      setHover(undefined);
    };
    // The series themselves are set below; here only their number and looks matter.
    // oxlint-disable-next-line react/exhaustive-deps
  }, [shape, kind, height, theme, zone, format.base]);

  useEffect(() => {
    const values = series.map((one) => one.values);
    plot.current?.setData([times.map((time) => time / 1000), ...(kind === "bars" ? stack(values) : values)] as uPlot.AlignedData);
  }, [times, series, range, kind, shape, height, theme, zone, format, bands, limit]);

  useEffect(() => {
    const u = plot.current;
    if (!u) return;
    series.forEach((one, i) => {
      const target = u.series[i + 1];
      if (target) target.alpha = lit === undefined || lit === one.key ? 1 : 0.18;
    });
    u.redraw(false);
  }, [lit, series, shape, theme, zone, height]);

  return (
    <div className="relative">
      <div ref={box} role="img" aria-label={label} className="w-full" />
      {hover && <Tooltip {...props} hover={hover} zone={zone} now={now} />}
    </div>
  );
}

const shown = 12;

function Tooltip({ times, series, format, kind, hover, zone, stepMs, range, now }: ChartProps & { hover: Hover; zone: Zone; now: number }) {
  const at = times[hover.index];
  if (at === undefined) return null;
  const rows = series
    .map((one) => ({ ...one, value: one.values[hover.index] }))
    .filter((one): one is typeof one & { value: number } => one.value != null && (kind !== "bars" || one.value > 0));
  if (kind !== "bars") rows.sort((a, b) => b.value - a.value);
  const precision = stepMs < 60_000 ? "second" : "minute";
  const title = kind === "bars" ? `${stamp(at, zone, now, precision)} – ${clock(Math.min(at + stepMs, range.to), zone, precision)}` : stamp(at, zone, now, "second");
  const right = hover.left < hover.width / 2;
  return (
    <div
      className="pointer-events-none absolute top-1 z-10 max-w-80 rounded border border-line bg-s1 px-2.5 py-1.5 text-data shadow-float"
      style={hover.width < 600 ? (right ? { right: 0 } : { left: 0 }) : right ? { left: hover.left + 14 } : { right: hover.width - hover.left + 14 }}
    >
      <p className="text-muted">{title}</p>
      {rows.length === 0 && <p>{kind === "bars" ? "Nothing" : "No value"}</p>}
      <table>
        <tbody>
          {rows.slice(0, shown).map((one) => (
            <tr key={one.key}>
              <td aria-hidden className="pr-2">
                <span className="inline-block size-2 rounded-full" style={{ background: `var(${one.color})` }} />
              </td>
              <td className="max-w-48 truncate pr-4">{one.name}</td>
              <td className="text-right font-mono whitespace-nowrap">{kind === "bars" ? count(one.value) : format.text(one.value)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > shown && <p className="text-muted">and {rows.length - shown} more</p>}
    </div>
  );
}

const binarySteps = Array.from({ length: 60 }, (_, i) => 2 ** i);

/** The clock, and the date where a new day begins; whole days show only the date. */
function timeTicks(splits: number[], incr: number, zone: Zone): string[] {
  const now = Date.now();
  let lastDay = -1;
  return splits.map((s, i) => {
    const at = s * 1000;
    const w = wall(at, zone);
    const fresh = w.day !== lastDay && i > 0 && lastDay !== -1;
    lastDay = w.day;
    if (incr >= 86_400) return date(at, zone, now);
    if (fresh && w.hour === 0 && w.minute === 0) return date(at, zone, now);
    return clock(at, zone, incr < 60 ? "second" : "minute");
  });
}
