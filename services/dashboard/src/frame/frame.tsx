import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { profile, stats } from "../api/queries";
import { keepSession, session } from "../api/session";
import { type Scope, useMay } from "../api/who";
import { useShortcuts } from "../keys";
import { useFreshness } from "../live/freshness";
import mark from "../mark.svg";
import { useFeedOpen, useRefreshOnMoves } from "../live/useFeed";
import { nextTheme, useTheme } from "../theme";
import { count, duration } from "../ui/format";
import { Icon, type IconName } from "../ui/icons";
import { Button } from "../ui/parts";
import { useNow } from "../ui/time";
import { Help } from "./help";

interface Place {
  href: string;
  label: string;
  icon: IconName;
  key: string;
  scope?: Scope;
}

const PLACES: Place[] = [
  { href: "/", label: "Overview", icon: "overview", key: "o" },
  { href: "/tasks", label: "Tasks", icon: "tasks", key: "t" },
  { href: "/submit", label: "Submit", icon: "submit", key: "n", scope: "submit" },
  { href: "/queues", label: "Queues", icon: "queues", key: "q" },
  { href: "/workers", label: "Workers", icon: "workers", key: "w", scope: "admin" },
  { href: "/dead-letters", label: "Dead letters", icon: "dead", key: "d" },
  { href: "/operations", label: "Operations", icon: "retrying", key: "b" },
  { href: "/webhooks", label: "Webhooks", icon: "webhooks", key: "h" },
  { href: "/access", label: "Access", icon: "access", key: "a" },
  { href: "/system", label: "System", icon: "system", key: "s", scope: "admin" },
];

/** What stands around every screen: where one can go, who one is, and whether what is shown is live. */
export function Frame({ children }: { children: ReactNode }) {
  const [location, go] = useLocation();
  const [isHelping, setHelping] = useState(false);
  const may = useMay();
  const places = PLACES.filter(({ scope }) => !scope || may(scope));
  const main = useRef<HTMLElement>(null);
  useShortcuts([
    ...places.map(({ href, label, key }) => ({ keys: `g ${key}`, label, deed: () => go(href) })),
    { keys: "n", label: "Submit a task", deed: () => go("/submit") },
    { keys: "t", label: "Light, dark, as the system", deed: nextTheme },
    { keys: "?", label: "This list", deed: () => setHelping(true) },
  ]);
  useTitle(location);
  const first = useRef(true);
  // location: a new screen begins at its top, for the keyboard too
  useEffect(() => {
    if (!first.current) {
      main.current?.focus();
      window.scrollTo(0, 0);
    }
    first.current = false;
  }, [location]);
  return (
    <div className="frame">
      <a className="skip" href="#main">
        To the content
      </a>
      <header className="side">
        <Link className="brand" href="/">
          <img src={mark} alt="" />
          TaskFlow
        </Link>
        <Navigation places={places} location={location} />
        <Foot onHelp={() => setHelping(true)} />
      </header>
      <div className="main">
        <Banner />
        <main id="main" className="page" ref={main} tabIndex={-1}>
          {children}
        </main>
      </div>
      {isHelping && <Help onClose={() => setHelping(false)} />}
    </div>
  );
}

function useTitle(location: string): void {
  useEffect(() => {
    const place = PLACES.findLast(
      ({ href }) => href === location || (href !== "/" && location.startsWith(href)),
    );
    document.title = place ? `${place.label} · TaskFlow` : "TaskFlow";
  }, [location]);
}

/** A little more than the API keeps its figures for. */
const STATS_MS = 2_200;

function Navigation({ places, location }: { places: Place[]; location: string }) {
  useRefreshOnMoves(["stats"], STATS_MS);
  const { data } = useQuery(stats());
  const failed = data?.by_status.failed ?? 0;
  return (
    <nav className="nav" aria-label="Screens">
      {places.map(({ href, label, icon }) => {
        const isHere = href === "/" ? location === "/" : location.startsWith(href);
        return (
          <Link key={href} href={href} aria-current={isHere ? "page" : undefined}>
            <Icon name={icon} />
            {label}
            {href === "/tasks" && data && <span className="count">{count(data.by_status.running ?? 0)}</span>}
            {href === "/dead-letters" && failed > 0 && <span className="count">{count(failed)}</span>}
          </Link>
        );
      })}
    </nav>
  );
}

function Foot({ onHelp }: { onHelp(): void }) {
  const isOpen = useFeedOpen();
  const { data } = useQuery(profile());
  const chosen = useTheme();
  return (
    <div className="side-foot">
      <span className="live" data-open={isOpen} role="status">
        <i />
        {isOpen ? "Live" : "Not live"}
      </span>
      <span>{data?.username ?? data?.email ?? "Signed in"}</span>
      <div className="row">
        <Button size="small" onClick={nextTheme} aria-label={`Theme: ${chosen}`}>
          <Icon name="theme" />
        </Button>
        <Button size="small" onClick={onHelp} aria-label="Keyboard shortcuts">
          <Icon name="keyboard" />
        </Button>
        <a className="button" data-size="small" href="/docs">
          API
        </a>
        {session() && (
          <Button size="small" onClick={signOut}>
            Sign out
          </Button>
        )}
      </div>
    </div>
  );
}

async function signOut() {
  const held = session();
  keepSession(null);
  if (!held?.refreshToken) return;
  await fetch("/api/v1/auth/logout", {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${held.token}` },
    body: JSON.stringify({ refresh_token: held.refreshToken }),
  }).catch(() => undefined); // forgotten here all the same; there it ends by itself
}

function Banner() {
  const { away, since } = useFreshness();
  const now = useNow();
  if (!away) return null;
  const seconds = Math.max(0, (Math.max(now, Date.now()) - since) / 1000);
  return (
    <div className="banner" role="alert">
      <Icon name="warn" />
      <span>
        The API cannot be reached. What you see is <b>{duration(Math.floor(seconds))}</b> old; this page comes
        back by itself.
      </span>
    </div>
  );
}
