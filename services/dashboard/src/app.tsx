import { QueryClientProvider, useQuery } from "@tanstack/react-query";
import { Suspense, useEffect } from "react";
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
import { loadAll, ROUTES, Screen } from "./screens";
import { Empty } from "./ui/parts";
import { Toasts } from "./ui/toast";

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
  useEffect(loadAll, []);
  const [location] = useLocation();
  // Whatever was missed while the API was away, or the feed had a gap: all that is shown is read again.
  useEffect(() => feed.listen(({ again }) => void (again && queryClient.invalidateQueries())), []);
  useEffect(() => onFreshness(() => void (!isAway() && queryClient.invalidateQueries())), []);
  return (
    <Frame>
      <Boundary key={location}>
        <Suspense fallback={<div className="empty">Loading…</div>}>
          <Switch>
            {ROUTES.map(([path, name]) => (
              <Route key={path} path={path}>
                {({ id = "" }: { id?: string }) => <Screen key={id} name={name} id={id} />}
              </Route>
            ))}
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
