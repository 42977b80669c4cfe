-- migrate:up

-- Where a task came from, as W3C Trace Context writes it; null for nearly all.
ALTER TABLE tasks ADD COLUMN trace text;

-- migrate:down

-- Forward only: restore from a backup instead.
