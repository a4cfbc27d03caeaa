-- What routes with tiers learn from. A row without a body says that all of somebody has gone.
CREATE TABLE tidegate.lessons (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    until_ms BIGINT NOT NULL,      -- deleted then
    subject TEXT NOT NULL,         -- an end user's alias
    body BYTEA                     -- sealed
);
CREATE INDEX lessons_by_end ON tidegate.lessons (until_ms);
CREATE INDEX lessons_by_subject ON tidegate.lessons (subject) WHERE subject <> '';
