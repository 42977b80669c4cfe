import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { Link, useLocation, useSearchParams } from "wouter";
import { stats } from "../api/queries";
import { useMay } from "../api/who";
import { useShortcuts } from "../keys";
import { parse, STATUSES, withField } from "../search/grammar";
import { count, plural } from "../ui/format";
import { Button, Card, Empty, Note, PageHead } from "../ui/parts";
import { Loaded } from "../ui/query";
import { Moment } from "../ui/time";
import { Actions } from "./tasks/actions";
import { type Page, useNews, usePage } from "./tasks/live";
import { SearchBar } from "./tasks/searchBar";
import { TaskTable } from "./tasks/table";

/** Every task there is, by a search that stands in the URL. */
export default function Tasks() {
  const wish = useWish();
  const [, go] = useLocation();
  const { text, search } = wish;
  useEffect(() => {
    if (search.id) go(`/tasks/${search.id}`, { replace: true });
  }, [search.id, go]);
  const query = usePage(wish);
  const news = useNews(wish, query.data);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  // Of another search or page: nothing is done to what is not seen.
  useEffect(() => setSelected(new Set()), [text, wish.cursor]);
  const lookAgain = () => {
    setSelected(new Set());
    wish.reset();
    void query.refetch();
  };
  useShortcuts([{ keys: ".", label: "Show what is new", deed: lookAgain }]);
  return (
    <>
      <PageHead title="Tasks">
        <SubmitLink />
      </PageHead>
      <SearchBar text={text} onSearch={(next) => go(hrefOf(next))} />
      <StatusTabs text={text} />
      <Actions wish={wish} selected={selected} onDone={() => setSelected(new Set())} />
      <Card bare>
        {news.count > 0 && (
          <div className="news">
            <Button size="small" kind="primary" onClick={lookAgain}>
              {plural(news.count, `new task`)}
              {news.isMore ? " and more" : ""}
            </Button>
          </div>
        )}
        {search.faults.length > 0 ? (
          <Empty title="This search is not understood">
            {search.faults.join("; ")}
            <Link href="/tasks">Clear the search</Link>
          </Empty>
        ) : (
          <Loaded query={query}>
            {(page) => (
              <>
                <Partial page={page} />
                {page.items.length > 0 ? (
                  <TaskTable rows={page.items} selected={selected} onSelect={setSelected} />
                ) : (
                  !page.searched_until && <Nothing text={text} />
                )}
                <Pager page={page} wish={wish} />
              </>
            )}
          </Loaded>
        )}
      </Card>
    </>
  );
}

/** What the URL asks for. Ages count from when the search was begun, so that its pages fit together. */
function useWish() {
  const [params] = useSearchParams();
  const text = params.get("q") ?? "";
  const cursor = params.get("cursor") ?? undefined;
  const given = Number(params.get("at")) || null;
  const [begun, setBegun] = useState(() => Date.now());
  const search = useMemo(() => parse(text), [text]);
  return { text, search, cursor, at: given ?? begun, reset: () => setBegun(Date.now()) };
}

type SearchWish = ReturnType<typeof useWish>;

export function hrefOf(text: string, more: Record<string, string> = {}): string {
  const query = new URLSearchParams({ ...(text ? { q: text } : {}), ...more }).toString();
  return query ? `/tasks?${query}` : "/tasks";
}

function SubmitLink() {
  const may = useMay();
  if (!may("submit")) return null;
  return (
    <Link className="button" data-kind="primary" href="/submit">
      Submit a task
    </Link>
  );
}

function StatusTabs({ text }: { text: string }) {
  const { data } = useQuery(stats());
  const chosen = parse(text).status;
  // `by_status` also tells what was accepted and pruned.
  const total = STATUSES.reduce((sum, status) => sum + (data?.by_status[status] ?? 0), 0);
  return (
    <nav className="tabs" aria-label="By status">
      <Link href={hrefOf(withField(text, "status", []))} aria-current={chosen.length === 0 || undefined}>
        All <span className="count">{data && count(total)}</span>
      </Link>
      {STATUSES.map((status) => (
        <Link
          key={status}
          href={hrefOf(withField(text, "status", [status]))}
          aria-current={(chosen.length === 1 && chosen[0] === status) || undefined}
        >
          {status} <span className="count">{data && count(data.by_status[status] ?? 0)}</span>
        </Link>
      ))}
    </nav>
  );
}

/** A search that was broken off after its time: what was not looked at is said, and looked at on demand. */
function Partial({ page }: { page: Page }) {
  const { searched_until: until, items } = page;
  if (!until) return null;
  return (
    <Note tone="warn">
      <span>
        Only part of the tasks was looked at: those made after <Moment at={until} />.
        {items.length === 0 && " None of them matches."} Narrow the search, or go on with older ones below.
      </span>
    </Note>
  );
}

function Nothing({ text }: { text: string }) {
  if (text) {
    return (
      <Empty title="No task matches">
        <Link href="/tasks">Clear the search</Link>
      </Empty>
    );
  }
  return (
    <Empty title="No tasks yet">
      <code>taskflow submit demo '{"{}"}'</code>
      <Link href="/submit">Submit the first one here</Link>
    </Empty>
  );
}

function Pager({ page, wish }: { page: Page; wish: SearchWish }) {
  const { text, cursor, at } = wish;
  return (
    <div className="row pager">
      <span className="muted small">{plural(page.items.length, "task")} on this page</span>
      {cursor && (
        <Link className="button" data-size="small" href={hrefOf(text)}>
          Newest
        </Link>
      )}
      {page.next_cursor && (
        <Link
          className="button"
          data-size="small"
          href={hrefOf(text, { at: String(at), cursor: page.next_cursor })}
        >
          Older
        </Link>
      )}
    </div>
  );
}
