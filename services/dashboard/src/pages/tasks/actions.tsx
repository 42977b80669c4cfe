import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import type { Action, Filter } from "../../api/bulk";
import { cancelTask, each, retryTask } from "../../api/commands";
import { useMay } from "../../api/who";
import { useShortcuts } from "../../keys";
import { filters } from "../../search/grammar";
import { BulkDialog } from "../../ui/bulkDialog";
import { Dialog } from "../../ui/dialog";
import { plural } from "../../ui/format";
import { Button } from "../../ui/parts";
import { complain, say } from "../../ui/toast";
import type { Wish } from "./live";

type Deed = Extract<Action, "cancel" | "retry">;
const COMMANDS = { cancel: cancelTask, retry: retryTask };
const DONE = { cancel: "cancelled", retry: "retried" };

/** What can be done to the tasks that are selected, or to all that match. */
export function Actions({
  wish,
  selected,
  onDone,
}: {
  wish: Wish;
  selected: ReadonlySet<string>;
  onDone(): void;
}) {
  const may = useMay();
  const [bulk, setBulk] = useState<Deed | null>(null);
  const [asked, setAsked] = useState<Deed | null>(null);
  const begin = (deed: Deed) => selected.size > 0 && setAsked(deed);
  useShortcuts([
    { keys: "r", label: "Retry what is selected", deed: () => begin("retry") },
    { keys: "c", label: "Cancel what is selected", deed: () => begin("cancel") },
  ]);
  if (!may("operate")) return null;
  // What is not understood does not narrow: "all that match" would be more than was meant.
  const isFaulty = wish.search.faults.length > 0;
  return (
    <div className="row" role="group" aria-label="Actions">
      <span className="muted">{selected.size ? `${selected.size} selected` : "All that match:"}</span>
      {(["retry", "cancel"] as const).map((deed) => (
        <Button
          key={deed}
          size="small"
          disabled={!selected.size && isFaulty}
          onClick={() => (selected.size ? setAsked(deed) : setBulk(deed))}
        >
          {deed === "retry" ? "Retry" : "Cancel"}
          {selected.size ? "" : "…"}
        </Button>
      ))}
      {bulk && (
        <BulkDialog
          action={bulk}
          filter={filters(wish.search, wish.at) as Filter}
          said={wish.text ? `all tasks that match ${wish.text}` : "all tasks"}
          onClose={() => setBulk(null)}
        />
      )}
      {asked && <Confirm deed={asked} ids={[...selected]} onClose={() => setAsked(null)} onDone={onDone} />}
    </div>
  );
}

function Confirm(props: { deed: Deed; ids: string[]; onClose(): void; onDone(): void }) {
  const { deed, ids, onClose, onDone } = props;
  const client = useQueryClient();
  const act = async () => {
    onClose();
    const { done, refused } = await each(ids, COMMANDS[deed]);
    if (done) say(`${plural(done, "task")} ${DONE[deed]}`);
    if (refused.length) complain(refused[0]);
    onDone();
    void client.invalidateQueries({ queryKey: ["stats"] });
  };
  return (
    <Dialog
      title={`${deed === "cancel" ? "Cancel" : "Retry"} ${plural(ids.length, "task")}?`}
      onClose={onClose}
      onSubmit={() => void act()}
      close="Leave them"
      actions={
        <Button type="submit" kind={deed === "cancel" ? "danger" : "primary"} autoFocus>
          {deed === "cancel" ? "Cancel" : "Retry"} {ids.length}
        </Button>
      }
    >
      <p>
        {deed === "cancel"
          ? "They end at once; a handler that runs is stopped. Those that have ended stay as they are."
          : "Those that failed get a new life, those that wait for their time are due now."}
      </p>
    </Dialog>
  );
}
