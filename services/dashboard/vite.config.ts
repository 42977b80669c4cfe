import { defineConfig } from "vite";

// The api serves what is built here at its root, and the wheel takes it from there.
const api = process.env.TASKFLOW_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  build: {
    outDir: process.env.DASHBOARD_OUT ?? "../api/taskflow_api/dashboard",
    emptyOutDir: true,
    assetsInlineLimit: 0, // the policy of the page has no `data:` but for images
    modulePreload: { polyfill: false },
    target: "es2023",
  },
  server: { proxy: { "/api": api, "/schema": api, "/docs": api } },
});
