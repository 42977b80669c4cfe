-- What the migrations lead to, for readers; the ranges of ids are made by taskflow.store.partitions.
-- Written by scripts/dump_schema: do not edit.

CREATE TABLE public.api_keys (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    revoked_reason text,
    replaced_by uuid,
    name text NOT NULL,
    hint text NOT NULL,
    scopes text[] NOT NULL,
    hash bytea NOT NULL
);

CREATE TABLE public.audit_events (
    id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    target text,
    reason text,
    data json,
    user_id uuid,
    key_id uuid,
    address text,
    request_id text
);

COMMENT ON TABLE public.audit_events IS 'Who did what to which thing, and why. What is done to one task also stands in its history.';

CREATE TABLE public.dead_letter_details (
    task_id uuid NOT NULL,
    life integer NOT NULL,
    error json,
    payload json,
    executions json
)
PARTITION BY RANGE (task_id);

COMMENT ON TABLE public.dead_letter_details IS 'What a life failed with: its payload, however the task is changed later, and its tries.';

CREATE TABLE public.dead_letters (
    id uuid NOT NULL,
    task_id uuid NOT NULL,
    worker_id uuid,
    created_at timestamp with time zone NOT NULL,
    handled_at timestamp with time zone,
    noticed_at timestamp with time zone,
    resolved_at timestamp with time zone,
    life integer NOT NULL,
    attempts integer NOT NULL,
    type text NOT NULL,
    queue text NOT NULL,
    reason text NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    fingerprint text,
    error json,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    worker_version text,
    search text,
    operation_id uuid,
    resolved_by text,
    resolved_reason text,
    owner_id uuid,
    CONSTRAINT dead_letters_reason CHECK ((reason = ANY (ARRAY['attempts_exhausted'::text, 'permanent'::text, 'poison'::text]))),
    CONSTRAINT dead_letters_status CHECK ((status = ANY (ARRAY['pending'::text, 'replayed'::text, 'discarded'::text])))
);

COMMENT ON COLUMN public.dead_letters.error IS 'Type and the beginning of the message; the whole is in dead_letter_details.';

COMMENT ON COLUMN public.dead_letters.search IS 'Type and message of the error in lower case, 4,000 characters at most.';

COMMENT ON COLUMN public.dead_letters.owner_id IS 'Its task''s. A letter that an older program wrote has it once it is stamped.';

CREATE TABLE public.executions (
    task_id uuid NOT NULL,
    worker_id uuid,
    queued_at timestamp with time zone,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    number integer NOT NULL,
    life integer NOT NULL,
    started_seq integer NOT NULL,
    finished_seq integer,
    attempt smallint NOT NULL,
    status text NOT NULL,
    moved_to text,
    error json,
    CONSTRAINT executions_status CHECK ((status = ANY (ARRAY['started'::text, 'succeeded'::text, 'failed'::text, 'timed_out'::text, 'cancelled'::text, 'lost'::text, 'released'::text])))
)
PARTITION BY RANGE (task_id);

COMMENT ON TABLE public.executions IS 'One row per try, written when it ends; the running one is read from the task. A row `started` is a try whose task was cancelled and whose handler has not ended yet.';

CREATE TABLE public.idempotency_keys (
    owner_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    task_ids uuid[] NOT NULL
);

CREATE TABLE public.operation_pages (
    operation_id uuid NOT NULL,
    page integer NOT NULL,
    ids uuid[] NOT NULL,
    guards integer[]
);

COMMENT ON TABLE public.operation_pages IS 'The set of an operation: what matched when it was accepted, a thousand ids a row.';

COMMENT ON COLUMN public.operation_pages.guards IS 'Of tasks: the version that may be retried, or the life that may be cancelled.';

CREATE TABLE public.operations (
    id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    paced_at timestamp with time zone NOT NULL,
    canary_since timestamp with time zone,
    rate_per_second double precision NOT NULL,
    matched integer NOT NULL,
    taken integer DEFAULT 0 NOT NULL,
    done integer DEFAULT 0 NOT NULL,
    skipped integer DEFAULT 0 NOT NULL,
    failed integer DEFAULT 0 NOT NULL,
    items_max integer,
    canary_first integer,
    canary_stop_if_failed integer,
    canary_wait_seconds double precision,
    canary_succeeded integer DEFAULT 0 NOT NULL,
    canary_failed integer DEFAULT 0 NOT NULL,
    canary_state text,
    canary_tasks uuid[],
    canary_lives integer[],
    action text NOT NULL,
    status text DEFAULT 'running'::text NOT NULL,
    status_reason text,
    created_by text NOT NULL,
    reason text,
    filter json NOT NULL,
    owner_id uuid,
    CONSTRAINT operations_action CHECK ((action = ANY (ARRAY['replay'::text, 'discard'::text, 'cancel'::text, 'retry'::text]))),
    CONSTRAINT operations_status CHECK ((status = ANY (ARRAY['running'::text, 'paused'::text, 'stopped'::text, 'done'::text])))
);

COMMENT ON COLUMN public.operations.paced_at IS 'Up to this moment the rate is used up.';

COMMENT ON COLUMN public.operations.taken IS 'Items of the set whose turn has been: done, skipped or failed.';

COMMENT ON COLUMN public.operations.owner_id IS 'Whose things alone it acts on; NULL: an admin''s, anybody''s.';

CREATE TABLE public.owner_days (
    owner_id uuid NOT NULL,
    day date NOT NULL,
    submitted bigint DEFAULT 0 NOT NULL,
    completed bigint DEFAULT 0 NOT NULL,
    failed bigint DEFAULT 0 NOT NULL
);

CREATE TABLE public.owner_totals (
    owner_id uuid NOT NULL,
    n bigint NOT NULL,
    queue text NOT NULL,
    type text NOT NULL,
    status text NOT NULL
);

COMMENT ON TABLE public.owner_totals IS 'What stat_totals tells, by owner; the built-in one, who sees everything, left out.';

CREATE TABLE public.push_hosts (
    owner_id uuid NOT NULL,
    host text NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    openings integer DEFAULT 0 NOT NULL,
    open_until timestamp with time zone,
    probe_until timestamp with time zone,
    touched_at timestamp with time zone NOT NULL,
    error text
);

COMMENT ON TABLE public.push_hosts IS 'Circuit breakers of pushes, shared by all workers: while open_until is ahead, nothing is sent.';

CREATE TABLE public.queues (
    name text NOT NULL,
    paused boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.rate_limits (
    subject text NOT NULL,
    minutes integer[] DEFAULT '{}'::integer[] NOT NULL,
    counts integer[] DEFAULT '{}'::integer[] NOT NULL
);

COMMENT ON TABLE public.rate_limits IS 'What was taken of a limit in each of the last 61 minutes (minutes since 1970).';

CREATE TABLE public.refresh_tokens (
    hash bytea NOT NULL,
    session_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone
);

COMMENT ON COLUMN public.refresh_tokens.hash IS 'SHA-256; the token is shown once and not kept. So it is with API keys.';

CREATE TABLE public.sessions (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    ended_reason text,
    address text
);

COMMENT ON TABLE public.sessions IS 'Sign-ins: each is a family of refresh tokens, of which one is good at a time.';

CREATE TABLE public.sign_in_failures (
    subject text NOT NULL,
    failures integer NOT NULL,
    since timestamp with time zone NOT NULL,
    locked_until timestamp with time zone
);

COMMENT ON TABLE public.sign_in_failures IS 'By account name, known or not, and by address: tries to sign in that have not succeeded.';

CREATE TABLE public.signing_secrets (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    sealed bytea NOT NULL,
    shown boolean DEFAULT true NOT NULL
);

COMMENT ON COLUMN public.signing_secrets.sealed IS 'Encrypted with a key that is derived from SECRET_KEY.';

CREATE TABLE public.stat_days (
    day date NOT NULL,
    queue text NOT NULL,
    type text NOT NULL,
    submitted bigint DEFAULT 0 NOT NULL,
    completed bigint DEFAULT 0 NOT NULL,
    failed bigint DEFAULT 0 NOT NULL
);

CREATE TABLE public.stat_deltas (
    at timestamp with time zone DEFAULT now() NOT NULL,
    n integer NOT NULL,
    queue text NOT NULL,
    type text NOT NULL,
    origin text,
    target text,
    owner_id uuid
);

CREATE TABLE public.stat_series (
    step_seconds integer NOT NULL,
    at timestamp with time zone NOT NULL,
    queue text NOT NULL,
    type text NOT NULL,
    submitted bigint DEFAULT 0 NOT NULL,
    started bigint DEFAULT 0 NOT NULL,
    completed bigint DEFAULT 0 NOT NULL,
    failed bigint DEFAULT 0 NOT NULL,
    retried bigint DEFAULT 0 NOT NULL,
    waits integer[] DEFAULT '{}'::integer[] NOT NULL,
    runs integer[] DEFAULT '{}'::integer[] NOT NULL,
    CONSTRAINT stat_series_step CHECK ((step_seconds = ANY (ARRAY[60, 300, 900, 3600, 21600, 86400])))
);

COMMENT ON TABLE public.stat_series IS 'What happened in a minute, or in a longer step; an empty queue or type: over all of them.';

COMMENT ON COLUMN public.stat_series.waits IS 'How many starts had waited how long: counts of buckets (domain.histogram).';

COMMENT ON COLUMN public.stat_series.runs IS 'How many attempts had run how long, likewise.';

CREATE TABLE public.stat_totals (
    n bigint NOT NULL,
    queue text NOT NULL,
    type text NOT NULL,
    status text NOT NULL
);

COMMENT ON TABLE public.stat_totals IS 'Tasks by status, with `accepted` and `pruned`: accepted = live + terminal + pruned.';

CREATE TABLE public.stream_tickets (
    hash bytea NOT NULL,
    key_hash bytea,
    session_id uuid,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT stream_tickets_one CHECK (((key_hash IS NULL) OR (session_id IS NULL)))
);

COMMENT ON TABLE public.stream_tickets IS 'Tickets for one stream each: which credentials asked for it; none: nobody signs in here.';

CREATE TABLE public.task_events (
    task_id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    seq integer NOT NULL,
    kind text NOT NULL,
    status text,
    data json
)
PARTITION BY RANGE (task_id);

COMMENT ON TABLE public.task_events IS 'History that cannot be derived from the task and its executions: commands, expiry, progress.';

CREATE TABLE public.task_logs (
    task_id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    seq integer NOT NULL,
    number integer NOT NULL,
    level text NOT NULL,
    message text NOT NULL
)
PARTITION BY RANGE (task_id);

CREATE TABLE public.task_types (
    name text NOT NULL,
    paused boolean DEFAULT false NOT NULL,
    declared_at timestamp with time zone NOT NULL,
    timeout_seconds double precision,
    max_attempts smallint,
    schema json,
    retry json,
    paused_by text,
    paused_reason text,
    resumed_at timestamp with time zone
);

CREATE TABLE public.tasks (
    id uuid NOT NULL,
    owner_id uuid NOT NULL,
    worker_id uuid,
    created_at timestamp with time zone NOT NULL,
    run_at timestamp with time zone,
    due_at timestamp with time zone,
    expires_at timestamp with time zone,
    queued_at timestamp with time zone,
    rung_at timestamp with time zone,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    timeout_seconds double precision NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    seq integer DEFAULT 1 NOT NULL,
    started_seq integer DEFAULT 0 NOT NULL,
    number integer DEFAULT 0 NOT NULL,
    life integer DEFAULT 1 NOT NULL,
    attempt smallint DEFAULT 0 NOT NULL,
    max_attempts smallint NOT NULL,
    losses smallint DEFAULT 0 NOT NULL,
    snoozes smallint DEFAULT 0 NOT NULL,
    lane smallint NOT NULL,
    status text NOT NULL,
    type text NOT NULL,
    queue text NOT NULL,
    name text,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    payload json NOT NULL,
    result json,
    error json,
    progress json,
    metadata json,
    retry json NOT NULL,
    trace text,
    told_events smallint,
    callback json,
    target json,
    CONSTRAINT tasks_lane CHECK (((lane >= 0) AND (lane <= 3))),
    CONSTRAINT tasks_rung CHECK (((status <> 'queued'::text) OR (rung_at IS NOT NULL))),
    CONSTRAINT tasks_status CHECK ((status = ANY (ARRAY['scheduled'::text, 'queued'::text, 'running'::text, 'retrying'::text, 'completed'::text, 'failed'::text, 'cancelled'::text, 'expired'::text])))
)
PARTITION BY RANGE (id);

COMMENT ON TABLE public.tasks IS 'What callers asked for. The row is the job; a queued row is also the outbox of its doorbell.';

COMMENT ON COLUMN public.tasks.rung_at IS 'When the doorbell was last rung; infinity: parked, no live worker declares the type.';

COMMENT ON COLUMN public.tasks.version IS 'Grows with every move, never restarts: the guard of every decided move.';

COMMENT ON COLUMN public.tasks.seq IS 'Number of the newest entry of the task''s history (moves, logs, progress).';

COMMENT ON COLUMN public.tasks.started_seq IS 'seq of the present attempt''s start.';

COMMENT ON COLUMN public.tasks.number IS 'Executions so far, over all lives.';

COMMENT ON COLUMN public.tasks.attempt IS 'Attempts of this life spent or under way.';

COMMENT ON COLUMN public.tasks.lane IS '0 critical, 1 high, 2 normal, 3 low.';

COMMENT ON COLUMN public.tasks.told_events IS 'Which events write a delivery (bits); NULL: none, as of nearly all tasks.';

COMMENT ON COLUMN public.tasks.callback IS 'Where they are sent. What is secret in it is encrypted, as in target.';

COMMENT ON COLUMN public.tasks.target IS 'Who executes it over HTTP, in place of a handler.';

CREATE TABLE public.users (
    id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    signed_in_at timestamp with time zone,
    disabled_at timestamp with time zone,
    deleted_at timestamp with time zone,
    role text DEFAULT 'user'::text NOT NULL,
    username text,
    username_key text GENERATED ALWAYS AS (lower(username)) STORED,
    email text,
    email_key text GENERATED ALWAYS AS (lower(email)) STORED,
    password_hash text,
    CONSTRAINT users_named CHECK (((username IS NOT NULL) OR (email IS NOT NULL))),
    CONSTRAINT users_role CHECK ((role = ANY (ARRAY['user'::text, 'admin'::text])))
);

COMMENT ON TABLE public.users IS 'Accounts. One that was deleted keeps its names until the janitor removes it.';

CREATE TABLE public.webhook_attempts (
    delivery_id uuid NOT NULL,
    number integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    duration_seconds double precision NOT NULL,
    status_code smallint,
    error text,
    answer text
)
PARTITION BY RANGE (delivery_id);

CREATE TABLE public.webhook_deliveries (
    id uuid NOT NULL,
    task_id uuid,
    owner_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    due_at timestamp with time zone NOT NULL,
    leased_until timestamp with time zone,
    finished_at timestamp with time zone,
    turn integer DEFAULT 0 NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    spent_before integer DEFAULT 0 NOT NULL,
    max_attempts smallint,
    status text DEFAULT 'pending'::text NOT NULL,
    event text NOT NULL,
    url text NOT NULL,
    host text NOT NULL,
    sealed text,
    content json NOT NULL,
    CONSTRAINT webhook_deliveries_status CHECK ((status = ANY (ARRAY['pending'::text, 'delivered'::text, 'failed'::text])))
)
PARTITION BY RANGE (id);

COMMENT ON TABLE public.webhook_deliveries IS 'Events to be sent, written with the move they tell of; ranges by their own ids.';

COMMENT ON COLUMN public.webhook_deliveries.turn IS 'Counts the leases: who does not hold the newest records nothing.';

COMMENT ON COLUMN public.webhook_deliveries.spent_before IS 'Attempts before the last replay, which began a fresh budget.';

COMMENT ON COLUMN public.webhook_deliveries.content IS 'The row of the task as the move left it; or what operators are alerted of.';

CREATE TABLE public.webhook_endpoints (
    owner_id uuid NOT NULL,
    url text NOT NULL,
    failures integer NOT NULL,
    failing_since timestamp with time zone,
    delivered_at timestamp with time zone,
    next_try_at timestamp with time zone,
    touched_at timestamp with time zone NOT NULL,
    error text
);

COMMENT ON TABLE public.webhook_endpoints IS 'How deliveries to a URL of an owner go. One that fails too often in a row is slowed.';

CREATE TABLE public.workers (
    id uuid NOT NULL,
    started_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    lease_until timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    pid integer NOT NULL,
    slots integer NOT NULL,
    running integer DEFAULT 0 NOT NULL,
    drain boolean DEFAULT false NOT NULL,
    host text NOT NULL,
    version text NOT NULL,
    queues text[] NOT NULL,
    types text[] NOT NULL,
    memory_bytes bigint
);

COMMENT ON COLUMN public.workers.memory_bytes IS 'What its process and its handler children hold in memory, at its last beat; null: not told.';

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_hash UNIQUE (hash);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.audit_events
    ADD CONSTRAINT audit_events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.dead_letter_details
    ADD CONSTRAINT dead_letter_details_pkey PRIMARY KEY (task_id, life);

ALTER TABLE ONLY public.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.dead_letters
    ADD CONSTRAINT dead_letters_task_life UNIQUE (task_id, life);

ALTER TABLE ONLY public.executions
    ADD CONSTRAINT executions_pkey PRIMARY KEY (task_id, number);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (owner_id, key);

ALTER TABLE ONLY public.operation_pages
    ADD CONSTRAINT operation_pages_pkey PRIMARY KEY (operation_id, page);

ALTER TABLE ONLY public.operations
    ADD CONSTRAINT operations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.owner_days
    ADD CONSTRAINT owner_days_pkey PRIMARY KEY (owner_id, day);

ALTER TABLE ONLY public.owner_totals
    ADD CONSTRAINT owner_totals_pkey PRIMARY KEY (owner_id, queue, type, status);

ALTER TABLE ONLY public.push_hosts
    ADD CONSTRAINT push_hosts_pkey PRIMARY KEY (owner_id, host);

ALTER TABLE ONLY public.queues
    ADD CONSTRAINT queues_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.rate_limits
    ADD CONSTRAINT rate_limits_pkey PRIMARY KEY (subject);

ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_pkey PRIMARY KEY (hash);

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.sign_in_failures
    ADD CONSTRAINT sign_in_failures_pkey PRIMARY KEY (subject);

ALTER TABLE ONLY public.signing_secrets
    ADD CONSTRAINT signing_secrets_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.stat_days
    ADD CONSTRAINT stat_days_pkey PRIMARY KEY (day, queue, type);

ALTER TABLE ONLY public.stat_series
    ADD CONSTRAINT stat_series_pkey PRIMARY KEY (step_seconds, at, queue, type);

ALTER TABLE ONLY public.stat_totals
    ADD CONSTRAINT stat_totals_pkey PRIMARY KEY (queue, type, status);

ALTER TABLE ONLY public.stream_tickets
    ADD CONSTRAINT stream_tickets_pkey PRIMARY KEY (hash);

ALTER TABLE ONLY public.task_events
    ADD CONSTRAINT task_events_pkey PRIMARY KEY (task_id, seq);

ALTER TABLE ONLY public.task_logs
    ADD CONSTRAINT task_logs_pkey PRIMARY KEY (task_id, seq);

ALTER TABLE ONLY public.task_types
    ADD CONSTRAINT task_types_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_email UNIQUE (email_key);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_username UNIQUE (username_key);

ALTER TABLE ONLY public.webhook_attempts
    ADD CONSTRAINT webhook_attempts_pkey PRIMARY KEY (delivery_id, number);

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.webhook_endpoints
    ADD CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (owner_id, url);

ALTER TABLE ONLY public.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (id);

CREATE INDEX api_keys_user ON public.api_keys USING btree (user_id, id);

CREATE INDEX audit_events_action ON public.audit_events USING btree (action, id);

CREATE INDEX audit_events_actor ON public.audit_events USING btree (actor, id);

CREATE INDEX audit_events_target ON public.audit_events USING btree (target, id);

CREATE INDEX dead_letters_alike ON public.dead_letters USING btree (fingerprint, id);

CREATE INDEX dead_letters_owned ON public.dead_letters USING btree (owner_id, id) WHERE (owner_id <> '00000000-0000-0000-0000-000000000000'::uuid);

CREATE INDEX dead_letters_pending ON public.dead_letters USING btree (queue, reason) WHERE (status = 'pending'::text);

CREATE INDEX dead_letters_resolved ON public.dead_letters USING btree (resolved_at) WHERE (status <> 'pending'::text);

CREATE INDEX dead_letters_type ON public.dead_letters USING btree (type, id);

CREATE INDEX dead_letters_unhandled ON public.dead_letters USING btree (created_at) WHERE (handled_at IS NULL);

CREATE INDEX executions_open ON ONLY public.executions USING btree (worker_id) WHERE (status = 'started'::text);

CREATE INDEX idempotency_keys_age ON public.idempotency_keys USING btree (created_at);

CREATE INDEX operations_open ON public.operations USING btree (id) WHERE (status = ANY (ARRAY['running'::text, 'paused'::text]));

CREATE INDEX refresh_tokens_session ON public.refresh_tokens USING btree (session_id);

CREATE INDEX sessions_expiry ON public.sessions USING btree (expires_at);

CREATE INDEX sessions_user ON public.sessions USING btree (user_id);

CREATE INDEX signing_secrets_user ON public.signing_secrets USING btree (user_id);

CREATE INDEX stat_deltas_owned ON public.stat_deltas USING btree (owner_id) WHERE (owner_id <> '00000000-0000-0000-0000-000000000000'::uuid);

CREATE INDEX tasks_due ON ONLY public.tasks USING btree (due_at) WHERE (status = ANY (ARRAY['scheduled'::text, 'retrying'::text]));

CREATE INDEX tasks_ended ON ONLY public.tasks USING btree (status, id) WHERE (status = ANY (ARRAY['failed'::text, 'cancelled'::text, 'expired'::text]));

CREATE INDEX tasks_expiring ON ONLY public.tasks USING btree (expires_at) WHERE ((expires_at IS NOT NULL) AND (status = ANY (ARRAY['scheduled'::text, 'queued'::text, 'retrying'::text])));

CREATE INDEX tasks_owned ON ONLY public.tasks USING btree (owner_id, id) WHERE (owner_id <> '00000000-0000-0000-0000-000000000000'::uuid);

CREATE INDEX tasks_queued ON ONLY public.tasks USING btree (queue, lane, rung_at) WHERE (status = 'queued'::text);

CREATE INDEX tasks_running ON ONLY public.tasks USING btree (worker_id) WHERE (status = 'running'::text);

CREATE INDEX webhook_deliveries_due ON ONLY public.webhook_deliveries USING btree (due_at) WHERE (status = 'pending'::text);

CREATE INDEX webhook_deliveries_host ON ONLY public.webhook_deliveries USING btree (host, due_at) WHERE (status = 'pending'::text);

CREATE INDEX webhook_deliveries_owned ON ONLY public.webhook_deliveries USING btree (owner_id, id) WHERE (owner_id <> '00000000-0000-0000-0000-000000000000'::uuid);

CREATE INDEX webhook_deliveries_task ON ONLY public.webhook_deliveries USING btree (task_id, id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_session_id_fkey FOREIGN KEY (session_id) REFERENCES public.sessions(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.signing_secrets
    ADD CONSTRAINT signing_secrets_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
