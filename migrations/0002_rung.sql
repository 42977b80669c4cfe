-- migrate:up

-- A queued row without a stamp is seen by no index that heals: it could wait for ever.
UPDATE tasks SET rung_at = clock_timestamp() WHERE status = 'queued' AND rung_at IS NULL;
ALTER TABLE tasks ADD CONSTRAINT tasks_rung CHECK (status <> 'queued' OR rung_at IS NOT NULL);

-- migrate:down

-- Forward only: restore from a backup instead.
