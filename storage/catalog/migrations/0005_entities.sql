-- What somebody has said of the things that groups of rules are about: that one has ended for good, a host that was
-- taken away or a worker that was scaled in. labels is a JSON object with the labels that all of its data have.
CREATE TABLE ended_entities (
    project BIGINT NOT NULL,
    id      TEXT   NOT NULL,
    at      BIGINT NOT NULL,
    labels  TEXT   NOT NULL,
    PRIMARY KEY (project, id)
);
CREATE INDEX ended_entities_at ON ended_entities (project, at);
