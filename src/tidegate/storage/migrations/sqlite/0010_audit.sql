-- What was done, entry by entry, each holding on to the one before of the same writer. Never changed; `entry` is emptied
-- where entries are not kept for ever.
CREATE TABLE audit (
    writer TEXT NOT NULL,          -- a spool, or who has none
    seq INTEGER NOT NULL,          -- from 0
    hash BLOB NOT NULL,            -- of the entry, as a leaf of RFC 9162
    entry BLOB NOT NULL,           -- canonical JSON
    id TEXT NOT NULL,              -- of the call, or of what was done
    at_ms INTEGER NOT NULL,
    subject TEXT NOT NULL,         -- the alias of the end user
    PRIMARY KEY (writer, seq)
);

CREATE INDEX audit_by_time ON audit (at_ms, id);
CREATE INDEX audit_by_id ON audit (id);
CREATE INDEX audit_by_subject ON audit (subject) WHERE subject <> '';

-- The state of a chain, signed.
CREATE TABLE audit_checkpoints (
    writer TEXT NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    note TEXT NOT NULL,
    peaks BLOB NOT NULL,           -- what the next one is made from
    exported INTEGER NOT NULL,
    PRIMARY KEY (writer, size)
);

-- What was said in calls of routes that keep it, sealed.
CREATE TABLE bodies (
    id TEXT PRIMARY KEY,           -- of the call
    at_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    subject TEXT NOT NULL,         -- the alias of the end user
    team TEXT NOT NULL,
    key_id TEXT NOT NULL,
    body BLOB NOT NULL             -- all of it, through the vault
);

CREATE INDEX bodies_by_end ON bodies (until_ms);
CREATE INDEX bodies_by_subject ON bodies (subject) WHERE subject <> '';
