/** The icons of the page: strokes on a field of 16, beside words that say the same. */

const PATHS = {
  overview: "M2 13V8m4 5V3m4 10V6m4 7v-3",
  tasks: "M5.5 4h8.5M5.5 8h8.5M5.5 12h8.5M2.2 4h.1M2.2 8h.1M2.2 12h.1",
  submit: "M8 3v10M3 8h10",
  queues: "M2 4.5 8 2l6 2.5L8 7zM2 8l6 2.5L14 8M2 11.5 8 14l6-2.5",
  workers: "M4 4h8v8H4zM6.5 1.5V4m3-2.5V4m-3 8v2.5m3-2.5v2.5M1.5 6.5H4m-2.5 3H4m8-3h2.5m-2.5 3h2.5",
  dead: "M2 4h12v9H2zM2 4.5 8 9l6-4.5",
  webhooks:
    "M6.5 9.5 10 6M7 4.5l1.6-1.6a2.7 2.7 0 0 1 3.8 3.8L11 8.3M5 7.7 3.6 9.3a2.7 2.7 0 0 0 3.8 3.8L9 11.5",
  access: "M6 10a3.5 3.5 0 1 1 2.6-1.1L14 14m-2-2-1.5 1.5",
  system:
    "M8 5.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM8 1.5v2m0 9v2m6.5-6.5h-2m-9 0h-2m11.1-4.6-1.4 1.4m-6.4 6.4-1.4 1.4m9.2 0-1.4-1.4M4.8 4.8 3.4 3.4",
  scheduled: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8zM8 4.5V8l2.5 1.5",
  queued: "M3 4h10M3 8h10M3 12h6",
  running: "M5 3.5v9l7-4.5z",
  retrying: "M13 8a5 5 0 1 1-1.5-3.5M13 2v3h-3",
  completed: "m3 8.5 3.5 3.5L13 5",
  failed: "M4 4l8 8m0-8-8 8",
  cancelled: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM4 4l8 8",
  expired: "M4.5 2h7M4.5 14h7M5 2c0 4 6 4 6 8v4M11 2c0 4-6 4-6 8v4",
  warn: "M8 2 1.5 13.5h13zM8 6.5v3.5m0 1.6v.1",
  copy: "M5.5 5.5h8v8h-8zM10.5 5V2.5h-8v8H5",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zm3.3 7.8L14 14",
  theme: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
  keyboard: "M1.5 4h13v8h-13zM4 6.5h.1m2.4 0h.1m2.4 0h.1m2.4 0h.1M5 9.5h6",
  pause: "M5.5 3.5v9m5-9v9",
  external: "M6 3H3v10h10v-3M9 3h4v4m0-4L7.5 8.5",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg
      width="16"
      height="16"
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.6"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
