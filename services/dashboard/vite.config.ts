import { defineConfig, loadEnv } from "vite";

// The api serves what is built here at its root, and the wheel takes it from there.
export default defineConfig(({ mode }) => {
  const api = loadEnv(mode, ".", "TASKFLOW_").TASKFLOW_URL ?? "http://127.0.0.1:8080";
  return {
    build: {
      outDir: "../api/taskflow_api/dashboard",
      emptyOutDir: true,
      assetsInlineLimit: 0, // the policy of the page has no `data:` but for images
      modulePreload: { polyfill: false },
      target: "es2023",
    },
    server: { proxy: { "/api": api, "/schema": api, "/docs": api } },
  };
});
