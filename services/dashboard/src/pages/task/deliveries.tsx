import { useQuery } from "@tanstack/react-query";
import { api, body } from "../../api/client";
import { useMay } from "../../api/who";
import { useAct } from "../../ui/act";
import { Button, Card, Empty } from "../../ui/parts";
import { Loaded } from "../../ui/query";
import { DeliveryTable } from "../webhooks/deliveryTable";

/** The webhooks of a task. */
export function Deliveries({ id, version }: { id: string; version: number }) {
  const may = useMay();
  const key = ["task", id, "deliveries"];
  const query = useQuery({
    queryKey: [...key, version],
    queryFn: () =>
      body(
        api.GET("/api/v1/tasks/{task_id}/webhook-deliveries", {
          params: { path: { task_id: id }, query: { limit: 50 } },
        }),
      ),
    refetchInterval: 3_000,
  });
  const send = useAct(
    () =>
      body(
        api.POST("/api/v1/tasks/{task_id}/webhook-deliveries", {
          params: { path: { task_id: id } },
          body: {},
        }),
      ),
    { stale: [key], said: () => "The webhook is on its way" },
  );
  const aside = may("operate") && (
    <Button size="small" onClick={() => send.mutate()}>
      Send one now
    </Button>
  );
  return (
    <Card title="Webhook deliveries" aside={aside} bare>
      <Loaded query={query}>
        {({ items }) =>
          items.length ? (
            <DeliveryTable deliveries={items} stale={[key]} />
          ) : (
            <Empty title="None was sent yet" />
          )
        }
      </Loaded>
    </Card>
  );
}
