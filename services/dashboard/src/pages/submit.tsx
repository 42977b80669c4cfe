import { useQuery } from "@tanstack/react-query";
import { useSearchParams } from "wouter";
import { task, types } from "../api/queries";
import { PageHead } from "../ui/parts";
import { Loaded } from "../ui/query";
import { type Draft, draftOf, EMPTY } from "./submit/draft";
import { SubmitForm } from "./submit/form";

/** A new task, or one like another (`?from=<id>`). */
export default function Submit() {
  const [params] = useSearchParams();
  const from = params.get("from");
  return (
    <>
      <PageHead
        title={from ? "Edit and resubmit" : "Submit a task"}
        about={from && `A new task like ${from}`}
      />
      {from ? <Like id={from} /> : <Prepared draft={{ ...EMPTY, type: params.get("type") ?? "" }} />}
    </>
  );
}

function Like({ id }: { id: string }) {
  const query = useQuery({ ...task(id), refetchOnWindowFocus: false, staleTime: Number.POSITIVE_INFINITY });
  return <Loaded query={query}>{(text) => <Prepared draft={draftOf(text)} />}</Loaded>;
}

function Prepared({ draft }: { draft: Draft }) {
  const query = useQuery(types());
  return <Loaded query={query}>{(declared) => <SubmitForm begin={draft} types={declared} />}</Loaded>;
}
