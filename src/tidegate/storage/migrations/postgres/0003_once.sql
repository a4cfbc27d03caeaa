-- Calls that are made once, by the Idempotency-Key of whoever made them.
CREATE TABLE tidegate.once (
    id TEXT COLLATE "C" PRIMARY KEY,
    holder TEXT NOT NULL,          -- the call that began it
    asked BYTEA NOT NULL,          -- a digest
    until_ms BIGINT NOT NULL,      -- how long its holder has; once done, how long it is kept
    done BYTEA                     -- what came of it, sealed
);

CREATE INDEX once_by_time ON tidegate.once (until_ms);
