-- A deploy whose restarts users are expected to feel: for a while evidence has to last twice as long.
ALTER TABLE deploys ADD COLUMN soft BIGINT NOT NULL DEFAULT 0;
