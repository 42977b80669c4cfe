-- migrate:up

-- Whoever reads for long must not make all others wait behind us.
SET LOCAL lock_timeout = '3s';
-- Where a task came from, as W3C Trace Context writes it; null for nearly all.
ALTER TABLE tasks ADD COLUMN trace text;

-- migrate:down

-- Forward only: restore from a backup instead.
