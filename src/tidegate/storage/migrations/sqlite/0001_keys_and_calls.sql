PRAGMA application_id = 1413955924;  -- "TGAT": this file is Tidegate's

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    env TEXT NOT NULL,
    digest BLOB NOT NULL,
    pepper_version INTEGER NOT NULL,
    admin INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
);

CREATE TABLE calls (
    seq INTEGER PRIMARY KEY,       -- the order in which calls ended
    id TEXT NOT NULL UNIQUE,
    at_ms INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    dialect TEXT NOT NULL,
    operation TEXT NOT NULL,
    route TEXT,
    target TEXT,
    outcome TEXT NOT NULL,
    status INTEGER NOT NULL,
    error TEXT,
    cost_nusd INTEGER,             -- NULL: not known
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    user TEXT,
    session TEXT,
    row BLOB NOT NULL              -- all of it, as JSON, through the vault
);

-- One row per spool: how far its records are in `calls`, and what they sum to.
CREATE TABLE spools (
    id TEXT PRIMARY KEY,
    segment INTEGER NOT NULL,
    byte INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    cost_nusd INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    tokens INTEGER NOT NULL
);
