import { useEffect, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useIsDark } from "../theme";
import { moment } from "./format";
import { Button } from "./parts";

export interface Line {
  label: string;
  /** A colour of the theme: `--good`. */
  colour: string;
  values: (number | null)[];
}

interface Props {
  /** What it shows, for those who do not see it. */
  label: string;
  /** Seconds since the epoch. */
  at: number[];
  lines: Line[];
  tell(value: number): string;
  /** How far the axis goes at least: small figures are not blown up. */
  least?: number;
  height?: number;
}

/** Lines over time, and the same as a table. */
export function Chart(props: Props) {
  const [isTable, setTable] = useState(false);
  return (
    <div className="stack">
      <div className="row spread">
        <Legend lines={props.lines} />
        <Button size="small" kind="plain" aria-pressed={isTable} onClick={() => setTable(!isTable)}>
          {isTable ? "As a chart" : "As a table"}
        </Button>
      </div>
      {isTable ? <Figures {...props} /> : <Canvas {...props} />}
    </div>
  );
}

function Legend({ lines }: { lines: Line[] }) {
  return (
    <div className="legend">
      {lines.map(({ label, colour }) => (
        <span key={label}>
          <i style={{ background: `var(${colour})` }} />
          {label}
        </span>
      ))}
    </div>
  );
}

function Canvas({ label, at, lines, tell, least = 1, height = 200 }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const isDark = useIsDark();
  const look = lines.map((line) => line.label + line.colour).join();
  const data = [at, ...lines.map(({ values }) => values)] as uPlot.AlignedData;
  const latest = useRef({ shape: { lines, tell, least, height }, data });
  latest.current = { shape: { lines, tell, least, height }, data };
  // look: another look is another plot
  // isDark: the colours are read from the theme
  useEffect(() => {
    const target = place.current;
    if (!target) return undefined;
    const { shape, data: begun } = latest.current;
    const made = new uPlot(options(target, shape), begun, target);
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: target.clientWidth, height: shape.height }));
    watch.observe(target);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [look, isDark]);
  useEffect(() => {
    plot.current?.setData(data);
  });
  return <div className="chart" ref={place} role="img" aria-label={`${label}. ${summary(lines, tell)}`} />;
}

type Shape = Required<Pick<Props, "lines" | "tell" | "least" | "height">>;

function options(target: HTMLElement, { lines, tell, least, height }: Shape): uPlot.Options {
  const style = getComputedStyle(target);
  const colour = (name: string) => resolved(target, name);
  const axis: uPlot.Axis = {
    stroke: colour("--muted"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    font: `11px ${style.fontFamily}`,
  };
  return {
    width: target.clientWidth || 300,
    height,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { y: { range: (_plot, _least, most) => [0, Math.max(most * 1.08, least)] } },
    axes: [
      {
        ...axis,
        size: 26,
        values: (_plot, splits, _axis, _space, step) => splits.map((at) => clock(at, step)),
      },
      { ...axis, size: 64, values: (_plot, splits) => splits.map((value) => tell(value)) },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        label: line.label,
        stroke: colour(line.colour),
        width: 1.8,
        points: { show: isSparse, size: 4 },
      })),
    ],
  };
}

/** Below so many points they are marked: a single one makes no line. */
const FEW = 8;

function isSparse(plot: uPlot, series: number): boolean {
  return (plot.data[series] ?? []).filter((value) => value !== null && value !== undefined).length < FEW;
}

/** A moment on the axis, as exact as the step to the next. */
function clock(at: number, step: number): string {
  const told = moment(new Date(at * 1000).toISOString());
  return step < 60 ? told.slice(11, 19) : step < 86_400 ? told.slice(11, 16) : told.slice(5, 10);
}

/** What a custom property comes to in the theme that is shown: a canvas knows no `light-dark()`. */
function resolved(target: HTMLElement, name: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  target.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function summary(lines: Line[], tell: Props["tell"]): string {
  return lines
    .map(({ label, values }) => {
      const known = values.filter((value) => value !== null);
      const last = known.at(-1);
      return last === undefined
        ? `${label}: nothing`
        : `${label}: last ${tell(last)}, at most ${tell(Math.max(...known))}`;
    })
    .join("; ");
}

function Figures({ label, at, lines, tell }: Props) {
  return (
    // tabIndex: what scrolls can be scrolled with the keyboard
    <div className="figures" tabIndex={0} role="region" aria-label={label}>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">From</th>
            {lines.map((line) => (
              <th key={line.label} scope="col" className="number">
                {line.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {at
            .map((seconds, row) => ({ seconds, row }))
            .reverse()
            .map(({ seconds, row }) => (
              <tr key={seconds}>
                <td className="nowrap">{moment(new Date(seconds * 1000).toISOString()).slice(0, 19)}</td>
                {lines.map((line) => {
                  const value = line.values[row];
                  return (
                    <td key={line.label} className="number">
                      {value === null || value === undefined ? "–" : tell(value)}
                    </td>
                  );
                })}
              </tr>
            ))}
        </tbody>
      </table>
    </div>
  );
}
