/** The small parts that every screen is made of. */

import { type ButtonHTMLAttributes, type ReactNode, useEffect, useId, useRef, useState } from "react";
import { Link } from "wouter";
import { Icon, type IconName } from "./icons";

type Tone = "good" | "bad" | "warn" | "busy" | "violet" | "calm";

interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  kind?: "primary" | "danger" | "plain";
  size?: "small";
}

export function Button({ kind, size, ...rest }: ButtonProps) {
  return <button type="button" {...rest} className="button" data-kind={kind} data-size={size} />;
}

export function Card(props: { title?: ReactNode; aside?: ReactNode; children: ReactNode; bare?: boolean }) {
  const id = useId();
  return (
    <section className="card" aria-labelledby={props.title ? id : undefined}>
      {props.title && (
        <div className="card-head">
          <h2 id={id}>{props.title}</h2>
          {props.aside && <div className="row">{props.aside}</div>}
        </div>
      )}
      {props.bare ? <Wide>{props.children}</Wide> : <div className="card-body">{props.children}</div>}
    </section>
  );
}

/** What may be wider than the screen scrolls by itself, and then with the keyboard too. */
export function Wide({ children }: { children: ReactNode }) {
  const place = useRef<HTMLDivElement>(null);
  const [isWider, setWider] = useState(false);
  useEffect(() => {
    const shown = place.current;
    if (!shown) return undefined;
    const watch = new ResizeObserver(() => setWider(shown.scrollWidth > shown.clientWidth));
    watch.observe(shown);
    for (const child of shown.children) watch.observe(child);
    return () => watch.disconnect();
  });
  return (
    <div className="table-wrap" ref={place} tabIndex={isWider ? 0 : undefined}>
      {children}
    </div>
  );
}

const TONES: Record<string, [Tone, IconName]> = {
  scheduled: ["calm", "scheduled"],
  queued: ["violet", "queued"],
  running: ["busy", "running"],
  retrying: ["warn", "retrying"],
  completed: ["good", "completed"],
  failed: ["bad", "failed"],
  cancelled: ["calm", "cancelled"],
  expired: ["calm", "expired"],
  started: ["busy", "running"],
  succeeded: ["good", "completed"],
  timed_out: ["bad", "expired"],
  lost: ["bad", "warn"],
  released: ["calm", "retrying"],
  live: ["good", "completed"],
  draining: ["warn", "pause"],
  gone: ["calm", "cancelled"],
  pending: ["warn", "scheduled"],
  replayed: ["good", "retrying"],
  discarded: ["calm", "cancelled"],
  delivered: ["good", "completed"],
  active: ["good", "completed"],
  slowed: ["warn", "warn"],
  paused: ["warn", "pause"],
  stopped: ["calm", "cancelled"],
  done: ["good", "completed"],
  revoked: ["calm", "cancelled"],
  disabled: ["calm", "cancelled"],
  deleted: ["calm", "cancelled"],
  ending: ["warn", "expired"],
};

/** A state, by icon, word and colour. */
export function Status({ of }: { of: string }) {
  const [tone, icon] = TONES[of] ?? ["calm", "queued"];
  return (
    <span className="status" data-tone={tone}>
      <Icon name={icon} />
      {of.replaceAll("_", " ")}
    </span>
  );
}

export function Note({ tone, children }: { tone?: Tone; children: ReactNode }) {
  return (
    <div className="note" data-tone={tone} role={tone === "bad" ? "alert" : undefined}>
      {children}
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <strong>{title}</strong>
      {children}
    </div>
  );
}

export function Copy({ text, what }: { text: string; what: string }) {
  const [became, setBecame] = useState<"copied" | "refused" | null>(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text); // over plain http from another machine there is none
      setBecame("copied");
    } catch {
      setBecame("refused");
    }
    setTimeout(() => setBecame(null), 1_500);
  };
  const said = { copied: "copied", refused: `this browser does not copy here: select ${what} by hand` };
  const label = became ? said[became] : `copy ${what}`;
  return (
    <button type="button" className="copy" onClick={copy} aria-label={label} title={label}>
      <Icon name={became === "copied" ? "completed" : became === "refused" ? "warn" : "copy"} />
    </button>
  );
}

export function Code({ text, label }: { text: string; label: string }) {
  return (
    // tabIndex: what scrolls can be scrolled with the keyboard
    <pre className="code" tabIndex={0} aria-label={label} role="region">
      {text}
    </pre>
  );
}

/** What is known, by its name; null: it is not known, or there is none. */
export function Facts({ of }: { of: Record<string, ReactNode> }) {
  return (
    <dl className="facts">
      {Object.entries(of).map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value ?? <span className="muted">–</span>}</dd>
        </div>
      ))}
    </dl>
  );
}

/** How far something is; `label` says what. */
export function Bar({ done, of, label, tone }: { done: number; of: number; label: string; tone?: Tone }) {
  const share = of > 0 ? Math.min(100, (100 * done) / of) : 0;
  return (
    <div
      className="bar"
      role="progressbar"
      aria-label={label}
      aria-valuenow={Math.round(share)}
      aria-valuemin={0}
      aria-valuemax={100}
    >
      <i data-tone={tone} style={{ width: `${share}%` }} />
    </div>
  );
}

export function ShortId({ id, href }: { id: string; href?: string }) {
  const told = <span className="mono">{`${id.slice(0, 8)}…${id.slice(-6)}`}</span>;
  return (
    <span className="nowrap" title={id}>
      {href ? <Link href={href}>{told}</Link> : told}
      <Copy text={id} what={`id ${id}`} />
    </span>
  );
}

export function Tag({ name }: { name: string }) {
  return (
    <Link className="chip" href={`/tasks?q=${encodeURIComponent(`tag:${JSON.stringify(name)}`)}`}>
      {name}
    </Link>
  );
}

export function PageHead(props: { title: string; children?: ReactNode; about?: ReactNode }) {
  return (
    <div className="page-head">
      <div>
        <h1>{props.title}</h1>
        {props.about && <p className="small">{props.about}</p>}
      </div>
      {props.children && <div className="row actions">{props.children}</div>}
    </div>
  );
}
