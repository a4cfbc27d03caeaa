-- Prompts: versions that never change, labels that point to them, and how those were moved.
CREATE TABLE prompts (
    id TEXT PRIMARY KEY,              -- its name
    created_ms INTEGER NOT NULL,
    by TEXT NOT NULL,                 -- a key's id
    latest INTEGER NOT NULL,
    labels TEXT NOT NULL,             -- JSON
    deleted TEXT NOT NULL,            -- JSON: numbers of versions
    steps INTEGER NOT NULL
);
CREATE TABLE prompt_versions (
    id TEXT PRIMARY KEY,              -- NAME@NUMBER
    prompt TEXT NOT NULL,
    number INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    by TEXT NOT NULL,
    author TEXT NOT NULL,
    note TEXT NOT NULL,
    hash TEXT NOT NULL,
    wording TEXT NOT NULL,            -- JSON
    deleted_ms INTEGER
);
CREATE TABLE prompt_moves (
    id TEXT PRIMARY KEY,              -- NAME#STEP
    prompt TEXT NOT NULL,
    label TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    by TEXT NOT NULL,
    version INTEGER,
    was INTEGER,
    why TEXT NOT NULL
);
