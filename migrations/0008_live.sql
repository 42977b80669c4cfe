-- migrate:up

SET LOCAL lock_timeout = '3s';

-- Rates and times by the minute, and by each longer step that is offered, of each queue and type, of each queue, of each type
-- and of all, so that a reader hardly ever adds up more rows than it shows points. Counts are folded from deltas as the
-- totals are, times come from the workers.
CREATE TABLE stat_series (
    step_seconds integer NOT NULL,
    at timestamptz NOT NULL,
    queue text NOT NULL,
    type text NOT NULL,
    submitted bigint NOT NULL DEFAULT 0,
    started bigint NOT NULL DEFAULT 0,
    completed bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    retried bigint NOT NULL DEFAULT 0,
    waits integer[] NOT NULL DEFAULT '{}',
    runs integer[] NOT NULL DEFAULT '{}',
    CONSTRAINT stat_series_pkey PRIMARY KEY (step_seconds, at, queue, type),
    CONSTRAINT stat_series_step CHECK (step_seconds IN (60, 300, 900, 3600, 21600, 86400))
);

COMMENT ON TABLE stat_series IS 'What happened in a minute, or in a longer step; an empty queue or type: over all of them.';
COMMENT ON COLUMN stat_series.waits IS 'How many starts had waited how long: counts of buckets (domain.histogram).';
COMMENT ON COLUMN stat_series.runs IS 'How many attempts had run how long, likewise.';

-- Lists of what went wrong: of a million tasks, these may be few and old. What is simply completed is not written into it.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX tasks_ended ON tasks (status, id) WHERE status IN ('failed', 'cancelled', 'expired');

CREATE TABLE stream_tickets (
    hash bytea PRIMARY KEY,
    key_hash bytea,
    session_id uuid,
    expires_at timestamptz NOT NULL,
    CONSTRAINT stream_tickets_one CHECK (key_hash IS NULL OR session_id IS NULL)
);

COMMENT ON TABLE stream_tickets IS 'Tickets for one stream each: which credentials asked for it; none: nobody signs in here.';

-- migrate:down

-- Forward only: restore from a backup instead.
