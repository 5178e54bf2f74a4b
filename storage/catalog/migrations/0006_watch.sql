-- When the canary of a shard last came home: a synthetic trouble that was found, told to nobody, and
-- seen to end.
ALTER TABLE alert_shards ADD COLUMN canary_at BIGINT NOT NULL DEFAULT 0;

-- Up to when all that the rules of a shard had to look at is looked at.
ALTER TABLE alert_shards ADD COLUMN evaluated_at BIGINT NOT NULL DEFAULT 0;

-- Incidents that are over, for the day on which they are forgotten.
CREATE INDEX incidents_resolved_at ON incidents (resolved_at) WHERE state <> 'open';
