-- migrate:up

SET LOCAL lock_timeout = '3s';

-- What lists are narrowed by stays small; what explains a letter lies beside it, in the range of its task.
ALTER TABLE dead_letters
    ADD COLUMN tags text[] NOT NULL DEFAULT '{}',
    ADD COLUMN worker_version text,
    ADD COLUMN search text,
    ADD COLUMN operation_id uuid,
    ADD COLUMN resolved_by text,
    ADD COLUMN resolved_reason text;

COMMENT ON COLUMN dead_letters.error IS 'Type and the beginning of the message; the whole is in dead_letter_details.';
COMMENT ON COLUMN dead_letters.search IS 'Type and message of the error in lower case, 4,000 characters at most.';

-- Those that wait for somebody are found by tag like new ones.
UPDATE dead_letters d SET tags = t.tags FROM tasks t
WHERE t.id = d.task_id AND d.status = 'pending' AND t.tags <> '{}';

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX dead_letters_type ON dead_letters (type, id);

CREATE TABLE dead_letter_details (
    task_id uuid NOT NULL,
    life integer NOT NULL,
    error json,
    payload json,
    executions json,
    CONSTRAINT dead_letter_details_pkey PRIMARY KEY (task_id, life)
) PARTITION BY RANGE (task_id);

COMMENT ON TABLE dead_letter_details IS 'What a life failed with: its payload, however the task is changed later, and its tries.';

CREATE TABLE operations (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    paced_at timestamptz NOT NULL,
    canary_since timestamptz,
    rate_per_second double precision NOT NULL,
    matched integer NOT NULL,
    taken integer NOT NULL DEFAULT 0,
    done integer NOT NULL DEFAULT 0,
    skipped integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    items_max integer,
    canary_first integer,
    canary_stop_if_failed integer,
    canary_wait_seconds double precision,
    canary_succeeded integer NOT NULL DEFAULT 0,
    canary_failed integer NOT NULL DEFAULT 0,
    canary_state text,
    canary_tasks uuid[],
    canary_lives integer[],
    action text NOT NULL,
    status text NOT NULL DEFAULT 'running',
    status_reason text,
    created_by text NOT NULL,
    reason text,
    filter json NOT NULL,
    CONSTRAINT operations_action CHECK (action IN ('replay', 'discard', 'cancel', 'retry')),
    CONSTRAINT operations_status CHECK (status IN ('running', 'paused', 'stopped', 'done'))
);

COMMENT ON COLUMN operations.taken IS 'Items of the set whose turn has been: done, skipped or failed.';
COMMENT ON COLUMN operations.paced_at IS 'Up to this moment the rate is used up.';

CREATE INDEX operations_open ON operations (id) WHERE status IN ('running', 'paused');

CREATE TABLE operation_pages (
    operation_id uuid NOT NULL,
    page integer NOT NULL,
    ids uuid[] NOT NULL,
    guards integer[],
    CONSTRAINT operation_pages_pkey PRIMARY KEY (operation_id, page)
);

COMMENT ON TABLE operation_pages IS 'The set of an operation: what matched when it was accepted, a thousand ids a row.';
COMMENT ON COLUMN operation_pages.guards IS 'Of tasks: the version that may be retried, or the life that may be cancelled.';

CREATE TABLE audit_events (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    target text,
    reason text,
    data json
);

CREATE INDEX audit_events_target ON audit_events (target, id);

COMMENT ON TABLE audit_events IS 'Who did what to which thing, and why. What is done to one task also stands in its history.';

ALTER TABLE task_types
    ADD COLUMN paused_by text,
    ADD COLUMN paused_reason text,
    ADD COLUMN resumed_at timestamptz;

-- migrate:down

-- Forward only: restore from a backup instead.
