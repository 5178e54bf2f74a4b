-- What people say of issues, and what came of it. Resolutions of an issue are counted, so that a
-- regression belongs to one of them: the columns of a resolution are the console's alone, those of a
-- regression the writer's alone, and neither ever takes back what the other wrote. An issue with
-- resolved_at is resolved, or regressed once regressed_from is its newest resolution.
ALTER TABLE issues ADD COLUMN resolution BIGINT NOT NULL DEFAULT 0;
ALTER TABLE issues ADD COLUMN resolved_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE issues ADD COLUMN resolved_by TEXT NOT NULL DEFAULT '';
-- The release with the fix; empty where it is in any, or in the next one that comes.
ALTER TABLE issues ADD COLUMN resolved_release TEXT NOT NULL DEFAULT '';
-- Releases that were first seen before this are older than the fix; 0: no release is.
ALTER TABLE issues ADD COLUMN fixed_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE issues ADD COLUMN regressed_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE issues ADD COLUMN regressed_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE issues ADD COLUMN regressed_release TEXT NOT NULL DEFAULT '';
CREATE INDEX issues_regressed_at ON issues (project, regressed_at) WHERE regressed_at > 0;

-- When releases were first and last seen in error events, which is their order. last_seen may be a day
-- behind.
CREATE TABLE releases (
    project    BIGINT NOT NULL,
    release    TEXT   NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    PRIMARY KEY (project, release)
);
CREATE INDEX releases_first_seen ON releases (project, first_seen);
CREATE INDEX releases_last_seen ON releases (last_seen);
CREATE INDEX deploys_release ON deploys (project, release, at);

-- What issues tell of the releases before.
INSERT INTO releases (project, release, first_seen, last_seen)
SELECT project, release, min(at), max(at) FROM (
    SELECT project, first_release AS release, first_seen AS at FROM issues
    UNION ALL
    SELECT project, last_release AS release, last_seen AS at FROM issues
) seen WHERE release <> '' GROUP BY project, release;
