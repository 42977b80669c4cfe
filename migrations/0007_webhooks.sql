-- migrate:up

SET LOCAL lock_timeout = '3s';

ALTER TABLE tasks
    ADD COLUMN told_events smallint,
    ADD COLUMN callback json,
    ADD COLUMN target json;

COMMENT ON COLUMN tasks.told_events IS 'Which events write a delivery (bits); NULL: none, as of nearly all tasks.';
COMMENT ON COLUMN tasks.callback IS 'Where they are sent. What is secret in it is encrypted, as in target.';
COMMENT ON COLUMN tasks.target IS 'Who executes it over HTTP, in place of a handler.';

CREATE TABLE webhook_deliveries (
    id uuid NOT NULL,
    task_id uuid,
    owner_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    leased_until timestamptz,
    finished_at timestamptz,
    turn integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    spent_before integer NOT NULL DEFAULT 0,
    max_attempts smallint,
    status text NOT NULL DEFAULT 'pending',
    event text NOT NULL,
    url text NOT NULL,
    host text NOT NULL,
    sealed text,
    content json NOT NULL,
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (id),
    CONSTRAINT webhook_deliveries_status CHECK (status IN ('pending', 'delivered', 'failed'))
) PARTITION BY RANGE (id);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due_at) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_host ON webhook_deliveries (host, due_at) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_task ON webhook_deliveries (task_id, id);
CREATE INDEX webhook_deliveries_owned ON webhook_deliveries (owner_id, id)
    WHERE owner_id <> '00000000-0000-0000-0000-000000000000';

COMMENT ON TABLE webhook_deliveries IS 'Events to be sent, written with the move they tell of; ranges by their own ids.';
COMMENT ON COLUMN webhook_deliveries.content IS 'The row of the task as the move left it; or what operators are alerted of.';
COMMENT ON COLUMN webhook_deliveries.turn IS 'Counts the leases: who does not hold the newest records nothing.';
COMMENT ON COLUMN webhook_deliveries.spent_before IS 'Attempts before the last replay, which began a fresh budget.';

CREATE TABLE webhook_attempts (
    delivery_id uuid NOT NULL,
    number integer NOT NULL,
    started_at timestamptz NOT NULL,
    duration_seconds double precision NOT NULL,
    status_code smallint,
    error text,
    answer text,
    CONSTRAINT webhook_attempts_pkey PRIMARY KEY (delivery_id, number)
) PARTITION BY RANGE (delivery_id);

CREATE TABLE webhook_endpoints (
    owner_id uuid NOT NULL,
    url text NOT NULL,
    failures integer NOT NULL,
    failing_since timestamptz,
    delivered_at timestamptz,
    next_try_at timestamptz,
    touched_at timestamptz NOT NULL,
    error text,
    CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (owner_id, url)
);

COMMENT ON TABLE webhook_endpoints IS 'How deliveries to a URL of an owner go. One that fails too often in a row is slowed.';

CREATE TABLE push_hosts (
    owner_id uuid NOT NULL,
    host text NOT NULL,
    failures integer NOT NULL DEFAULT 0,
    openings integer NOT NULL DEFAULT 0,
    open_until timestamptz,
    probe_until timestamptz,
    touched_at timestamptz NOT NULL,
    error text,
    CONSTRAINT push_hosts_pkey PRIMARY KEY (owner_id, host)
);

COMMENT ON TABLE push_hosts IS 'Circuit breakers of pushes, shared by all workers: while open_until is ahead, nothing is sent.';

-- A secret that was made because something had to be signed has never been seen: it need not overlap its successor.
ALTER TABLE signing_secrets ADD COLUMN shown boolean NOT NULL DEFAULT true;

-- migrate:down

-- Forward only: restore from a backup instead.
