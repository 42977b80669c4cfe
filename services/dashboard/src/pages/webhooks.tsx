import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, body, type Schemas } from "../api/client";
import { useRefreshOnMoves } from "../live/useFeed";
import { Card, Empty, PageHead, Status } from "../ui/parts";
import { Loaded } from "../ui/query";
import { Ago } from "../ui/time";
import { DeliveryTable } from "./webhooks/deliveryTable";
import { Secrets } from "./webhooks/secrets";

type DeliveryStatus = Schemas["Delivery"]["status"];

/** Who is told what, and whether it arrives. */
export default function Webhooks() {
  useRefreshOnMoves(["webhooks"], 1_000);
  return (
    <>
      <PageHead title="Webhooks" />
      <Endpoints />
      <Deliveries />
      <Secrets />
    </>
  );
}

const REFRESH_MS = 5_000;

function Endpoints() {
  const query = useQuery({
    queryKey: ["webhooks", "endpoints"],
    queryFn: () => body(api.GET("/api/v1/webhook-endpoints", { params: { query: { limit: 100 } } })),
    refetchInterval: REFRESH_MS,
  });
  return (
    <Card title="Endpoints" bare>
      <Loaded query={query}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty title="No webhook has been sent">
              A task asks for them by its <code>callback</code>.
            </Empty>
          ) : (
            <table className="table">
              <thead>
                <tr>
                  <th scope="col">State</th>
                  <th scope="col">URL</th>
                  <th scope="col" className="number">
                    Failures in a row
                  </th>
                  <th scope="col">Last delivered</th>
                  <th scope="col">Last error</th>
                </tr>
              </thead>
              <tbody>
                {items.map((one) => (
                  <tr key={`${one.owner_id} ${one.url}`}>
                    <td>
                      <Status of={one.state} />
                    </td>
                    <td className="wide">{one.url}</td>
                    <td className="number">{one.failures}</td>
                    <td>
                      <Ago at={one.delivered_at} />
                    </td>
                    <td className="wide">{one.error ?? "–"}</td>
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

function Deliveries() {
  const [status, setStatus] = useState<DeliveryStatus | "">("");
  const query = useQuery({
    queryKey: ["webhooks", "deliveries", status],
    queryFn: () =>
      body(
        api.GET("/api/v1/webhook-deliveries", {
          params: { query: { status: status ? [status] : undefined, limit: 50 } },
        }),
      ),
    refetchInterval: REFRESH_MS,
  });
  const aside = (
    <select
      aria-label="Deliveries by status"
      value={status}
      onChange={({ target }) => setStatus(target.value as DeliveryStatus)}
    >
      <option value="">any status</option>
      <option>pending</option>
      <option>delivered</option>
      <option>failed</option>
    </select>
  );
  return (
    <Card title="Deliveries, newest first" aside={aside} bare>
      <Loaded query={query}>
        {({ items }) =>
          items.length ? (
            <DeliveryTable deliveries={items} stale={[["webhooks"]]} withTask />
          ) : (
            <Empty title="None" />
          )
        }
      </Loaded>
    </Card>
  );
}
