-- What people configure for alerting: rules, receivers, teams, people, schedules, policies, routes,
-- silences, maintenance windows, probes. The body is JSON; its shape belongs to whoever evaluates
-- it, so that a new kind needs no table. project is 0 for what belongs to the organisation.
CREATE TABLE documents (
    organisation_id TEXT   NOT NULL,
    kind            TEXT   NOT NULL,
    project         BIGINT NOT NULL,
    id              TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    version         BIGINT NOT NULL,
    body            TEXT   NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    updated_by      TEXT   NOT NULL,
    PRIMARY KEY (organisation_id, kind, project, id)
);
CREATE INDEX documents_kind ON documents (kind, updated_at);

-- One row: the number of changes of documents, by which caches see that they are old.
INSERT INTO counters (name, value) VALUES ('documents', 0);

-- Values that only this installation knows, such as the key that signs links.
CREATE TABLE secrets (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- Processes that evaluate, and when each last said that it lives.
CREATE TABLE alert_replicas (
    id      TEXT   NOT NULL PRIMARY KEY,
    beat_at BIGINT NOT NULL
);

-- Rules are shared out by shards. The epoch is the fence: it grows with each change of owner, and
-- who commits for a shard shows the one that it took it with.
CREATE TABLE alert_shards (
    id          BIGINT NOT NULL PRIMARY KEY,
    epoch       BIGINT NOT NULL,
    owner       TEXT   NOT NULL,
    lease_until BIGINT NOT NULL
);

-- Up to which slot a rule is evaluated, and its instances that are not simply ok. A slot that changed
-- nothing may be evaluated again after a crash: it changes nothing again.
CREATE TABLE alert_states (
    project  BIGINT NOT NULL,
    rule     TEXT   NOT NULL,
    identity TEXT   NOT NULL,
    cursor   BIGINT NOT NULL,
    state    TEXT   NOT NULL,
    PRIMARY KEY (project, rule)
);

-- Slots by minute: every slot that was due is done, held or failed, by whoever owned it.
CREATE TABLE alert_accounts (
    minute  BIGINT NOT NULL,
    replica TEXT   NOT NULL,
    due     BIGINT NOT NULL,
    done    BIGINT NOT NULL,
    held    BIGINT NOT NULL,
    failed  BIGINT NOT NULL,
    PRIMARY KEY (minute, replica)
);

CREATE TABLE alert_transitions (
    id       TEXT   NOT NULL PRIMARY KEY,
    project  BIGINT NOT NULL,
    rule     TEXT   NOT NULL,
    grp      TEXT   NOT NULL,
    at       BIGINT NOT NULL,
    kind     TEXT   NOT NULL,
    incident TEXT   NOT NULL,
    body     TEXT   NOT NULL
);
CREATE INDEX alert_transitions_at ON alert_transitions (project, at);
CREATE INDEX alert_transitions_rule ON alert_transitions (project, rule, at);

CREATE TABLE incidents (
    id              TEXT   NOT NULL PRIMARY KEY,
    number          BIGINT NOT NULL,
    organisation_id TEXT   NOT NULL,
    project         BIGINT NOT NULL,
    team            TEXT   NOT NULL,
    route_key       TEXT   NOT NULL,
    state           TEXT   NOT NULL,
    severity        TEXT   NOT NULL,
    title           TEXT   NOT NULL,
    service         TEXT   NOT NULL,
    held_by         TEXT   NOT NULL,
    opened_at       BIGINT NOT NULL,
    since           BIGINT NOT NULL,
    resolved_at     BIGINT NOT NULL,
    acked_at        BIGINT NOT NULL,
    acked_by        TEXT   NOT NULL,
    next_at         BIGINT NOT NULL,
    version         BIGINT NOT NULL,
    body            TEXT   NOT NULL,
    dossier         TEXT   NOT NULL
);
CREATE UNIQUE INDEX incidents_one_open ON incidents (organisation_id, team, route_key) WHERE state = 'open';
CREATE INDEX incidents_project ON incidents (project, opened_at);
CREATE INDEX incidents_next_at ON incidents (next_at) WHERE next_at > 0;
CREATE INDEX incidents_route ON incidents (organisation_id, team, route_key, opened_at);
CREATE INDEX incidents_service ON incidents (project, service) WHERE state = 'open';
CREATE INDEX incidents_held_by ON incidents (project, held_by) WHERE state = 'open' AND held_by <> '';
INSERT INTO counters (name, value) VALUES ('incident', 0);

-- In which incidents an instance is bad now.
CREATE TABLE incident_instances (
    project  BIGINT NOT NULL,
    instance TEXT   NOT NULL,
    incident TEXT   NOT NULL,
    PRIMARY KEY (project, instance, incident)
);
CREATE INDEX incident_instances_incident ON incident_instances (incident);

CREATE TABLE incident_entries (
    id       TEXT   NOT NULL PRIMARY KEY,
    incident TEXT   NOT NULL,
    at       BIGINT NOT NULL,
    kind     TEXT   NOT NULL,
    person   TEXT   NOT NULL,
    text     TEXT   NOT NULL
);
CREATE INDEX incident_entries_incident ON incident_entries (incident, at);

-- What is to be sent, written in the transaction that decided so. The key is that of the message:
-- the same once more is no second row.
CREATE TABLE outbox (
    key             TEXT   NOT NULL PRIMARY KEY,
    organisation_id TEXT   NOT NULL,
    project         BIGINT NOT NULL,
    incident        TEXT   NOT NULL,
    seq             BIGINT NOT NULL,
    receiver        TEXT   NOT NULL,
    action          TEXT   NOT NULL,
    severity        TEXT   NOT NULL,
    rank            BIGINT NOT NULL,
    state           TEXT   NOT NULL,
    created_at      BIGINT NOT NULL,
    due_at          BIGINT NOT NULL,
    lease_until     BIGINT NOT NULL,
    claim           TEXT   NOT NULL,
    attempts        BIGINT NOT NULL,
    uncertain       BIGINT NOT NULL,
    done_at         BIGINT NOT NULL,
    last_error      TEXT   NOT NULL,
    reference       TEXT   NOT NULL,
    message         TEXT   NOT NULL
);
CREATE INDEX outbox_due ON outbox (due_at) WHERE state IN ('due', 'sending');
CREATE INDEX outbox_incident ON outbox (incident, receiver, seq);
CREATE INDEX outbox_created ON outbox (created_at);
CREATE INDEX outbox_receiver ON outbox (organisation_id, receiver, created_at);

CREATE TABLE receipts (
    id         TEXT   NOT NULL PRIMARY KEY,
    outbox_key TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    attempt    BIGINT NOT NULL,
    code       BIGINT NOT NULL,
    duration   BIGINT NOT NULL,
    error      TEXT   NOT NULL,
    excerpt    TEXT   NOT NULL
);
CREATE INDEX receipts_outbox ON receipts (outbox_key, at);

-- How a receiver is: its tokens of the rate limit, whether it is broken or cannot be reached, and
-- when it was last tried for the sake of it. The body is JSON.
CREATE TABLE receiver_states (
    organisation_id TEXT   NOT NULL,
    receiver        TEXT   NOT NULL,
    body            TEXT   NOT NULL,
    PRIMARY KEY (organisation_id, receiver)
);

CREATE TABLE digest_lines (
    id              TEXT   NOT NULL PRIMARY KEY,
    organisation_id TEXT   NOT NULL,
    project         BIGINT NOT NULL,
    team            TEXT   NOT NULL,
    at              BIGINT NOT NULL,
    section         TEXT   NOT NULL,
    sent_in         TEXT   NOT NULL,
    body            TEXT   NOT NULL
);
CREATE INDEX digest_lines_at ON digest_lines (organisation_id, at);

CREATE TABLE deploys (
    project     BIGINT NOT NULL,
    id          TEXT   NOT NULL,
    at          BIGINT NOT NULL,
    service     TEXT   NOT NULL,
    environment TEXT   NOT NULL,
    release     TEXT   NOT NULL,
    person      TEXT   NOT NULL,
    url         TEXT   NOT NULL,
    source      TEXT   NOT NULL,
    PRIMARY KEY (project, id)
);
CREATE INDEX deploys_at ON deploys (project, at);

-- Alerts that a Prometheus evaluated and sent.
CREATE TABLE external_alerts (
    project    BIGINT NOT NULL,
    id         TEXT   NOT NULL,
    starts_at  BIGINT NOT NULL,
    ends_at    BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    firing     BIGINT NOT NULL,
    body       TEXT   NOT NULL,
    PRIMARY KEY (project, id)
);
CREATE INDEX external_alerts_ends ON external_alerts (ends_at) WHERE firing = 1;

-- What a rule would have done, asked for and kept.
CREATE TABLE rehearsals (
    project BIGINT NOT NULL,
    rule    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    body    TEXT   NOT NULL,
    PRIMARY KEY (project, rule, version)
);
