-- How long answers took, by the hour: calls in buckets that are five percent wide.
CREATE TABLE times (
    hour INTEGER NOT NULL,
    route TEXT NOT NULL,
    target TEXT NOT NULL,
    what TEXT NOT NULL,            -- duration, or first: until there was content
    bucket INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    PRIMARY KEY (hour, route, target, what, bucket)
) WITHOUT ROWID;

-- Which end users were there, by the day of UTC; as digests.
CREATE TABLE active (
    day INTEGER NOT NULL,
    key TEXT NOT NULL,
    who BLOB NOT NULL,
    organisation TEXT NOT NULL,
    team TEXT NOT NULL,
    PRIMARY KEY (day, key, who)
) WITHOUT ROWID;

-- Sessions; after half an hour of silence another one begins.
CREATE TABLE sessions (
    id BLOB NOT NULL,              -- a digest of the key and what the client called it
    begin_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    asked_again INTEGER NOT NULL,  -- calls that said nearly what the one before had said
    organisation TEXT NOT NULL,
    team TEXT NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (id, begin_ms)
) WITHOUT ROWID;

CREATE INDEX sessions_by_time ON sessions (begin_ms);
