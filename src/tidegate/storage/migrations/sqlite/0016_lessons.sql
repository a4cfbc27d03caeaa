-- What routes with tiers learn from. A row without a body says that all of somebody has gone.
CREATE TABLE lessons (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    until_ms INTEGER NOT NULL,     -- deleted then
    subject TEXT NOT NULL,         -- an end user's alias
    body BLOB                      -- sealed
);
CREATE INDEX lessons_by_end ON lessons (until_ms);
CREATE INDEX lessons_by_subject ON lessons (subject) WHERE subject <> '';
