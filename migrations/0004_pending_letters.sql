-- migrate:up transaction:false

-- Counted at every scrape, however many letters are kept.
CREATE INDEX CONCURRENTLY IF NOT EXISTS dead_letters_pending ON dead_letters (queue, reason) WHERE status = 'pending';

-- migrate:down

-- Forward only: restore from a backup instead.
