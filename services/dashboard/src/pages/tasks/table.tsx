import { useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { useShortcuts } from "../../keys";
import { between, duration } from "../../ui/format";
import { ShortId, Status, Tag } from "../../ui/parts";
import { Ago } from "../../ui/time";
import type { Row } from "./live";

interface Props {
  rows: Row[];
  selected: ReadonlySet<string>;
  onSelect(selected: ReadonlySet<string>): void;
}

/** Tasks, a line each. j and k go up and down, x selects, Enter opens. */
export function TaskTable({ rows, selected, onSelect }: Props) {
  const cursor = useCursor(rows, (id) => onSelect(toggled(selected, id)));
  const isAll = rows.length > 0 && rows.every(({ id }) => selected.has(id));
  return (
    <table className="table tasks">
      <thead>
        <tr>
          <th scope="col">
            <input
              type="checkbox"
              aria-label="Select all tasks of this page"
              checked={isAll}
              onChange={() => onSelect(isAll ? new Set() : new Set(rows.map(({ id }) => id)))}
            />
          </th>
          <th scope="col">Status</th>
          <th scope="col">Type</th>
          <th scope="col">Task</th>
          <th scope="col">Queue</th>
          <th scope="col" className="number">
            Attempt
          </th>
          <th scope="col">Created</th>
          <th scope="col" className="number">
            Ran
          </th>
          <th scope="col">What</th>
        </tr>
      </thead>
      <tbody ref={cursor.body}>
        {rows.map((row, index) => (
          <tr key={row.id} aria-selected={selected.has(row.id)} data-cursor={index === cursor.at}>
            <td>
              <input
                type="checkbox"
                aria-label={`Select task ${row.id}`}
                checked={selected.has(row.id)}
                onChange={() => onSelect(toggled(selected, row.id))}
              />
            </td>
            <td>
              <Status of={row.status} />
            </td>
            <td className="type">
              <Link href={`/tasks/${row.id}`}>{row.type}</Link>
            </td>
            <td>
              <ShortId id={row.id} />
            </td>
            <td className="nowrap">
              {row.queue}
              {row.priority !== "normal" && <span className="chip">{row.priority}</span>}
            </td>
            <td className="number">
              {row.attempt}/{row.max_attempts}
            </td>
            <td className="nowrap">
              <Ago at={row.created_at} />
            </td>
            <td className="number nowrap">{ran(row)}</td>
            <td className="wide">
              <What row={row} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function ran(row: Row): string {
  const seconds = between(row.started_at, row.finished_at);
  return seconds === null ? "–" : duration(seconds);
}

function What({ row }: { row: Row }) {
  const told =
    row.status === "running" && row.progress
      ? [
          row.progress.fraction === null ? null : `${Math.round((row.progress.fraction ?? 0) * 100)} %`,
          row.progress.message,
        ]
          .filter(Boolean)
          .join(" ")
      : row.error
        ? `${row.error.type}: ${row.error.message}`
        : row.waiting_for
          ? `waits for ${row.waiting_for.replaceAll("_", " ")}`
          : (row.name ?? "");
  return (
    <>
      <span className="clip small muted">{told}</span>
      {row.tags.map((tag) => (
        <Tag key={tag} name={tag} />
      ))}
    </>
  );
}

function toggled(selected: ReadonlySet<string>, id: string): ReadonlySet<string> {
  const next = new Set(selected);
  if (!next.delete(id)) next.add(id);
  return next;
}

/** The row that keys act on. */
function useCursor(rows: Row[], onToggle: (id: string) => void) {
  const [at, setAt] = useState(-1);
  const [, go] = useLocation();
  const body = useRef<HTMLTableSectionElement>(null);
  const move = (step: number) => {
    const next = Math.max(0, Math.min(rows.length - 1, at + step));
    setAt(next);
    body.current?.children[next]?.scrollIntoView({ block: "nearest" });
  };
  const current = rows[at];
  useShortcuts([
    { keys: "j", label: "Next row", deed: () => move(1) },
    { keys: "k", label: "Row before", deed: () => move(-1) },
    { keys: "x", label: "Select the row", deed: () => current && onToggle(current.id) },
    { keys: "Enter", label: "Open the row", deed: () => current && go(`/tasks/${current.id}`) },
  ]);
  return { at, body };
}
