/** One line of a chart. */
export interface Series {
  key: string;
  name: string;
  color: string;
  /** Set where the colour is another line's too. */
  dashed?: boolean;
  /** One value for each time; null where there is none, which shows as a gap. */
  values: (number | null)[];
}

export const palette = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8"];

/**
 * A colour token for each key. It depends on the key before its neighbours, so that the same series keeps its colour
 * when others come and go; two that want the same one give way as long as there is a free one.
 */
export function colors(keys: readonly string[]): Map<string, { color: string; dashed: boolean }> {
  const out = new Map<string, { color: string; dashed: boolean }>();
  const taken = new Set<number>();
  for (const key of keys.toSorted()) {
    let slot = hash(key) % palette.length;
    const dashed = taken.size === palette.length;
    if (!dashed) {
      while (taken.has(slot)) slot = (slot + 1) % palette.length;
      taken.add(slot);
    }
    out.set(key, { color: palette[slot]!, dashed });
  }
  return out;
}

function hash(text: string): number {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619) >>> 0;
  return h >>> 3;
}

/** Puts points on the common grid of a step; what is missing is null. Times are in milliseconds. */
export function grid(series: readonly { points: readonly { at: number; value: number }[] }[], stepMs: number): { times: number[]; values: (number | null)[][] } {
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (const { points } of series) {
    for (const { at } of points) {
      first = Math.min(first, at);
      last = Math.max(last, at);
    }
  }
  if (first > last || stepMs <= 0) return { times: [], values: series.map(() => []) };
  const n = Math.min(Math.round((last - first) / stepMs) + 1, 20_000);
  const times = Array.from({ length: n }, (_, i) => first + i * stepMs);
  const values = series.map(({ points }) => {
    const row = Array.from<number | null>({ length: n }).fill(null);
    for (const { at, value } of points) {
      const i = Math.round((at - first) / stepMs);
      if (i < n) row[i] = Number.isFinite(value) ? value : null;
    }
    return row;
  });
  return { times, values };
}

/**
 * How many steps apart two values may be and still be joined by a line: a sender that reports each minute has no gap
 * because the step is 15 seconds.
 */
export function reach(values: readonly (number | null | undefined)[]): number {
  const distances: number[] = [];
  let last = -1;
  values.forEach((value, i) => {
    if (value == null) return;
    if (last >= 0) distances.push(i - last);
    last = i;
  });
  distances.sort((a, b) => a - b);
  const usual = distances[Math.floor(distances.length / 2)] ?? 1;
  return usual === 1 ? 1 : Math.ceil(usual * 1.5);
}

/** The positions of values that no line reaches: they need a dot. */
export function alone(values: readonly (number | null | undefined)[]): number[] {
  const far = reach(values);
  const out: number[] = [];
  let last = Number.NEGATIVE_INFINITY;
  let candidate = -1;
  values.forEach((value, i) => {
    if (value == null) return;
    const joined = i - last <= far;
    if (candidate >= 0 && !joined) out.push(candidate);
    candidate = joined ? -1 : i;
    last = i;
  });
  if (candidate >= 0) out.push(candidate);
  return out;
}

/** Running sums from the last series to the first, so that the first is painted tallest and the last in front of it. */
export function stack(values: readonly (readonly (number | null)[])[]): number[][] {
  const out: number[][] = Array.from({ length: values.length });
  for (let s = values.length - 1; s >= 0; s--) {
    out[s] = values[s]!.map((value, i) => (value ?? 0) + (out[s + 1]?.[i] ?? 0));
  }
  return out;
}
