import { useState } from "react";
import { Link } from "wouter";
import { cancelTask, retryTask } from "../../api/commands";
import { useMay } from "../../api/who";
import { useShortcuts } from "../../keys";
import { LIVE_STATUSES } from "../../search/grammar";
import { useAct } from "../../ui/act";
import { Dialog } from "../../ui/dialog";
import { Button } from "../../ui/parts";
import type { Task } from "../task";

const RETRYABLE = ["failed", "cancelled", "expired", "scheduled", "retrying"];

/** Cancel, retry, and submit something like it. */
export function TaskActions({ task }: { task: Task }) {
  const may = useMay();
  const [isAsking, setAsking] = useState(false);
  const stale = [["task", task.id], ["stats"], ["dead-letters"]];
  const cancel = useAct(() => cancelTask(task.id), { stale, said: () => "The task is cancelled" });
  const retry = useAct(() => retryTask(task.id), { stale, said: () => "The task runs again" });
  const canCancel = may("operate") && LIVE_STATUSES.includes(task.status);
  const canRetry = may("operate") && RETRYABLE.includes(task.status);
  useShortcuts([
    { keys: "r", label: "Retry the task", deed: () => canRetry && retry.mutate() },
    { keys: "c", label: "Cancel the task", deed: () => canCancel && setAsking(true) },
  ]);
  return (
    <>
      {canRetry && (
        <Button kind="primary" disabled={retry.isPending} onClick={() => retry.mutate()}>
          {task.status === "scheduled" || task.status === "retrying" ? "Run now" : "Retry"}
        </Button>
      )}
      {canCancel && (
        <Button kind="danger" disabled={cancel.isPending} onClick={() => setAsking(true)}>
          Cancel
        </Button>
      )}
      {may("submit") && (
        <Link className="button" href={`/submit?from=${task.id}`}>
          Edit and resubmit
        </Link>
      )}
      {isAsking && (
        <Dialog
          title="Cancel this task?"
          close="Leave it"
          onClose={() => setAsking(false)}
          onSubmit={() => {
            setAsking(false);
            cancel.mutate();
          }}
          actions={
            <Button type="submit" kind="danger" autoFocus>
              Cancel the task
            </Button>
          }
        >
          <p>It ends at once; a handler that runs is stopped.</p>
        </Dialog>
      )}
    </>
  );
}
