/**
 * JSON that is kept as it was written. A payload may hold 10^23, `1e400`, or a key twice: what `JSON.parse` makes of that
 * is something else. So payloads are cut out of the answer, laid out, and sent back as text.
 */

/** The text of member `name` of the object that `text` is; undefined: it has none. */
export function member(text: string, name: string): string | undefined {
  let at = skip(text, text.indexOf("{") + 1);
  while (at < text.length && text[at] !== "}") {
    const keyEnd = valueEnd(text, at);
    const key = JSON.parse(text.slice(at, keyEnd)) as string;
    const begin = skip(text, skip(text, keyEnd) + 1);
    const end = valueEnd(text, begin);
    if (key === name) return text.slice(begin, end);
    at = skip(text, end);
    if (text[at] === ",") at = skip(text, at + 1);
  }
  return undefined;
}

/** The same JSON, a member a line. Text that is no JSON comes back as it is. */
export function pretty(text: string, indent = "  "): string {
  let out = "";
  let depth = 0;
  const line = () => `\n${indent.repeat(depth)}`;
  for (let at = skip(text, 0); at < text.length; at = skip(text, at)) {
    const sign = text[at] as string;
    const next = text[skip(text, at + 1)];
    if (sign === "{" || sign === "[") {
      const isEmpty = next === "}" || next === "]";
      out += isEmpty ? sign + next : sign;
      at = isEmpty ? skip(text, at + 1) + 1 : at + 1;
      if (!isEmpty) {
        depth += 1;
        out += line();
      }
    } else if (sign === "}" || sign === "]") {
      depth = Math.max(0, depth - 1);
      out += line() + sign;
      at += 1;
    } else if (sign === ",") {
      out += sign + line();
      at += 1;
    } else if (sign === ":") {
      out += ": ";
      at += 1;
    } else {
      const end = Math.max(valueEnd(text, at), at + 1);
      out += text.slice(at, end);
      at = end;
    }
  }
  return out;
}

/** What is wrong with `text` as JSON, in words; null: nothing. */
export function fault(text: string): string | null {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function skip(text: string, at: number): number {
  while (at < text.length && " \t\r\n".includes(text[at] as string)) at += 1;
  return at;
}

/** Where the value ends that begins at `at`. */
function valueEnd(text: string, at: number): number {
  const first = text[at];
  if (first === '"') return stringEnd(text, at);
  if (first !== "{" && first !== "[") {
    while (at < text.length && !",:]} \t\r\n".includes(text[at] as string)) at += 1;
    return at;
  }
  let depth = 0;
  while (at < text.length) {
    const sign = text[at];
    if (sign === '"') {
      at = stringEnd(text, at);
      continue;
    }
    if (sign === "{" || sign === "[") depth += 1;
    if (sign === "}" || sign === "]") depth -= 1;
    at += 1;
    if (depth === 0) return at;
  }
  return at;
}

function stringEnd(text: string, at: number): number {
  for (at += 1; at < text.length && text[at] !== '"'; at += 1) {
    if (text[at] === "\\") at += 1;
  }
  return Math.min(text.length, at + 1);
}
