/** What could be meant by the last word of a search. Pure. */

import { FIELDS, PRIORITIES, STATUSES } from "./grammar";

export interface Known {
  type: string[];
  queue: string[];
}

const OFFERED_MAX = 8;
const AGES = ["age>1m", "age>10m", "age>1h", "age<1h", "age<24h"];

export function suggestions(text: string, known: Known): string[] {
  const word = lastWord(text);
  const colon = word.indexOf(":");
  if (colon < 0) {
    const fields = FIELDS.filter((name) => name !== "age").map((name) => `${name}:`);
    const all = [...fields, ...AGES];
    return all
      .filter((one) => one.startsWith(word) && one !== word)
      .slice(0, word ? OFFERED_MAX : fields.length);
  }
  const field = word.slice(0, colon);
  const comma = word.lastIndexOf(",");
  const begin = word.slice(0, Math.max(colon, comma) + 1);
  const begun = word.slice(begin.length).toLowerCase();
  return values(field, known)
    .filter((value) => value.toLowerCase().startsWith(begun) && value !== begun)
    .slice(0, OFFERED_MAX)
    .map((value) => begin + value);
}

function values(field: string, known: Known): readonly string[] {
  if (field === "status") return STATUSES;
  if (field === "priority") return PRIORITIES;
  if (field === "type" || field === "queue") return known[field];
  return [];
}

/** `text` with its last word replaced; after a whole term a space follows. */
export function taken(text: string, suggestion: string): string {
  const begin = text.slice(0, text.length - lastWord(text).length);
  return begin + suggestion + (suggestion.endsWith(":") ? "" : " ");
}

function lastWord(text: string): string {
  return /\S*$/.exec(text)?.[0] ?? "";
}
