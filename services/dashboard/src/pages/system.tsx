import { useQuery } from "@tanstack/react-query";
import { bytes, count, duration } from "../ui/format";
import { Card, Copy, Empty, Facts, Note, PageHead, Status, Wide } from "../ui/parts";
import { Loaded } from "../ui/query";
import { Ago } from "../ui/time";
import { type Doctor, doctor, readiness, type SystemFacts, system } from "./system/queries";

/** What the system stands on, and whether it is sound. */
export default function System() {
  const facts = useQuery(system());
  return (
    <>
      <PageHead title="System">
        {facts.data && (
          <span className="muted small">
            All of it <Copy text={JSON.stringify(facts.data, null, 2)} what="all facts as JSON" />
          </span>
        )}
      </PageHead>
      <div className="columns">
        <Health />
        <DoctorCard />
      </div>
      <Loaded query={facts}>
        {(told) => (
          <>
            <div className="columns">
              <Api facts={told} />
              <Postgres facts={told.postgres} />
            </div>
            <Nats facts={told.nats} />
            <Settings settings={told.settings} />
          </>
        )}
      </Loaded>
    </>
  );
}

function Health() {
  const query = useQuery(readiness());
  return (
    <Card title="Health">
      <Loaded query={query}>
        {(told) => (
          <Facts
            of={Object.fromEntries(
              Object.entries(told)
                .filter(([, value]) => typeof value !== "object")
                .map(([name, value]) => [name.replaceAll("_", " "), String(value)]),
            )}
          />
        )}
      </Loaded>
    </Card>
  );
}

function DoctorCard() {
  const query = useQuery(doctor());
  return (
    <Card title="Doctor" aside={query.data && <Ago at={query.data.as_of} />}>
      <Loaded query={query}>{(told) => <Diagnosis of={told} />}</Loaded>
    </Card>
  );
}

function Diagnosis({ of }: { of: Doctor }) {
  return (
    <div className="stack">
      {of.healthy ? (
        <Note tone="good">Sound: {of.checks.length} checks found nothing.</Note>
      ) : (
        of.findings.map((finding) => (
          <Note key={finding.code} tone="bad">
            <span>
              <b>{finding.code.replaceAll("_", " ")}</b>: {finding.detail} ({count(finding.count)})
              {finding.examples.length > 0 && <div className="mono">{finding.examples.join(", ")}</div>}
            </span>
          </Note>
        ))
      )}
      <details>
        <summary>What is looked at</summary>
        <ul className="small">
          {of.checks.map((check) => (
            <li key={check.code}>
              {check.code.replaceAll("_", " ")}: {count(check.count)}
            </li>
          ))}
        </ul>
      </details>
    </div>
  );
}

function Api({ facts: { api, as_of } }: { facts: SystemFacts }) {
  return (
    <Card title="This api" aside={<Ago at={as_of} />}>
      <Facts
        of={{
          Version: api.version,
          Python: api.python,
          "Runs for": duration(api.uptime_seconds),
          "Streams open": count(api.streams_open),
          "Requests now": count(api.requests),
        }}
      />
    </Card>
  );
}

function Postgres({ facts }: { facts: SystemFacts["postgres"] }) {
  const { connections, connections_max, oldest_transaction_seconds: oldest, size_bytes } = facts;
  return (
    <Card title="PostgreSQL">
      <div className="stack">
        {facts.error && <Note tone="bad">{facts.error}</Note>}
        <Facts
          of={{
            Version: facts.version,
            Database: facts.database,
            Size: size_bytes === null ? null : bytes(size_bytes),
            Connections: connections === null ? null : `${connections} of ${connections_max}`,
            "Oldest transaction": oldest === null ? "none" : duration(oldest),
            Migration: facts.migration,
          }}
        />
        <details>
          <summary>{facts.ranges.length} ranges of tasks</summary>
          <Wide>
            <table className="table">
              <thead>
                <tr>
                  <th scope="col">Range</th>
                  <th scope="col">From</th>
                  <th scope="col">To</th>
                  <th scope="col" className="number">
                    Tasks, about
                  </th>
                </tr>
              </thead>
              <tbody>
                {facts.ranges.map((range) => (
                  <tr key={range.name}>
                    <td className="mono">{range.name}</td>
                    <td className="nowrap">{range.from.slice(0, 10)}</td>
                    <td className="nowrap">{range.to.slice(0, 10)}</td>
                    <td className="number">
                      {range.tasks_estimate === null ? "–" : count(range.tasks_estimate)}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Wide>
        </details>
      </div>
    </Card>
  );
}

function Nats({ facts }: { facts: SystemFacts["nats"] }) {
  return (
    <Card title="NATS" aside={<Status of={facts.connected ? "live" : "gone"} />}>
      <div className="stack">
        {facts.error && <Note tone="bad">{facts.error}</Note>}
        <Facts
          of={{
            Server: facts.server,
            Version: facts.version,
          }}
        />
        {facts.streams.length === 0 ? (
          <Empty title="No stream is known" />
        ) : (
          <Streams streams={facts.streams} />
        )}
        {facts.consumers.length > 0 && <Consumers consumers={facts.consumers} />}
      </div>
    </Card>
  );
}

function Streams({ streams }: { streams: SystemFacts["nats"]["streams"] }) {
  return (
    <Wide>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Stream</th>
            <th scope="col" className="number">
              Messages
            </th>
            <th scope="col" className="number">
              Size
            </th>
            <th scope="col">Storage</th>
            <th scope="col" className="number">
              Last sequence
            </th>
          </tr>
        </thead>
        <tbody>
          {streams.map((stream) => (
            <tr key={stream.name}>
              <td className="mono">{stream.name}</td>
              <td className="number">{count(stream.messages)}</td>
              <td className="number nowrap">{bytes(stream.bytes)}</td>
              <td>
                {stream.storage} × {stream.replicas}
              </td>
              <td className="number">{count(stream.last_sequence)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}

function Consumers({ consumers }: { consumers: SystemFacts["nats"]["consumers"] }) {
  return (
    <Wide>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Consumer</th>
            <th scope="col" className="number">
              Pending
            </th>
            <th scope="col" className="number">
              Not acked
            </th>
            <th scope="col" className="number">
              Redelivered
            </th>
          </tr>
        </thead>
        <tbody>
          {consumers.map((consumer) => (
            <tr key={`${consumer.stream} ${consumer.name}`}>
              <td className="mono">{consumer.name}</td>
              <td className="number">{count(consumer.pending)}</td>
              <td className="number">{count(consumer.ack_pending)}</td>
              <td className="number">{count(consumer.redelivered)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}

function Settings({ settings }: { settings: SystemFacts["settings"] }) {
  return (
    <Card title="Settings of this api">
      <Facts of={Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, told(value)]))} />
    </Card>
  );
}

function told(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  return typeof value === "string" ? value : JSON.stringify(value);
}
