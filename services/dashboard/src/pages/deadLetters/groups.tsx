import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useLocation } from "wouter";
import type { Action, Filter } from "../../api/bulk";
import type { Schemas } from "../../api/client";
import { letterGroups } from "../../api/queries";
import { useMay } from "../../api/who";
import { useShortcuts } from "../../keys";
import { useRefreshOnMoves } from "../../live/useFeed";
import { BulkDialog } from "../../ui/bulkDialog";
import { count, plural } from "../../ui/format";
import { Button, Card, Empty } from "../../ui/parts";
import { Loaded } from "../../ui/query";
import { Ago } from "../../ui/time";

export type Group = Schemas["LetterGroup"];

/** The letters of a group: its type, and what went wrong. */
export function groupHref(group: Group): string {
  const query = new URLSearchParams({ type: group.type, status: "pending" });
  if (group.fingerprint) query.set("fingerprint", group.fingerprint);
  return `/dead-letters?${query}`;
}

/** Letters that nobody has sorted yet have no fingerprint: a filter of theirs would be every letter of the type. */
function canDecide(group: Group): boolean {
  return group.pending > 0 && group.fingerprint !== null;
}

/** The pending ones of a group: the others have been decided on. */
function filterOf(group: Group): Filter {
  return { type: [group.type], fingerprint: group.fingerprint ?? undefined };
}

type Deed = { action: Action; group: Group };

/** What was given up, by what went wrong: one decision for each kind. */
export function Groups() {
  const [isAll, setAll] = useState(false);
  const query = useQuery(letterGroups(isAll ? undefined : "pending"));
  useRefreshOnMoves(["dead-letters", "groups"], 500);
  const [deed, setDeed] = useState<Deed | null>(null);
  const aside = (
    <div className="tabs" role="group" aria-label="Which letters">
      <button type="button" aria-pressed={!isAll} onClick={() => setAll(false)}>
        Pending
      </button>
      <button type="button" aria-pressed={isAll} onClick={() => setAll(true)}>
        All
      </button>
    </div>
  );
  return (
    <Card title="By what went wrong" aside={aside} bare>
      <Loaded query={query}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty title="No dead letters">
              {isAll ? "No task has been given up." : "Nothing waits for a decision."}
            </Empty>
          ) : (
            <GroupTable groups={items} onDeed={setDeed} />
          )
        }
      </Loaded>
      {deed && (
        <BulkDialog
          action={deed.action}
          filter={filterOf(deed.group)}
          said={`${plural(deed.group.pending, "dead letter")} of ${deed.group.type}`}
          onClose={() => setDeed(null)}
        />
      )}
    </Card>
  );
}

function GroupTable({ groups, onDeed }: { groups: Group[]; onDeed(deed: Deed): void }) {
  const may = useMay();
  const [at, setAt] = useState(0);
  const [, go] = useLocation();
  const current = groups[Math.min(at, groups.length - 1)];
  const begin = (action: Action) =>
    current && canDecide(current) && may("operate") && onDeed({ action, group: current });
  useShortcuts([
    { keys: "j", label: "Next group", deed: () => setAt(Math.min(groups.length - 1, at + 1)) },
    { keys: "k", label: "Group before", deed: () => setAt(Math.max(0, at - 1)) },
    { keys: "Enter", label: "Open the group", deed: () => current && go(groupHref(current)) },
    { keys: "r", label: "Replay the group", deed: () => begin("replay") },
  ]);
  return (
    <table className="table">
      <thead>
        <tr>
          <th scope="col">Type</th>
          <th scope="col">Error</th>
          <th scope="col" className="number">
            Pending
          </th>
          <th scope="col" className="number">
            All
          </th>
          <th scope="col">First</th>
          <th scope="col">Last</th>
          <th scope="col">
            <span className="hidden">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {groups.map((group) => (
          <tr key={`${group.type} ${group.fingerprint}`} data-cursor={group === current}>
            <th scope="row">
              <Link href={groupHref(group)}>{group.type}</Link>
            </th>
            <td className="wide">
              <b>{group.error?.type ?? "not told"}</b>
              <div className="clip muted small">{group.error?.message}</div>
            </td>
            <td className="number">{count(group.pending)}</td>
            <td className="number">{count(group.count)}</td>
            <td>
              <Ago at={group.first_seen} />
            </td>
            <td>
              <Ago at={group.last_seen} />
            </td>
            <td>
              {may("operate") && canDecide(group) && (
                <div className="row nowrap-row">
                  <Button size="small" kind="primary" onClick={() => onDeed({ action: "replay", group })}>
                    Replay…
                  </Button>
                  <Button size="small" onClick={() => onDeed({ action: "discard", group })}>
                    Discard…
                  </Button>
                </div>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
