import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { operations } from "../api/queries";
import { count } from "../ui/format";
import { Bar, Card, Empty, PageHead, Status } from "../ui/parts";
import { Loaded } from "../ui/query";
import { Ago } from "../ui/time";

/** What was done to many at once, the newest first. */
export default function Operations() {
  const query = useQuery(operations());
  return (
    <>
      <PageHead title="Operations" about="What was done to many tasks or dead letters at once" />
      <Card bare>
        <Loaded query={query}>
          {({ items }) =>
            items.length === 0 ? (
              <Empty title="No operation yet">
                They begin with “Replay…” at <Link href="/dead-letters">dead letters</Link>, or “Cancel…” and
                “Retry…” at <Link href="/tasks">tasks</Link>.
              </Empty>
            ) : (
              <table className="table">
                <thead>
                  <tr>
                    <th scope="col">Status</th>
                    <th scope="col">Operation</th>
                    <th scope="col">Progress</th>
                    <th scope="col" className="number">
                      Done
                    </th>
                    <th scope="col">By</th>
                    <th scope="col">Begun</th>
                  </tr>
                </thead>
                <tbody>
                  {items.map((one) => {
                    const told = one.done + one.skipped + one.failed;
                    return (
                      <tr key={one.id}>
                        <td>
                          <Status of={one.status} />
                        </td>
                        <td className="wide">
                          <Link href={`/operations/${one.id}`}>{one.action}</Link>{" "}
                          <span className="muted small">{one.reason}</span>
                        </td>
                        <td className="bar-cell">
                          <Bar done={told} of={one.matched} label={`progress of ${one.action}`} />
                        </td>
                        <td className="number">
                          {count(told)} of {count(one.matched)}
                        </td>
                        <td>{one.created_by}</td>
                        <td>
                          <Ago at={one.created_at} />
                        </td>
                      </tr>
                    );
                  })}
                </tbody>
              </table>
            )
          }
        </Loaded>
      </Card>
    </>
  );
}
