-- migrate:up

-- Where a task came from, as W3C Trace Context writes it; null for nearly all.
ALTER TABLE tasks ADD COLUMN trace text;

-- Counted at every scrape, however many letters are kept. Not concurrently: who waits for dbmate's lock would be waited for.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX dead_letters_pending ON dead_letters (queue, reason) WHERE status = 'pending';

-- migrate:down

-- Forward only: restore from a backup instead.
