import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useSearchParams } from "wouter";
import { api, body, type Schemas } from "../api/client";
import { useRefreshOnMoves } from "../live/useFeed";
import { Button, Card, Empty, PageHead, ShortId, Status } from "../ui/parts";
import { Loaded } from "../ui/query";
import { Ago } from "../ui/time";
import { Groups } from "./deadLetters/groups";

type LetterStatus = Schemas["DeadLetter"]["status"];

/** What was given up: by kind, and the letters of a kind. */
export default function DeadLetters() {
  const [params] = useSearchParams();
  const type = params.get("type");
  return (
    <>
      <PageHead title="Dead letters">
        <Link className="button" href="/operations">
          Operations
        </Link>
      </PageHead>
      <Groups />
      <Letters
        type={type ?? undefined}
        fingerprint={params.get("fingerprint") ?? undefined}
        status={(params.get("status") as LetterStatus | null) ?? undefined}
      />
    </>
  );
}

const PAGE_ROWS = 50;

function Letters(wish: { type?: string; fingerprint?: string; status?: LetterStatus }) {
  const { type, fingerprint, status } = wish;
  useRefreshOnMoves(["dead-letters", "list"], 1_000);
  const query = useInfiniteQuery({
    queryKey: ["dead-letters", "list", wish],
    queryFn: ({ pageParam }) =>
      body(
        api.GET("/api/v1/dead-letters", {
          params: {
            query: {
              type: type ? [type] : undefined,
              status: status ? [status] : undefined,
              fingerprint,
              limit: PAGE_ROWS,
              cursor: pageParam ?? undefined,
            },
          },
        }),
      ),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
  });
  const aside = (type || fingerprint || status) && <Link href="/dead-letters">All letters</Link>;
  return (
    <Card title={type ? `Letters of ${type}` : "Letters, newest first"} aside={aside || undefined} bare>
      <Loaded query={{ ...query, data: query.data?.pages.flatMap(({ items }) => items) }}>
        {(letters) =>
          letters.length === 0 ? (
            <Empty title="None" />
          ) : (
            <>
              <LetterTable letters={letters} />
              {query.hasNextPage && (
                <div className="row pager">
                  <Button
                    size="small"
                    disabled={query.isFetchingNextPage}
                    onClick={() => void query.fetchNextPage()}
                  >
                    Older
                  </Button>
                </div>
              )}
            </>
          )
        }
      </Loaded>
    </Card>
  );
}

function LetterTable({ letters }: { letters: Schemas["DeadLetter"][] }) {
  return (
    <table className="table">
      <thead>
        <tr>
          <th scope="col">Status</th>
          <th scope="col">Type</th>
          <th scope="col">Letter</th>
          <th scope="col">Reason</th>
          <th scope="col">Error</th>
          <th scope="col" className="number">
            Attempts
          </th>
          <th scope="col">When</th>
        </tr>
      </thead>
      <tbody>
        {letters.map((letter) => (
          <tr key={letter.id}>
            <td>
              <Status of={letter.status} />
            </td>
            <td>
              <Link href={`/dead-letters/${letter.id}`}>{letter.type}</Link>
            </td>
            <td>
              <ShortId id={letter.id} />
            </td>
            <td className="nowrap">{letter.reason.replaceAll("_", " ")}</td>
            <td className="wide">
              <span className="clip">
                {letter.error?.type}: {letter.error?.message}
              </span>
            </td>
            <td className="number">{letter.attempts}</td>
            <td>
              <Ago at={letter.created_at} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
