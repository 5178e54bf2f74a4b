-- What a project shows to those who know its badge key: badges of its monitors, and, where
-- status_page is 1, a page with all of them. The row is made when the key is first asked for.
CREATE TABLE badges (
    project     BIGINT NOT NULL PRIMARY KEY REFERENCES projects (number),
    badge_key   TEXT   NOT NULL UNIQUE,
    status_page BIGINT NOT NULL CHECK (status_page IN (0, 1))
);

-- How many bad runs in a row it takes where the newest did not come; 0 is fail_after.
ALTER TABLE monitors ADD COLUMN miss_after BIGINT NOT NULL DEFAULT 0;
