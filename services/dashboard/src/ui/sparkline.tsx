/** A line without axes: whether something rises or falls. */
export function Sparkline({ values, label }: { values: number[]; label: string }) {
  if (values.length < 2) return <span className="muted">–</span>;
  const most = Math.max(...values, 1);
  const points = values.map(
    (value, index) => `${(index * 100) / (values.length - 1)},${23 - (22 * value) / most}`,
  );
  const last = values.at(-1) ?? 0;
  return (
    <svg
      className="sparkline"
      viewBox="0 0 100 24"
      preserveAspectRatio="none"
      role="img"
      aria-label={`${label}: now ${last}, at most ${Math.max(...values)}`}
    >
      <polyline
        points={points.join(" ")}
        fill="none"
        stroke="currentColor"
        strokeWidth="1.5"
        vectorEffect="non-scaling-stroke"
      />
    </svg>
  );
}
