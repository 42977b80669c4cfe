import { useQuery } from "@tanstack/react-query";
import { type KeyboardEvent, useEffect, useId, useRef, useState } from "react";
import { queues, types } from "../../api/queries";
import { useShortcuts } from "../../keys";
import { parse } from "../../search/grammar";
import { type Known, suggestions, taken } from "../../search/suggest";
import { Button } from "../../ui/parts";

/** The search, with what could be meant below it. Enter searches; arrows and Tab take what is suggested. */
export function SearchBar({ text, onSearch }: { text: string; onSearch(text: string): void }) {
  const [written, setWritten] = useState(text);
  const [active, setActive] = useState(-1);
  const [isOpen, setOpen] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const id = useId();
  useEffect(() => setWritten(text), [text]);
  useShortcuts([
    { keys: "/", label: "Search", deed: () => input.current?.focus() },
    { keys: "f", label: "Search", deed: () => input.current?.focus() },
  ]);
  const known = useKnown();
  const offered = isOpen ? suggestions(written, known) : [];
  const take = (suggestion: string) => {
    setWritten(taken(written, suggestion));
    setActive(-1);
    input.current?.focus();
  };
  const search = () => {
    setOpen(false);
    setActive(-1);
    onSearch(written.trim());
  };
  const hear = (event: KeyboardEvent) => {
    const chosen = offered[active];
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      setOpen(true);
      const step = event.key === "ArrowDown" ? 1 : -1;
      setActive(offered.length ? (active + step + offered.length) % offered.length : -1);
    } else if (chosen !== undefined && (event.key === "Enter" || event.key === "Tab")) {
      event.preventDefault();
      take(chosen);
    } else if (event.key === "Enter") search();
    else if (event.key === "Escape") {
      if (isOpen && offered.length) setOpen(false);
      else input.current?.blur();
    }
  };
  const faults = parse(written).faults;
  return (
    <search className="search">
      <label className="hidden" htmlFor={id}>
        Search tasks
      </label>
      <input
        id={id}
        ref={input}
        type="search"
        role="combobox"
        aria-expanded={offered.length > 0}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={active >= 0 ? `${id}-${active}` : undefined}
        aria-invalid={faults.length > 0 || undefined}
        aria-describedby={faults.length ? `${id}-fault` : undefined}
        autoComplete="off"
        spellCheck={false}
        placeholder="type:echo status:failed age>10m tag:x, or an id"
        value={written}
        onChange={(event) => {
          setWritten(event.target.value);
          setOpen(true);
          setActive(-1);
        }}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={hear}
      />
      <Button kind="primary" onClick={search}>
        Search
      </Button>
      <div
        id={`${id}-list`}
        role="listbox"
        aria-label="Suggestions"
        className="suggestions"
        hidden={offered.length === 0}
      >
        {offered.map((suggestion, index) => (
          <div
            key={suggestion}
            id={`${id}-${index}`}
            role="option"
            tabIndex={-1}
            aria-selected={index === active}
            onMouseDown={(event) => event.preventDefault()}
            onClick={() => take(suggestion)}
          >
            {suggestion}
          </div>
        ))}
      </div>
      {faults.length > 0 && (
        <p id={`${id}-fault`} className="fault" role="status">
          {faults.join("; ")}
        </p>
      )}
    </search>
  );
}

function useKnown(): Known {
  const { data: declared } = useQuery(types());
  const { data: named } = useQuery(queues());
  return { type: declared?.map(({ name }) => name) ?? [], queue: named?.map(({ name }) => name) ?? [] };
}
