-- migrate:up

SET LOCAL lock_timeout = '3s';

CREATE TABLE users (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    signed_in_at timestamptz,
    disabled_at timestamptz,
    deleted_at timestamptz,
    role text NOT NULL DEFAULT 'user',
    username text,
    username_key text GENERATED ALWAYS AS (lower(username)) STORED,
    email text,
    email_key text GENERATED ALWAYS AS (lower(email)) STORED,
    password_hash text,
    CONSTRAINT users_username UNIQUE (username_key),
    CONSTRAINT users_email UNIQUE (email_key),
    CONSTRAINT users_role CHECK (role IN ('user', 'admin')),
    CONSTRAINT users_named CHECK (username IS NOT NULL OR email IS NOT NULL)
);

COMMENT ON TABLE users IS 'Accounts. One that was deleted keeps its names until the janitor removes it.';

-- Who calls without credentials while nobody need sign in; it has no password, so nobody can sign in as it.
INSERT INTO users (id, created_at, role, username)
VALUES ('00000000-0000-0000-0000-000000000000', clock_timestamp(), 'admin', 'local');

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    ended_reason text,
    address text
);

CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

COMMENT ON TABLE sessions IS 'Sign-ins: each is a family of refresh tokens, of which one is good at a time.';

CREATE TABLE refresh_tokens (
    hash bytea PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    used_at timestamptz
);

CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);

COMMENT ON COLUMN refresh_tokens.hash IS 'SHA-256; the token is shown once and not kept. So it is with API keys.';

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    revoked_reason text,
    replaced_by uuid,
    name text NOT NULL,
    hint text NOT NULL,
    scopes text[] NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT api_keys_hash UNIQUE (hash)
);

CREATE INDEX api_keys_user ON api_keys (user_id, id);

CREATE TABLE signing_secrets (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    sealed bytea NOT NULL
);

CREATE INDEX signing_secrets_user ON signing_secrets (user_id);

COMMENT ON COLUMN signing_secrets.sealed IS 'Encrypted with a key that is derived from SECRET_KEY.';

CREATE TABLE sign_in_failures (
    subject text PRIMARY KEY,
    failures integer NOT NULL,
    since timestamptz NOT NULL,
    locked_until timestamptz
);

COMMENT ON TABLE sign_in_failures IS 'By account name, known or not, and by address: tries to sign in that have not succeeded.';

CREATE TABLE rate_limits (
    subject text PRIMARY KEY,
    minutes integer[] NOT NULL DEFAULT '{}',
    counts integer[] NOT NULL DEFAULT '{}'
);

COMMENT ON TABLE rate_limits IS 'What was taken of a limit in each of the last 61 minutes (minutes since 1970).';

-- Figures by owner. NULL in a delta: the built-in owner, or a program that knows of no others.
ALTER TABLE stat_deltas ADD COLUMN owner_id uuid;

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX stat_deltas_owned ON stat_deltas (owner_id) WHERE owner_id <> '00000000-0000-0000-0000-000000000000';

CREATE TABLE owner_totals (
    owner_id uuid NOT NULL,
    n bigint NOT NULL,
    queue text NOT NULL,
    type text NOT NULL,
    status text NOT NULL,
    CONSTRAINT owner_totals_pkey PRIMARY KEY (owner_id, queue, type, status)
);

COMMENT ON TABLE owner_totals IS 'What stat_totals tells, by owner; the built-in one, who sees everything, left out.';

CREATE TABLE owner_days (
    owner_id uuid NOT NULL,
    day date NOT NULL,
    submitted bigint NOT NULL DEFAULT 0,
    completed bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    CONSTRAINT owner_days_pkey PRIMARY KEY (owner_id, day)
);

-- Of the built-in owner's tasks, all there are before this, nothing is written into it.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX tasks_owned ON tasks (owner_id, id) WHERE owner_id <> '00000000-0000-0000-0000-000000000000';

ALTER TABLE dead_letters ADD COLUMN owner_id uuid;

COMMENT ON COLUMN dead_letters.owner_id IS 'Its task''s. A letter that an older program wrote has it once it is stamped.';

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX dead_letters_owned ON dead_letters (owner_id, id) WHERE owner_id <> '00000000-0000-0000-0000-000000000000';

ALTER TABLE operations ADD COLUMN owner_id uuid;

COMMENT ON COLUMN operations.owner_id IS 'Whose things alone it acts on; NULL: an admin''s, anybody''s.';

ALTER TABLE audit_events
    ADD COLUMN user_id uuid,
    ADD COLUMN key_id uuid,
    ADD COLUMN address text,
    ADD COLUMN request_id text;

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX audit_events_actor ON audit_events (actor, id);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX audit_events_action ON audit_events (action, id);

-- migrate:down

-- Forward only: restore from a backup instead.
