-- What was done, entry by entry, each holding on to the one before of the same writer. Never changed; `entry` is emptied
-- where entries are not kept for ever.
CREATE TABLE tidegate.audit (
    writer TEXT COLLATE "C" NOT NULL,          -- a spool, or who has none
    seq BIGINT NOT NULL,          -- from 0
    hash BYTEA NOT NULL,            -- of the entry, as a leaf of RFC 9162
    entry BYTEA NOT NULL,           -- canonical JSON
    id TEXT COLLATE "C" NOT NULL,              -- of the call, or of what was done
    at_ms BIGINT NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,         -- the alias of the end user
    PRIMARY KEY (writer, seq)
);

CREATE INDEX audit_by_time ON tidegate.audit (at_ms, id);
CREATE INDEX audit_by_id ON tidegate.audit (id);
CREATE INDEX audit_by_subject ON tidegate.audit (subject) WHERE subject <> '';

-- The state of a chain, signed.
CREATE TABLE tidegate.audit_checkpoints (
    writer TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    root BYTEA NOT NULL,
    at_ms BIGINT NOT NULL,
    note TEXT COLLATE "C" NOT NULL,
    peaks BYTEA NOT NULL,           -- what the next one is made from
    exported BIGINT NOT NULL,
    PRIMARY KEY (writer, size)
);

-- What was said in calls of routes that keep it, sealed.
CREATE TABLE tidegate.bodies (
    id TEXT COLLATE "C" PRIMARY KEY,           -- of the call
    at_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    tenant TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,         -- the alias of the end user
    team TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL             -- all of it, through the vault
);

CREATE INDEX bodies_by_end ON tidegate.bodies (until_ms);
CREATE INDEX bodies_by_subject ON tidegate.bodies (subject) WHERE subject <> '';
