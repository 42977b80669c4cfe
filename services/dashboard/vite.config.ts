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
      rolldownOptions: {
        onLog(level, log, pass) {
          // "use client" in a library is for servers that render; there is none here.
          if (log.code !== "MODULE_LEVEL_DIRECTIVE") pass(level, log);
        },
      },
    },
    server: { proxy: { "/api": api, "/schema": api, "/docs": api } },
  };
});
