import { expect, it } from "vitest";
import { forget, type HistoryEvent } from "./history";

it("lets go of what a task said, the oldest first, and of none of its moves", () => {
  const said = ["task", "log", "task", "progress", "log", "log"] as const;
  const known = new Map(said.map((event, seq) => [seq, { seq, event } as HistoryEvent]));
  forget(known, 4);
  expect([...known.keys()]).toEqual([0, 2, 4, 5]);
  forget(known, 1);
  expect([...known.keys()]).toEqual([0, 2]);
});
