-- What administrators set while it runs, until its time is over: silences of alerts, the level of the log.
CREATE TABLE settings (
    id TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    until_ms INTEGER NOT NULL,
    by TEXT NOT NULL,              -- a key's id
    created_ms INTEGER NOT NULL
);
