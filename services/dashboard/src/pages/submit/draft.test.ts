import { expect, it } from "vitest";
import { bodyOf, curlOf, draftOf, EMPTY } from "./draft";

it("sends the payload as it is written", () => {
  const body = bodyOf({ ...EMPTY, type: "echo", payload: '{"n": 1e400, "n": 100000000000000000000001}' });
  expect(body).toBe(
    '{"type":"echo","priority":"normal","payload":{"n": 1e400, "n": 100000000000000000000001}}',
  );
});

it("leaves out what is not filled in, and reads numbers and tags", () => {
  const draft = { ...EMPTY, type: "echo", tags: "a, b c,", delaySeconds: "1.5", maxAttempts: "3" };
  expect(JSON.parse(bodyOf(draft))).toEqual({
    type: "echo",
    priority: "normal",
    tags: ["a", "b c"],
    delay_seconds: 1.5,
    max_attempts: 3,
    payload: {},
  });
});

it("makes a draft of a task, without its secrets", () => {
  const task = {
    id: "x",
    type: "echo",
    queue: "mail",
    priority: "high",
    name: null,
    tags: ["x"],
    max_attempts: 2,
    timeout_seconds: 30,
    retry: { strategy: "fixed" },
    metadata: { a: 1 },
    callback: {
      url: "https://example.org",
      events: ["task.failed"],
      max_attempts: 2,
      secret: "***",
      headers: { a: "***" },
    },
    target: null,
    payload: { a: 1 },
  };
  const draft = draftOf(JSON.stringify(task));
  expect(draft.payload).toBe('{\n  "a": 1\n}');
  expect(JSON.stringify(draft)).not.toContain("***");
  expect(JSON.parse(bodyOf(draft))).toMatchObject({
    type: "echo",
    queue: "mail",
    metadata: { a: 1 },
    tags: ["x"],
    callback: { url: "https://example.org", events: ["task.failed"], max_attempts: 2 },
  });
});

it("quotes for the shell", () => {
  expect(curlOf({ ...EMPTY, type: "echo", payload: `"it's"` }, "http://x")).toContain(`it'\\''s`);
});
