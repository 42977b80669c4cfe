-- migrate:up

SET LOCAL lock_timeout = '3s';
-- Counted at every scrape, however many letters are kept. Not concurrently: who waits for dbmate's lock would be waited for.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX dead_letters_pending ON dead_letters (queue, reason) WHERE status = 'pending';

-- migrate:down

-- Forward only: restore from a backup instead.
