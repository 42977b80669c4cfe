import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { profile, queryClient } from "./api/queries";
import { App } from "./app";
import { load, nameAt } from "./screens";
import { applyTheme } from "./theme";
import "./styles/index.css";

applyTheme();
const first = nameAt(window.location.pathname);
// Who sits here and the part of the page he wants are asked for at once; then there is something to show. An API that
// does not answer must not leave the page empty.
const PATIENCE_MS = 1_000;
await Promise.race([
  Promise.all([queryClient.prefetchQuery(profile()), first && load(first)]),
  new Promise((resolve) => setTimeout(resolve, PATIENCE_MS)),
]);
const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
