/** What the API refuses with (RFC 9457), as an error. */

export interface Fault {
  detail: string;
  pointer?: string;
  parameter?: string;
}

export class Problem extends Error {
  override readonly name = "Problem";

  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly hint: string | null;
  readonly faults: Fault[];

  constructor(
    status: number,
    code: string,
    detail: string,
    hint: string | null = null,
    faults: Fault[] = [],
  ) {
    super(detail);
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.hint = hint;
    this.faults = faults;
  }

  /** What is wrong with the field at `pointer`, or with a part of it, if anything. */
  at(pointer: string): string | undefined {
    const isAt = (at = "") => at === pointer || at.startsWith(`${pointer}/`);
    return this.faults.find((fault) => isAt(fault.pointer))?.detail;
  }
}

/** `body` is what the API answered; anything else becomes a problem of its status. */
export function problemOf(status: number, body: unknown): Problem {
  const said = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  return new Problem(
    status,
    typeof said.code === "string" ? said.code : "unknown",
    typeof said.detail === "string" ? said.detail : `the API answered ${status}`,
    typeof said.hint === "string" ? said.hint : null,
    Array.isArray(said.errors) ? (said.errors as Fault[]) : [],
  );
}

/** In words for people, whatever was thrown. */
export function tell(error: unknown): string {
  if (error instanceof Problem) {
    const faults = error.faults.map((fault) => {
      const place = fault.pointer ?? fault.parameter;
      return place ? `${place}: ${fault.detail}` : fault.detail;
    });
    const detail = faults.length ? faults.join("; ") : error.detail;
    return error.hint ? `${detail}. ${error.hint}` : detail;
  }
  if (error instanceof TypeError) return "The API cannot be reached";
  return error instanceof Error ? error.message : String(error);
}
