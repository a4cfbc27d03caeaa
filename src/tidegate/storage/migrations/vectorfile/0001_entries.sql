PRAGMA application_id = 1413955924;  -- "TGAT": this file is Tidegate's

-- Questions that were answered. The order of rows is that in which they came.
CREATE TABLE entries (
    place INTEGER PRIMARY KEY,
    partition TEXT NOT NULL,
    id TEXT NOT NULL,
    answer TEXT NOT NULL,
    marks TEXT NOT NULL,           -- lists are JSON
    tags TEXT NOT NULL,
    "right" INTEGER NOT NULL DEFAULT 0,
    wrong INTEGER NOT NULL DEFAULT 0,
    vector BLOB NOT NULL,          -- float32, little-endian
    until_ms INTEGER NOT NULL,     -- how long its reply is good
    reply BLOB NOT NULL,           -- sealed
    UNIQUE (partition, id)
);

CREATE INDEX entries_by_answer ON entries (partition, answer);

CREATE TABLE answers (
    partition TEXT NOT NULL,
    id TEXT NOT NULL,
    digest BLOB NOT NULL,
    sketch BLOB NOT NULL,
    marks TEXT NOT NULL,
    PRIMARY KEY (partition, id)
) WITHOUT ROWID;

-- What the verifiers know, sealed; of two at once that write, the one whose version is the next succeeds.
CREATE TABLE learned (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    state BLOB NOT NULL
) WITHOUT ROWID;
