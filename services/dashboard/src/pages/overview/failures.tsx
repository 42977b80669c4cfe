import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { letterGroups } from "../../api/queries";
import { useRefreshOnMoves } from "../../live/useFeed";
import { count } from "../../ui/format";
import { Card, Empty } from "../../ui/parts";
import { Loaded } from "../../ui/query";
import { Ago } from "../../ui/time";
import { groupHref } from "../deadLetters/groups";

const SHOWN = 8;

/** What was given up and waits for somebody, by what went wrong. */
export function Failures() {
  const query = useQuery(letterGroups("pending"));
  useRefreshOnMoves(["dead-letters", "groups"], 2_000);
  return (
    <Card
      title="Failures that wait for somebody"
      aside={<Link href="/dead-letters">All dead letters</Link>}
      bare
    >
      <Loaded query={query}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty title="No dead letters">Every task that failed for good has been seen to.</Empty>
          ) : (
            <table className="table">
              <thead>
                <tr>
                  <th scope="col">Error</th>
                  <th scope="col" className="number">
                    Tasks
                  </th>
                  <th scope="col">Last</th>
                </tr>
              </thead>
              <tbody>
                {items.slice(0, SHOWN).map((group) => (
                  <tr key={`${group.type} ${group.fingerprint}`}>
                    <td className="wide">
                      <Link href={groupHref(group)}>
                        {group.type}: {group.error?.type ?? "unknown"}
                      </Link>
                      <div className="small muted clip">{group.error?.message}</div>
                    </td>
                    <td className="number">{count(group.pending)}</td>
                    <td>
                      <Ago at={group.last_seen} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          )
        }
      </Loaded>
    </Card>
  );
}
