-- The order in which calls ended, about: of two processes that write at once, the later number may be seen first.
CREATE SEQUENCE tidegate.calls_seq;

CREATE TABLE tidegate.calls (
    seq BIGINT NOT NULL DEFAULT nextval('tidegate.calls_seq'),
    id TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    organisation_id TEXT COLLATE "C",
    team_id TEXT COLLATE "C",
    dialect TEXT NOT NULL,
    operation TEXT NOT NULL,
    route TEXT,
    target TEXT,
    outcome TEXT NOT NULL,
    status INTEGER NOT NULL,
    error TEXT,
    cost_nusd BIGINT,              -- NULL: not known
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    "user" TEXT,
    session TEXT,
    "row" BYTEA NOT NULL,          -- all of it, as JSON, through the vault
    PRIMARY KEY (id, at_ms)
) PARTITION BY RANGE (at_ms);      -- a partition for each day, made when it is needed: calls_20261126

CREATE INDEX calls_by_seq ON tidegate.calls (seq);

-- One row per spool: how far its records are in `calls`, and what they sum to.
CREATE TABLE tidegate.spools (
    id TEXT COLLATE "C" PRIMARY KEY,
    segment BIGINT NOT NULL,
    byte BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    cost_nusd BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    tokens BIGINT NOT NULL
);

-- What calls sum to, hour by hour. Kept when the rows of the calls are deleted.
CREATE TABLE tidegate.usage_hours (
    hour BIGINT NOT NULL,          -- milliseconds since 1970
    digest BYTEA NOT NULL,         -- of the names
    organisation TEXT COLLATE "C" NOT NULL,
    team TEXT COLLATE "C" NOT NULL,
    "user" TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    end_user TEXT COLLATE "C" NOT NULL,
    route TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    operation TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    prompt TEXT COLLATE "C" NOT NULL,
    cache TEXT COLLATE "C" NOT NULL,
    calls BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,      -- calls whose cost is not known
    cost_nusd BIGINT NOT NULL,
    input BIGINT NOT NULL,
    cached_read BIGINT NOT NULL,
    cached_write BIGINT NOT NULL,
    cached_write_1h BIGINT NOT NULL,
    audio_input BIGINT NOT NULL,
    output BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    audio_output BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    overhead_us BIGINT NOT NULL,
    first_us BIGINT NOT NULL,
    firsts BIGINT NOT NULL,        -- calls that first_us sums over
    PRIMARY KEY (hour, digest)
);

CREATE INDEX usage_hours_by_key ON tidegate.usage_hours (key, hour);
