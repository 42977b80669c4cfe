/** Commands on single things. */

import { api, body } from "./client";

const at = (id: string) => ({ params: { path: { task_id: id } } });

export const cancelTask = (id: string) => body(api.POST("/api/v1/tasks/{task_id}/cancel", at(id)));
export const retryTask = (id: string) => body(api.POST("/api/v1/tasks/{task_id}/retry", at(id)));

/** The same command for several, some at once; how many took it, and why the others did not. */
export async function each(
  ids: string[],
  command: (id: string) => Promise<unknown>,
): Promise<{ done: number; refused: unknown[] }> {
  const AT_ONCE = 6;
  const refused: unknown[] = [];
  for (let from = 0; from < ids.length; from += AT_ONCE) {
    const answers = await Promise.allSettled(ids.slice(from, from + AT_ONCE).map(command));
    refused.push(...answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason] : [])));
  }
  return { done: ids.length - refused.length, refused };
}
