/** Numbers and times as people read them. Pure. */

const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const BYTES = ["B", "KiB", "MiB", "GiB", "TiB"];

export function count(value: number): string {
  return value < 100_000 ? whole.format(value) : compact.format(value);
}

/** `320 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`. */
export function duration(seconds: number): string {
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return "< 1 ms";
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const rounded = Math.round(seconds);
  if (rounded < 60) return `${rounded} s`;
  if (rounded < 3_600) return pair(rounded, 60, "min", 1, "s");
  if (rounded < 86_400) return pair(rounded, 3_600, "h", 60, "min");
  return pair(rounded, 86_400, "d", 3_600, "h");
}

function pair(seconds: number, big: number, bigName: string, small: number, smallName: string): string {
  const first = Math.floor(seconds / big);
  const second = Math.floor((seconds % big) / small);
  return second ? `${first} ${bigName} ${second} ${smallName}` : `${first} ${bigName}`;
}

/** One unit of it: `25 min`. */
export function brief(seconds: number): string {
  return duration(seconds).split(" ").slice(0, 2).join(" ");
}

/** When, with one unit: what stands in a narrow column. */
export function age(seconds: number): string {
  const size = Math.abs(seconds);
  const told =
    size < 1
      ? "now"
      : size < 60
        ? `${Math.floor(size)} s`
        : size < 3_600
          ? `${Math.floor(size / 60)} min`
          : size < 86_400
            ? `${Math.floor(size / 3_600)} h`
            : `${Math.floor(size / 86_400)} d`;
  if (told === "now") return told;
  return seconds < 0 ? `in ${told}` : `${told} ago`;
}

export function bytes(value: number): string {
  const step = Math.min(BYTES.length - 1, value < 1 ? 0 : Math.floor(Math.log2(value) / 10));
  const scaled = value / 1024 ** step;
  return `${scaled < 10 && step ? scaled.toFixed(1) : Math.round(scaled)} ${BYTES[step]}`;
}

/** Seconds from `from` to `to`, RFC 3339; null if one of them is missing. */
export function between(from: string | null | undefined, to: string | null | undefined): number | null {
  return from && to ? (Date.parse(to) - Date.parse(from)) / 1000 : null;
}

/** `2026-11-24 07:10:13.637` in the reader's time zone. */
export function moment(at: string): string {
  const date = new Date(at);
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day} ${time}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

export function percent(fraction: number): string {
  return `${fraction >= 0.9995 || fraction === 0 ? Math.round(fraction * 100) : (fraction * 100).toFixed(1)} %`;
}

export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}
