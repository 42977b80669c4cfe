import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { Schemas } from "../../api/client";
import { series } from "../../api/queries";
import { Chart } from "../../ui/chart";
import { count, duration } from "../../ui/format";
import { Card } from "../../ui/parts";
import { Loaded } from "../../ui/query";

const SPANS = {
  "1 h": [3_600, 60],
  "24 h": [86_400, 300],
  "7 d": [604_800, 3_600],
} as const;
type Span = keyof typeof SPANS;
type Point = Schemas["SeriesPoint"];

/** Rates and times of the last hour, day or week. */
export function Histories() {
  const [span, setSpan] = useState<Span>("1 h");
  const [seconds, step] = SPANS[span];
  const query = useQuery(series(seconds, step));
  const spans = (
    <div className="tabs" role="group" aria-label="Time span">
      {(Object.keys(SPANS) as Span[]).map((name) => (
        <button key={name} type="button" aria-pressed={name === span} onClick={() => setSpan(name)}>
          {name}
        </button>
      ))}
    </div>
  );
  return (
    <div className="columns">
      <Card title="Tasks a minute" aside={spans}>
        <Loaded query={query}>
          {(answer) => <Throughput points={answer.series[0]?.points ?? []} step={answer.step_seconds} />}
        </Loaded>
      </Card>
      <Card title="How long they waited and ran">
        <Loaded query={query}>{(answer) => <Times points={answer.series[0]?.points ?? []} />}</Loaded>
      </Card>
    </div>
  );
}

const moments = (points: Point[]) => points.map(({ at }) => Date.parse(at) / 1000);

function Throughput({ points, step }: { points: Point[]; step: number }) {
  const rate = (name: "submitted" | "completed" | "failed" | "retried") =>
    points.map((point) => (point[name] * 60) / step);
  return (
    <Chart
      label="Tasks a minute"
      at={moments(points)}
      lines={[
        { label: "submitted", colour: "--violet", values: rate("submitted") },
        { label: "completed", colour: "--good", values: rate("completed") },
        { label: "retried", colour: "--warn", values: rate("retried") },
        { label: "failed", colour: "--bad", values: rate("failed") },
      ]}
      tell={(value) => count(Math.round(value * 10) / 10)}
      least={4}
    />
  );
}

function Times({ points }: { points: Point[] }) {
  return (
    <Chart
      label="Percentiles of waiting and running"
      at={moments(points)}
      lines={[
        { label: "wait p50", colour: "--violet", values: points.map((one) => one.wait_seconds?.p50 ?? null) },
        { label: "wait p99", colour: "--accent", values: points.map((one) => one.wait_seconds?.p99 ?? null) },
        { label: "run p50", colour: "--good", values: points.map((one) => one.run_seconds?.p50 ?? null) },
        { label: "run p99", colour: "--warn", values: points.map((one) => one.run_seconds?.p99 ?? null) },
      ]}
      tell={duration}
      least={0.01}
    />
  );
}
