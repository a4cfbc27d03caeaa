-- How long answers took, by the hour: calls in buckets that are five percent wide.
CREATE TABLE tidegate.times (
    hour BIGINT NOT NULL,
    route TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    what TEXT COLLATE "C" NOT NULL,  -- duration, or first: until there was content
    bucket BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    PRIMARY KEY (hour, route, target, what, bucket)
);

-- Which end users were there, by the day of UTC; as digests.
CREATE TABLE tidegate.active (
    day BIGINT NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    who BYTEA NOT NULL,
    organisation TEXT COLLATE "C" NOT NULL,
    team TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (day, key, who)
);

-- Sessions; after half an hour of silence another one begins.
CREATE TABLE tidegate.sessions (
    id BYTEA NOT NULL,  -- a digest of the key and what the client called it
    begin_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    asked_again BIGINT NOT NULL,  -- calls that said nearly what the one before had said
    organisation TEXT COLLATE "C" NOT NULL,
    team TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (id, begin_ms)
);

CREATE INDEX sessions_by_time ON tidegate.sessions (begin_ms);
