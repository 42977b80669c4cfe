import { useEffect, useRef, useState } from "react";
import type { HistoryEvent } from "../../live/history";
import { Check } from "../../ui/field";
import { Card, Copy } from "../../ui/parts";

const LEVELS = ["debug", "info", "warning", "error"];

/** What the handler said, as it says it. */
export function Logs({ events, isLive }: { events: HistoryEvent[]; isLive: boolean }) {
  const [least, setLeast] = useState("debug");
  const [follows, setFollows] = useState(true);
  const place = useRef<HTMLDivElement>(null);
  const lines = events.filter(({ event }) => event === "log");
  const shown = lines.filter(({ data }) => LEVELS.indexOf(String(data.level)) >= LEVELS.indexOf(least));
  // shown.length: a new line is scrolled to
  useEffect(() => {
    if (follows) place.current?.scrollTo({ top: place.current.scrollHeight });
  }, [follows, shown.length]);
  const text = lines.map(({ at, data }) => `${at} ${String(data.level)} ${String(data.message)}`).join("\n");
  const aside = (
    <>
      <select aria-label="Least level" value={least} onChange={(event) => setLeast(event.target.value)}>
        {LEVELS.map((level) => (
          <option key={level}>{level}</option>
        ))}
      </select>
      <Check label="Follow" checked={follows} onChange={setFollows} />
      <Copy text={text} what="the log" />
    </>
  );
  return (
    <Card title={`Log: ${lines.length}`} aside={lines.length ? aside : undefined}>
      {shown.length === 0 ? (
        <p className="muted">{isLive ? "Nothing yet." : "The handler said nothing."}</p>
      ) : (
        <div
          className="code log"
          ref={place}
          // tabIndex: what scrolls can be scrolled with the keyboard
          tabIndex={0}
          role="log"
          aria-label="Log of the handler"
          aria-live="off"
        >
          {shown.map(({ seq, at, data }) => (
            <div key={seq} data-level={String(data.level)}>
              <time dateTime={at}>{at.slice(11, 23)}</time> <b>{String(data.level)}</b> {String(data.message)}
            </div>
          ))}
        </div>
      )}
    </Card>
  );
}
