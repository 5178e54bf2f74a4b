import { plural } from "../../lib/format";
import type { Checkin } from "../../lib/api";
import { heights, outcome, runWords, type Outcome } from "../../lib/runs";
import { useRange } from "../../lib/useRange";

const fill: Record<Outcome, string> = { ok: "text-bar-ok", error: "text-bar-bad", running: "text-info", note: "text-faint" };

/**
 * The last runs, oldest at the left. The height of a bar is its duration; the outcome has a colour and a shape:
 * whole for ok, notched with a foot for failed, hollow for running.
 */
export function RunBars({ runs, slots = 60, className = "" }: { runs: readonly Checkin[]; slots?: number; className?: string }) {
  const { zone, now } = useRange();
  const shown = runs.slice(-slots);
  const tall = heights(shown);
  const failed = shown.filter((run) => run.status === "error").length;
  const label = shown.length === 0 ? "No runs" : `Last ${plural(shown.length, "run")}, ${failed === 0 ? "none failed" : `${failed} failed`}`;
  return (
    <svg role="img" aria-label={label} viewBox={`0 0 ${slots * 5} 30`} preserveAspectRatio="none" className={`block ${className}`}>
      {shown.length === 0 && <path d={`M0 29.5h${slots * 5}`} stroke="currentColor" strokeDasharray="2 3" className="text-edge" />}
      {shown.map((run, i) => {
        const kind = outcome(run);
        const x = (slots - shown.length + i) * 5;
        const h = 26 * tall[i]!;
        return (
          <g key={run.id} className={fill[kind]}>
            <title>{runWords(run, zone, now)}</title>
            <rect x={x} y="0" width="5" height="30" fill="transparent" />
            {kind === "error" ? (
              <path d={`M${x + 0.5} ${30 - h}v${h - 5}h4v${-(h - 5)}zM${x + 0.5} 27h4v3h-4z`} fill="currentColor" />
            ) : kind === "running" ? (
              <rect x={x + 1} y={30 - h} width="3" height={h - 0.5} fill="none" stroke="currentColor" vectorEffect="non-scaling-stroke" />
            ) : (
              <rect x={x + 0.5} y={30 - h} width="4" height={h} fill="currentColor" />
            )}
          </g>
        );
      })}
    </svg>
  );
}
