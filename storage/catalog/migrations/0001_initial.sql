-- One text for SQLite and PostgreSQL. Times are nanoseconds since 1970 (0 is none), durations
-- nanoseconds, booleans 0 or 1, 64-bit identities are kept in the bits of a signed integer.

-- One row, made by whichever process comes first: what it stands for happens once.
CREATE TABLE installation (
    id         BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    created_at BIGINT NOT NULL
);

CREATE TABLE counters (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
-- The newest project number given out. Numbers are never given out again: telemetry is kept by them.
INSERT INTO counters (name, value) VALUES ('project', 0);

CREATE TABLE organisations (
    id         TEXT   NOT NULL PRIMARY KEY,
    slug       TEXT   NOT NULL UNIQUE,
    name       TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE users (
    id            TEXT   NOT NULL PRIMARY KEY,
    email         TEXT   NOT NULL UNIQUE,
    password_hash TEXT   NOT NULL,
    created_at    BIGINT NOT NULL
);

CREATE TABLE members (
    user_id         TEXT   NOT NULL REFERENCES users (id),
    organisation_id TEXT   NOT NULL REFERENCES organisations (id),
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (user_id, organisation_id)
);
CREATE INDEX members_organisation ON members (organisation_id);

CREATE TABLE sessions (
    secret_sha256 TEXT   NOT NULL PRIMARY KEY,
    user_id       TEXT   NOT NULL REFERENCES users (id),
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL
);
CREATE INDEX sessions_expires_at ON sessions (expires_at);
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE api_tokens (
    id              TEXT   NOT NULL PRIMARY KEY,
    organisation_id TEXT   NOT NULL REFERENCES organisations (id),
    name            TEXT   NOT NULL,
    secret_sha256   TEXT   NOT NULL UNIQUE,
    created_at      BIGINT NOT NULL
);
CREATE INDEX api_tokens_organisation ON api_tokens (organisation_id);

CREATE TABLE projects (
    number          BIGINT NOT NULL PRIMARY KEY CHECK (number > 0),
    organisation_id TEXT   NOT NULL REFERENCES organisations (id),
    slug            TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    ingest_key      TEXT   NOT NULL UNIQUE,
    created_at      BIGINT NOT NULL,
    -- For how many days each signal is kept.
    metrics_days    BIGINT NOT NULL,
    logs_days       BIGINT NOT NULL,
    errors_days     BIGINT NOT NULL,
    checkins_days   BIGINT NOT NULL,
    UNIQUE (organisation_id, slug)
);

-- Projects that keep a signal for less time than they did: rows of before carry the longer one with
-- them, so they are looked for each day, from the change until the last of them has gone by itself.
-- Days are counted from 1970; done_day is the last on which it was done.
CREATE TABLE shortenings (
    project  BIGINT NOT NULL,
    signal   TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    done_day BIGINT NOT NULL,
    last_day BIGINT NOT NULL,
    PRIMARY KEY (project, signal)
);

-- Work that one process at a time does.
CREATE TABLE leases (
    name    TEXT   NOT NULL PRIMARY KEY,
    holder  TEXT   NOT NULL,
    ends_at BIGINT NOT NULL
);

-- What happened to a project's data without its doing; project 0 is the operator.
CREATE TABLE notices (
    project BIGINT NOT NULL,
    kind    TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    at      BIGINT NOT NULL,
    message TEXT   NOT NULL,
    details TEXT   NOT NULL,
    PRIMARY KEY (project, kind, subject)
);
CREATE INDEX notices_at ON notices (at);

-- How far the readers of the bus are: the newest batch of each, planned or done.
CREATE TABLE cursors (
    stream    TEXT   NOT NULL,
    reader    TEXT   NOT NULL,
    origin    BIGINT NOT NULL,
    version   BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq  BIGINT NOT NULL,
    done      BIGINT NOT NULL CHECK (done IN (0, 1)),
    PRIMARY KEY (stream, reader)
);

-- Issues and monitors are written by readers of the bus, which lag behind: a row for a project
-- that is gone must not stop a batch of others, so they carry no foreign key.
CREATE TABLE issues (
    project          BIGINT NOT NULL,
    id               BIGINT NOT NULL,
    grouping_version BIGINT NOT NULL,
    title            TEXT   NOT NULL,
    title_lower      TEXT   NOT NULL,
    type             TEXT   NOT NULL,
    value            TEXT   NOT NULL,
    culprit          TEXT   NOT NULL,
    level            TEXT   NOT NULL,
    platform         TEXT   NOT NULL,
    first_release    TEXT   NOT NULL,
    last_release     TEXT   NOT NULL,
    first_seen       BIGINT NOT NULL,
    last_seen        BIGINT NOT NULL,
    events           BIGINT NOT NULL,
    PRIMARY KEY (project, id)
);
CREATE INDEX issues_first_seen ON issues (project, first_seen);
CREATE INDEX issues_last_seen ON issues (project, last_seen);

CREATE TABLE monitors (
    project           BIGINT NOT NULL,
    slug              TEXT   NOT NULL,
    uuid              TEXT   NOT NULL UNIQUE,
    name              TEXT   NOT NULL,
    schedule_kind     TEXT   NOT NULL,
    schedule_value    TEXT   NOT NULL,
    schedule_timezone TEXT   NOT NULL,
    margin            BIGINT NOT NULL,
    max_runtime       BIGINT NOT NULL,
    fail_after        BIGINT NOT NULL,
    recover_after     BIGINT NOT NULL,
    status            TEXT   NOT NULL,
    status_since      BIGINT NOT NULL,
    last_checkin_at   BIGINT NOT NULL,
    last_start_at     BIGINT NOT NULL,
    next_expected_at  BIGINT NOT NULL,
    due_at            BIGINT NOT NULL,
    last_duration     BIGINT NOT NULL,
    runs              TEXT   NOT NULL,
    bad               BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,
    PRIMARY KEY (project, slug)
);
CREATE INDEX monitors_due_at ON monitors (due_at);
