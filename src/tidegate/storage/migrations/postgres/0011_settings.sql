-- What administrators set while it runs, until its time is over: silences of alerts, the level of the log.
CREATE TABLE tidegate.settings (
    place BIGINT GENERATED ALWAYS AS IDENTITY,
    id TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL,
    until_ms BIGINT NOT NULL,
    by TEXT NOT NULL,              -- a key's id
    created_ms BIGINT NOT NULL
);
