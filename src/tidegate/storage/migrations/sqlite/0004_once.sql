-- Calls that are made once, by the Idempotency-Key of whoever made them.
CREATE TABLE once (
    id TEXT PRIMARY KEY,
    holder TEXT NOT NULL,          -- the call that began it
    asked BLOB NOT NULL,           -- a digest
    until_ms INTEGER NOT NULL,     -- how long its holder has; once done, how long it is kept
    done BLOB                      -- what came of it, sealed
) WITHOUT ROWID;

CREATE INDEX once_by_time ON once (until_ms);
