-- migrate:up

-- Ids are UUIDv7, so tasks, executions, logs and events are partitioned by the id's time, seven days a range.
-- Ranges are made by taskflow.store.partitions, ahead of time and on demand; there is no DEFAULT partition.

CREATE TABLE tasks (
    id uuid NOT NULL,
    owner_id uuid NOT NULL,
    worker_id uuid,
    created_at timestamptz NOT NULL,
    run_at timestamptz,
    due_at timestamptz,
    expires_at timestamptz,
    queued_at timestamptz,
    rung_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    timeout_seconds double precision NOT NULL,
    version integer NOT NULL DEFAULT 1,
    seq integer NOT NULL DEFAULT 1,
    started_seq integer NOT NULL DEFAULT 0,
    number integer NOT NULL DEFAULT 0,
    life integer NOT NULL DEFAULT 1,
    attempt smallint NOT NULL DEFAULT 0,
    max_attempts smallint NOT NULL,
    losses smallint NOT NULL DEFAULT 0,
    snoozes smallint NOT NULL DEFAULT 0,
    lane smallint NOT NULL,
    status text NOT NULL,
    type text NOT NULL,
    queue text NOT NULL,
    name text,
    tags text[] NOT NULL DEFAULT '{}',
    payload json NOT NULL,
    result json,
    error json,
    progress json,
    metadata json,
    retry json NOT NULL,
    CONSTRAINT tasks_pkey PRIMARY KEY (id),
    CONSTRAINT tasks_status CHECK (status IN
        ('scheduled', 'queued', 'running', 'retrying', 'completed', 'failed', 'cancelled', 'expired')),
    CONSTRAINT tasks_lane CHECK (lane BETWEEN 0 AND 3)
) PARTITION BY RANGE (id);

COMMENT ON TABLE tasks IS 'What callers asked for. The row is the job; a queued row is also the outbox of its doorbell.';
COMMENT ON COLUMN tasks.version IS 'Grows with every move, never restarts: the guard of every decided move.';
COMMENT ON COLUMN tasks.seq IS 'Number of the newest entry of the task''s history (moves, logs, progress).';
COMMENT ON COLUMN tasks.started_seq IS 'seq of the present attempt''s start.';
COMMENT ON COLUMN tasks.number IS 'Executions so far, over all lives.';
COMMENT ON COLUMN tasks.attempt IS 'Attempts of this life spent or under way.';
COMMENT ON COLUMN tasks.rung_at IS 'When the doorbell was last rung; infinity: parked, no live worker declares the type.';
COMMENT ON COLUMN tasks.lane IS '0 critical, 1 high, 2 normal, 3 low.';

-- Moves are never HOT, so the list of indexes is the budget of the hot path: partial and few.
CREATE INDEX tasks_queued ON tasks (queue, lane, rung_at) WHERE status = 'queued';
CREATE INDEX tasks_running ON tasks (worker_id) WHERE status = 'running';
CREATE INDEX tasks_due ON tasks (due_at) WHERE status IN ('scheduled', 'retrying');
CREATE INDEX tasks_expiring ON tasks (expires_at)
    WHERE expires_at IS NOT NULL AND status IN ('scheduled', 'queued', 'retrying');

CREATE TABLE executions (
    task_id uuid NOT NULL,
    worker_id uuid,
    queued_at timestamptz,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    number integer NOT NULL,
    life integer NOT NULL,
    started_seq integer NOT NULL,
    finished_seq integer,
    attempt smallint NOT NULL,
    status text NOT NULL,
    moved_to text,
    error json,
    CONSTRAINT executions_pkey PRIMARY KEY (task_id, number),
    CONSTRAINT executions_status CHECK (status IN
        ('started', 'succeeded', 'failed', 'timed_out', 'cancelled', 'lost', 'released'))
) PARTITION BY RANGE (task_id);

COMMENT ON TABLE executions IS 'One row per try, written when it ends; the running one is read from the task. A row '
    '`started` is a try whose task was cancelled and whose handler has not ended yet.';

CREATE INDEX executions_open ON executions (worker_id) WHERE status = 'started';

CREATE TABLE task_logs (
    task_id uuid NOT NULL,
    at timestamptz NOT NULL,
    seq integer NOT NULL,
    number integer NOT NULL,
    level text NOT NULL,
    message text NOT NULL,
    CONSTRAINT task_logs_pkey PRIMARY KEY (task_id, seq)
) PARTITION BY RANGE (task_id);

CREATE TABLE task_events (
    task_id uuid NOT NULL,
    at timestamptz NOT NULL,
    seq integer NOT NULL,
    kind text NOT NULL,
    status text,
    data json,
    CONSTRAINT task_events_pkey PRIMARY KEY (task_id, seq)
) PARTITION BY RANGE (task_id);

COMMENT ON TABLE task_events IS 'History that cannot be derived from the task and its executions: commands, expiry, progress.';

CREATE TABLE dead_letters (
    id uuid PRIMARY KEY,
    task_id uuid NOT NULL,
    worker_id uuid,
    created_at timestamptz NOT NULL,
    handled_at timestamptz,
    noticed_at timestamptz,
    resolved_at timestamptz,
    life integer NOT NULL,
    attempts integer NOT NULL,
    type text NOT NULL,
    queue text NOT NULL,
    reason text NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    fingerprint text,
    error json,
    CONSTRAINT dead_letters_task_life UNIQUE (task_id, life),
    CONSTRAINT dead_letters_reason CHECK (reason IN ('attempts_exhausted', 'permanent', 'poison')),
    CONSTRAINT dead_letters_status CHECK (status IN ('pending', 'replayed', 'discarded'))
);

CREATE INDEX dead_letters_unhandled ON dead_letters (created_at) WHERE handled_at IS NULL;
CREATE INDEX dead_letters_alike ON dead_letters (fingerprint, id);
CREATE INDEX dead_letters_resolved ON dead_letters (resolved_at) WHERE status <> 'pending';

CREATE TABLE idempotency_keys (
    owner_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    task_ids uuid[] NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (owner_id, key)
);

CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

CREATE TABLE workers (
    id uuid PRIMARY KEY,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    ended_at timestamptz,
    pid integer NOT NULL,
    slots integer NOT NULL,
    running integer NOT NULL DEFAULT 0,
    drain boolean NOT NULL DEFAULT false,
    host text NOT NULL,
    version text NOT NULL,
    queues text[] NOT NULL,
    types text[] NOT NULL
);

CREATE TABLE queues (
    name text PRIMARY KEY,
    paused boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE task_types (
    name text PRIMARY KEY,
    paused boolean NOT NULL DEFAULT false,
    declared_at timestamptz NOT NULL,
    timeout_seconds double precision,
    max_attempts smallint,
    schema json,
    retry json
);

-- One row per (queue, type, from, to) of each moving statement, folded into totals every few seconds.
CREATE TABLE stat_deltas (
    at timestamptz NOT NULL DEFAULT now(),
    n integer NOT NULL,
    queue text NOT NULL,
    type text NOT NULL,
    origin text,
    target text
);

CREATE TABLE stat_totals (
    n bigint NOT NULL,
    queue text NOT NULL,
    type text NOT NULL,
    status text NOT NULL,
    CONSTRAINT stat_totals_pkey PRIMARY KEY (queue, type, status)
);

COMMENT ON TABLE stat_totals IS 'Tasks by status, with `accepted` and `pruned`: accepted = live + terminal + pruned.';

CREATE TABLE stat_days (
    day date NOT NULL,
    queue text NOT NULL,
    type text NOT NULL,
    submitted bigint NOT NULL DEFAULT 0,
    completed bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    CONSTRAINT stat_days_pkey PRIMARY KEY (day, queue, type)
);

-- migrate:down

-- Forward only: restore from a backup instead.
