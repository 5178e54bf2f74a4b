import { useMemo } from "react";
import { Chart } from "../../components/Chart";
import { levels, levelToken } from "../../components/Level";
import type { Series } from "../../components/series";
import type { LogHistogram } from "../../lib/api";
import { count, plural, valueFormat } from "../../lib/format";
import { clock } from "../../lib/time";
import { useRange } from "../../lib/useRange";

const format = valueFormat("");

/** How many lines there were, by time and level; the worst level is at the bottom, where it is not hidden. */
export function Histogram({ histogram }: { histogram: LogHistogram }) {
  const { range, zoom, zoomBack, zone } = useRange();
  const { times, series } = useMemo(() => {
    const present = levels.filter((level) => histogram.buckets.some((bucket) => (bucket.counts[level] ?? 0) > 0));
    return {
      times: histogram.buckets.map((bucket) => Date.parse(bucket.at)),
      series: present.toReversed().map(
        (level): Series => ({
          key: level,
          name: level,
          color: levelToken[level],
          values: histogram.buckets.map((bucket) => bucket.counts[level] ?? 0),
        }),
      ),
    };
  }, [histogram]);
  const sums = histogram.buckets.map((bucket) => Object.values(bucket.counts).reduce((a, b) => a + b, 0));
  const peak = sums.indexOf(Math.max(...sums));
  const label =
    histogram.total === 0
      ? "No lines over time"
      : `${plural(histogram.total, "line")} over time by level; most at ${clock(times[peak] ?? 0, zone)}: ${count(sums[peak] ?? 0)}`;
  return (
    <Chart
      kind="bars"
      label={label}
      times={times}
      series={series}
      range={range}
      format={format}
      stepMs={histogram.step_seconds * 1000}
      height={120}
      onZoom={zoom}
      onBack={zoomBack}
    />
  );
}
