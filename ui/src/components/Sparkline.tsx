/** Counts over time as bars from zero, without axes; label says in words what they show. */
export function Sparkline({ values, over, label, className = "h-10 w-full", tone = "text-quiet" }: { values: readonly number[]; over?: readonly number[]; label: string; className?: string; tone?: string }) {
  const max = Math.max(1, ...values);
  const n = Math.max(1, values.length);
  return (
    <svg role="img" aria-label={label} viewBox={`0 0 ${n} 100`} preserveAspectRatio="none" className={`block overflow-visible ${className}`}>
      <title>{label}</title>
      <rect x="0" y="99" width={n} height="1" className="fill-current text-line" />
      <path d={bars(values, max)} className={`fill-current ${tone}`} />
      {over && <path d={bars(over, max)} className="fill-current text-bar-bad" />}
    </svg>
  );
}

function bars(values: readonly number[], max: number): string {
  let d = "";
  values.forEach((value, i) => {
    if (value <= 0) return;
    // One event beside thousands is still to be seen.
    const h = Math.max(5, (value / max) * 100);
    d += `M${i + 0.1} 100v${-h}h0.8v${h}z`;
  });
  return d;
}
