import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, body } from "../../api/client";
import { useMay } from "../../api/who";
import { useAct } from "../../ui/act";
import { Button, Card, Empty, ShortId, Status } from "../../ui/parts";
import { Loaded } from "../../ui/query";
import { ShownOnce } from "../../ui/shownOnce";
import { Ago } from "../../ui/time";

const KEY = ["webhooks", "secrets"];

/** What one's own webhooks and pushes are signed with. */
export function Secrets() {
  const may = useMay();
  const [made, setMade] = useState<string | null>(null);
  const query = useQuery({ queryKey: KEY, queryFn: () => body(api.GET("/api/v1/signing-secrets")) });
  const make = useAct(() => body(api.POST("/api/v1/signing-secrets", { body: {} })), {
    stale: [KEY],
    onDone: ({ secret }) => setMade(secret),
  });
  const end = useAct(
    (secret_id: string) =>
      body(api.DELETE("/api/v1/signing-secrets/{secret_id}", { params: { path: { secret_id } } })),
    { stale: [KEY], said: () => "The secret is over" },
  );
  const aside = may("operate") && (
    <Button size="small" disabled={make.isPending} onClick={() => make.mutate()}>
      Make a new one
    </Button>
  );
  return (
    <Card title="Signing secrets" aside={aside} bare>
      <Loaded query={query}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty title="None yet" />
          ) : (
            <table className="table">
              <thead>
                <tr>
                  <th scope="col">Status</th>
                  <th scope="col">Id</th>
                  <th scope="col">Made</th>
                  <th scope="col">Ends</th>
                  <th scope="col">
                    <span className="hidden">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {items.map((one) => (
                  <tr key={one.id}>
                    <td>
                      <Status of={one.status} />
                    </td>
                    <td>
                      <ShortId id={one.id} />
                    </td>
                    <td>
                      <Ago at={one.created_at} />
                    </td>
                    <td>
                      <Ago at={one.expires_at} />
                    </td>
                    <td>
                      {one.status === "ending" && may("operate") && (
                        <Button
                          size="small"
                          onClick={() => end.mutate(one.id)}
                          aria-label={`End secret ${one.id}`}
                        >
                          End now
                        </Button>
                      )}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          )
        }
      </Loaded>
      {made && <ShownOnce what="signing secret" secret={made} onClose={() => setMade(null)} />}
    </Card>
  );
}
