-- Which notices a person does not want to see any more, and of when they were; one that is told anew is seen again.
CREATE TABLE notice_dismissals (
    project BIGINT NOT NULL,
    kind    TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    user_id TEXT   NOT NULL REFERENCES users (id),
    at      BIGINT NOT NULL,
    PRIMARY KEY (project, kind, subject, user_id),
    FOREIGN KEY (project, kind, subject) REFERENCES notices (project, kind, subject) ON DELETE CASCADE
);
