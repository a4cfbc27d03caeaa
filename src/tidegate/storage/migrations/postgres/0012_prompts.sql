-- Prompts: versions that never change, labels that point to them, and how those were moved.
CREATE TABLE tidegate.prompts (
    place BIGINT GENERATED ALWAYS AS IDENTITY,
    id TEXT COLLATE "C" PRIMARY KEY,              -- its name
    created_ms BIGINT NOT NULL,
    by TEXT NOT NULL,                 -- a key's id
    latest BIGINT NOT NULL,
    labels TEXT NOT NULL,             -- JSON
    deleted TEXT NOT NULL,            -- JSON: numbers of versions
    steps BIGINT NOT NULL
);
CREATE TABLE tidegate.prompt_versions (
    place BIGINT GENERATED ALWAYS AS IDENTITY,
    id TEXT COLLATE "C" PRIMARY KEY,              -- NAME@NUMBER
    prompt TEXT NOT NULL,
    number BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    by TEXT NOT NULL,
    author TEXT NOT NULL,
    note TEXT NOT NULL,
    hash TEXT NOT NULL,
    wording TEXT NOT NULL,            -- JSON
    deleted_ms BIGINT
);
CREATE TABLE tidegate.prompt_moves (
    place BIGINT GENERATED ALWAYS AS IDENTITY,
    id TEXT COLLATE "C" PRIMARY KEY,              -- NAME#STEP
    prompt TEXT NOT NULL,
    label TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    by TEXT NOT NULL,
    version BIGINT,
    was BIGINT,
    why TEXT NOT NULL
);
