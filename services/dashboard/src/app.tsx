import { QueryClientProvider, useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useEffect } from "react";
import { Redirect, Route, Switch, useLocation } from "wouter";
import { Problem } from "./api/problem";
import { profile, queryClient } from "./api/queries";
import { onSession } from "./api/session";
import { Boundary } from "./frame/boundary";
import { Frame } from "./frame/frame";
import { listenToKeys } from "./keys";
import { feed } from "./live/feed";
import { isAway, onFreshness } from "./live/freshness";
import { SignIn } from "./pages/signIn";
import { Empty } from "./ui/parts";
import { Toasts } from "./ui/toast";

const screens = {
  overview: () => import("./pages/overview"),
  tasks: () => import("./pages/tasks"),
  task: () => import("./pages/task"),
  submit: () => import("./pages/submit"),
  queues: () => import("./pages/queues"),
  workers: () => import("./pages/workers"),
  deadLetters: () => import("./pages/deadLetters"),
  deadLetter: () => import("./pages/deadLetter"),
  operations: () => import("./pages/operations"),
  operation: () => import("./pages/operation"),
  webhooks: () => import("./pages/webhooks"),
  access: () => import("./pages/access"),
  system: () => import("./pages/system"),
};
const Overview = lazy(screens.overview);
const Tasks = lazy(screens.tasks);
const Task = lazy(screens.task);
const Submit = lazy(screens.submit);
const Queues = lazy(screens.queues);
const Workers = lazy(screens.workers);
const DeadLetters = lazy(screens.deadLetters);
const DeadLetter = lazy(screens.deadLetter);
const Operations = lazy(screens.operations);
const Operation = lazy(screens.operation);
const Webhooks = lazy(screens.webhooks);
const Access = lazy(screens.access);
const System = lazy(screens.system);
const FIRST_VIEW_MS = 1_500;

/** The other screens, once the first one stands: one can go to them while the API is away. */
function loadScreens(): () => void {
  const timer = setTimeout(() => {
    for (const load of Object.values(screens)) load().catch(() => undefined); // asked for again when one goes there
  }, FIRST_VIEW_MS);
  return () => clearTimeout(timer);
}

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
  useEffect(loadScreens, []);
  const [location] = useLocation();
  // Whatever was missed while the API was away, or the feed had a gap: all that is shown is read again.
  useEffect(() => feed.listen(({ again }) => void (again && queryClient.invalidateQueries())), []);
  useEffect(() => onFreshness(() => void (!isAway() && queryClient.invalidateQueries())), []);
  return (
    <Frame>
      <Boundary key={location}>
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
      </Boundary>
    </Frame>
  );
}
