-- Questions that were answered. An index by nearness is made for each dimension when it is first seen.
CREATE TABLE tidegate.semantic_entries (
    place BIGINT GENERATED ALWAYS AS IDENTITY,
    partition TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    answer TEXT COLLATE "C" NOT NULL,
    marks TEXT[] NOT NULL,
    tags TEXT[] NOT NULL,
    "right" INTEGER NOT NULL DEFAULT 0,
    wrong INTEGER NOT NULL DEFAULT 0,
    used_us BIGINT NOT NULL,       -- when it was last near a question, about
    dimensions INTEGER NOT NULL,
    vector vector NOT NULL,
    until_ms BIGINT NOT NULL,      -- how long its reply is good
    reply BYTEA NOT NULL,          -- sealed
    PRIMARY KEY (partition, id)
) WITH (fillfactor = 80);          -- room for records and times to change in their place

CREATE INDEX semantic_entries_by_answer ON tidegate.semantic_entries (partition, answer);

CREATE TABLE tidegate.semantic_answers (
    partition TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    sketch BYTEA NOT NULL,
    marks TEXT[] NOT NULL,
    PRIMARY KEY (partition, id)
);

-- What the verifiers know, sealed; of two at once that write, the one whose version is the next succeeds.
CREATE TABLE tidegate.semantic_learned (
    name TEXT COLLATE "C" PRIMARY KEY,
    version BIGINT NOT NULL,
    state BYTEA NOT NULL
);
