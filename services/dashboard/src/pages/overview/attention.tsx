import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { api, body, type Schemas } from "../../api/client";
import { letterGroups, queues } from "../../api/queries";
import { useMay } from "../../api/who";
import { count, duration, plural } from "../../ui/format";
import { Icon } from "../../ui/icons";
import { Card } from "../../ui/parts";
import { doctor } from "../system/queries";

export interface Concern {
  text: string;
  href: string;
  tone: "bad" | "warn";
}

/** What somebody should look at, the worst first. Nothing stands here when nothing has to be done. */
export function Attention() {
  const may = useMay();
  const isAdmin = may("admin");
  const waiting = useQuery(queues()).data ?? [];
  const groups = useQuery(letterGroups("pending")).data?.items ?? [];
  const slowed = useQuery(slowedEndpoints()).data?.items ?? [];
  const report = useQuery({ ...doctor(), enabled: isAdmin }).data;
  const found = [
    ...waiting.flatMap(concernsOfQueue),
    ...(report ? concernsOfReport(report) : []),
    ...concernsOfLetters(groups),
    ...slowed.map(({ url }): Concern => ({
      text: `Webhooks to ${url} fail`,
      href: "/webhooks",
      tone: "warn",
    })),
  ].sort((a, b) => a.tone.localeCompare(b.tone));
  if (found.length === 0) return null;
  return (
    <Card title={`Needs attention: ${found.length}`}>
      <ul className="concerns">
        {found.map(({ text, href, tone }, index) => (
          <li key={`${index} ${text}`} data-tone={tone}>
            <Icon name="warn" />
            <Link href={href}>{text}</Link>
          </li>
        ))}
      </ul>
    </Card>
  );
}

const slowedEndpoints = () => ({
  queryKey: ["webhooks", "endpoints", "slowed"],
  queryFn: () =>
    body(api.GET("/api/v1/webhook-endpoints", { params: { query: { state: "slowed" as const } } })),
  refetchInterval: 30_000,
});

function concernsOfReport({ checks, gap }: Schemas["DoctorReport"]): Concern[] {
  const lost = `${plural(Math.abs(gap), "task")} cannot be accounted for`;
  return [
    ...(gap ? [{ text: lost, href: "/system", tone: "bad" } satisfies Concern] : []),
    ...checks.flatMap(concernsOfCheck),
  ];
}

function concernsOfCheck({ found, means }: Schemas["DoctorCheck"]): Concern[] {
  return found ? [{ text: `The doctor found ${count(found)} ${means}`, href: "/system", tone: "bad" }] : [];
}

const LONG_SECONDS = 60;

export function concernsOfQueue(queue: Schemas["QueueInfo"]): Concern[] {
  const sum = Object.values(queue.waiting).reduce((all, one) => all + one, 0);
  const href = `/tasks?q=status:queued queue:${queue.name}`;
  if (sum === 0) return [];
  if (queue.paused) {
    return [
      { text: `Queue ${queue.name} is paused; ${plural(sum, "task")} wait`, href: "/queues", tone: "warn" },
    ];
  }
  if (queue.workers === 0) {
    return [{ text: `No worker serves queue ${queue.name}; ${plural(sum, "task")} wait`, href, tone: "bad" }];
  }
  const oldest = queue.oldest_waiting_seconds ?? 0;
  if (oldest < LONG_SECONDS) return [];
  return [
    {
      text: `The oldest of ${count(sum)} in queue ${queue.name} waits for ${duration(oldest)}`,
      href,
      tone: "warn",
    },
  ];
}

function concernsOfLetters(groups: Schemas["LetterGroup"][]): Concern[] {
  const pending = groups.reduce((all, { pending }) => all + pending, 0);
  if (pending === 0) return [];
  const text = `${plural(pending, "dead letter")} of ${plural(groups.length, "kind")} wait for a decision`;
  return [{ text, href: "/dead-letters", tone: "warn" }];
}
