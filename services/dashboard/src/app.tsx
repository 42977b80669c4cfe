import { QueryClientProvider, useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useEffect } from "react";
import { Redirect, Route, Switch } from "wouter";
import { Problem } from "./api/problem";
import { profile, queryClient } from "./api/queries";
import { onSession } from "./api/session";
import { Frame } from "./frame/frame";
import { listenToKeys } from "./keys";
import { feed } from "./live/feed";
import { isAway, onFreshness } from "./live/freshness";
import { SignIn } from "./pages/signIn";
import { Empty } from "./ui/parts";
import { Toasts } from "./ui/toast";

const Overview = lazy(() => import("./pages/overview"));
const Tasks = lazy(() => import("./pages/tasks"));
const Task = lazy(() => import("./pages/task"));
const Submit = lazy(() => import("./pages/submit"));
const Queues = lazy(() => import("./pages/queues"));
const Workers = lazy(() => import("./pages/workers"));
const DeadLetters = lazy(() => import("./pages/deadLetters"));
const DeadLetter = lazy(() => import("./pages/deadLetter"));
const Operations = lazy(() => import("./pages/operations"));
const Operation = lazy(() => import("./pages/operation"));
const Webhooks = lazy(() => import("./pages/webhooks"));
const Access = lazy(() => import("./pages/access"));
const System = lazy(() => import("./pages/system"));

export function App() {
  useEffect(listenToKeys, []);
  return (
    <QueryClientProvider client={queryClient}>
      <Gate />
      <Toasts />
    </QueryClientProvider>
  );
}

/** Nobody sees a screen before it is known who he is: an API that asks for credentials asks here. */
function Gate() {
  const who = useQuery(profile());
  useEffect(() => onSession(() => void queryClient.resetQueries()), []);
  if (who.data) return <SignedIn />;
  if (who.error instanceof Problem && who.error.status === 401) return <SignIn />;
  return (
    <main className="page">
      <Empty title={who.error ? "The API cannot be reached" : "TaskFlow"}>
        {who.error ? "This page comes back by itself." : "Loading…"}
        <Reload failed={who.error !== null} again={() => void who.refetch()} />
      </Empty>
    </main>
  );
}

const AGAIN_MS = 2_000;

function Reload({ failed, again }: { failed: boolean; again(): void }) {
  useEffect(() => {
    if (!failed) return undefined;
    const timer = setInterval(again, AGAIN_MS);
    return () => clearInterval(timer);
  }, [failed, again]);
  return null;
}

function SignedIn() {
  useEffect(() => feed.start(), []);
  // Whatever was missed while the API was away, or the feed had a gap: all that is shown is read again.
  useEffect(() => feed.listen(({ again }) => void (again && queryClient.invalidateQueries())), []);
  useEffect(() => onFreshness(() => void (!isAway() && queryClient.invalidateQueries())), []);
  return (
    <Frame>
      <Suspense fallback={<div className="empty">Loading…</div>}>
        <Switch>
          <Route path="/" component={Overview} />
          <Route path="/tasks" component={Tasks} />
          <Route path="/tasks/:id">{({ id }) => <Task key={id} id={id} />}</Route>
          <Route path="/submit" component={Submit} />
          <Route path="/queues" component={Queues} />
          <Route path="/workers" component={Workers} />
          <Route path="/dead-letters" component={DeadLetters} />
          <Route path="/dead-letters/:id">{({ id }) => <DeadLetter key={id} id={id} />}</Route>
          <Route path="/operations" component={Operations} />
          <Route path="/operations/:id">{({ id }) => <Operation key={id} id={id} />}</Route>
          <Route path="/webhooks" component={Webhooks} />
          <Route path="/access" component={Access} />
          <Route path="/system" component={System} />
          <Route path="/sign-in">
            <Redirect to="/" replace />
          </Route>
          <Route>
            <Empty title="There is no such screen">
              <a href="/">Overview</a>
            </Empty>
          </Route>
        </Switch>
      </Suspense>
    </Frame>
  );
}
