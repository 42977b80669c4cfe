-- migrate:up

SET LOCAL lock_timeout = '3s';

ALTER TABLE workers ADD COLUMN memory_bytes bigint;

COMMENT ON COLUMN workers.memory_bytes IS 'What its process and its handler children hold in memory, at its last beat; null: not told.';

-- migrate:down

-- Forward only: restore from a backup instead.
