import { useQuery } from "@tanstack/react-query";
import type { Schemas } from "../api/client";
import { bytes, count, duration, plural } from "../ui/format";
import { Card, Copy, Facts, Note, PageHead, Status, Wide } from "../ui/parts";
import { Loaded } from "../ui/query";
import { Ago } from "../ui/time";
import { doctor, readiness, system } from "./system/queries";

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

function Diagnosis({ of }: { of: Schemas["DoctorReport"] }) {
  const findings = of.checks.filter(({ found }) => found > 0);
  return (
    <div className="stack">
      {of.clean ? (
        <Note tone="good">
          Sound: {plural(of.checks.length, "check")} found nothing, and no task is lost.
        </Note>
      ) : (
        findings.map((finding) => (
          <Note key={finding.name} tone="bad">
            <span>
              {count(finding.found)} {finding.means}{" "}
              <span className="mono">{finding.examples.join(", ")}</span>
            </span>
          </Note>
        ))
      )}
      {of.gap !== 0 && (
        <Note tone="bad">{count(Math.abs(of.gap))} accepted tasks are not accounted for.</Note>
      )}
      <details>
        <summary>What is looked at</summary>
        <ul className="small">
          {of.checks.map(({ name, means, found }) => (
            <li key={name}>
              {means}: {count(found)}
            </li>
          ))}
        </ul>
      </details>
    </div>
  );
}

function Api({ facts }: { facts: Schemas["SystemFacts"] }) {
  return (
    <Card title="This api" aside={<Ago at={facts.as_of} />}>
      <Facts
        of={{
          Version: facts.version,
          Python: facts.python,
          "Runs for": duration(facts.uptime_seconds),
          "Newest migration it knows": facts.migration_known,
        }}
      />
    </Card>
  );
}

function Postgres({ facts }: { facts: Schemas["PostgresFacts"] }) {
  const { connections, connections_max, oldest_transaction_seconds: oldest, size_bytes } = facts;
  return (
    <Card title="PostgreSQL" aside={<Status of={facts.error ? "gone" : "live"} />}>
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
            "Room for new tasks until": facts.ranges_end?.slice(0, 10),
          }}
        />
      </div>
    </Card>
  );
}

function Nats({ facts }: { facts: Schemas["NatsFacts"] }) {
  return (
    <Card title={`NATS ${facts.version ?? ""}`} aside={<Status of={facts.connected ? "live" : "gone"} />}>
      <div className="stack">
        {facts.error && <Note tone="bad">{facts.error}</Note>}
        {facts.streams.length > 0 && <Streams streams={facts.streams} />}
        {facts.consumers.length > 0 && <Consumers consumers={facts.consumers} />}
      </div>
    </Card>
  );
}

function Streams({ streams }: { streams: Schemas["StreamFacts"][] }) {
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
            <th scope="col" className="number">
              At most
            </th>
            <th scope="col" className="number">
              Replicas
            </th>
          </tr>
        </thead>
        <tbody>
          {streams.map((stream) => (
            <tr key={stream.name}>
              <td className="mono">{stream.name}</td>
              <td className="number">
                {stream.messages === null ? "it is missing" : count(stream.messages)}
              </td>
              <td className="number nowrap">{bytes(stream.bytes)}</td>
              <td className="number nowrap">{stream.bytes_max ? bytes(stream.bytes_max) : "–"}</td>
              <td className="number">{stream.replicas}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}

function Consumers({ consumers }: { consumers: Schemas["ConsumerFacts"][] }) {
  return (
    <Wide>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Queue</th>
            <th scope="col">Priority</th>
            <th scope="col" className="number">
              Doorbells waiting
            </th>
            <th scope="col" className="number">
              In workers' hands
            </th>
            <th scope="col" className="number">
              Delivered again
            </th>
            <th scope="col" className="number">
              Workers that wait
            </th>
          </tr>
        </thead>
        <tbody>
          {consumers.map((consumer) => (
            <tr key={`${consumer.queue} ${consumer.priority}`}>
              <td>{consumer.queue}</td>
              <td>{consumer.priority}</td>
              <td className="number">{count(consumer.waiting)}</td>
              <td className="number">{count(consumer.delivered)}</td>
              <td className="number">{count(consumer.redelivered)}</td>
              <td className="number">{count(consumer.pulls)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}

function Settings({ settings }: { settings: Schemas["SystemFacts"]["settings"] }) {
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
