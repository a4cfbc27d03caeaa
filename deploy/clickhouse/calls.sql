-- A row for each call that Tidegate closed: sinks.clickhouse inserts into it.
-- clickhouse-client --multiquery < deploy/clickhouse/calls.sql
CREATE DATABASE IF NOT EXISTS tidegate;

CREATE TABLE IF NOT EXISTS tidegate.calls
(
    id String,
    at_ms Int64,                                         -- when it began, since 1970
    at DateTime64(3, 'UTC') MATERIALIZED fromUnixTimestamp64Milli(at_ms),
    organisation_id LowCardinality(String),
    team_id LowCardinality(String),
    user_id String,                                      -- whom the key belongs to
    key_id LowCardinality(String),
    user String,                                         -- whom the client named; an alias where there is a vault
    session String,
    dialect LowCardinality(String),
    operation LowCardinality(String),
    kind LowCardinality(String),
    route LowCardinality(String),
    model LowCardinality(String),                        -- as it was asked for
    target LowCardinality(String),                       -- provider/model that answered
    outcome LowCardinality(String),
    status UInt16,
    error LowCardinality(String),
    stream Bool,
    duration_us Int64,
    overhead_us Int64,
    first_us Nullable(Int64),                            -- until the first word; null where there was none
    input Int64,
    cached_read Int64,
    cached_write Int64,
    cached_write_1h Int64,
    audio_input Int64,
    output Int64,
    reasoning Int64,
    audio_output Int64,
    usage_estimated Bool,
    cost_nusd Nullable(Int64),                           -- null where a price is not known
    saved_nusd Int64,
    cache LowCardinality(String),                        -- hit, miss, shared, bypass; '' where it was not asked
    cache_layer LowCardinality(String),
    deduplicated Bool,
    asked_again Bool,
    prompt LowCardinality(String),
    guards Array(LowCardinality(String)),
    tags Array(String),
    trace_id String,
    purpose LowCardinality(String),
    parent String,
    shrunk_level LowCardinality(String),                 -- lossless, relevant; '' where it was sent as it came
    shrunk_before Int64,                                 -- tokens, by estimate
    shrunk_after Int64,
    tier LowCardinality(String),                         -- that was asked first; '' where the route has none
    tier_why LowCardinality(String),
    tier_hard Float64,                                   -- how hard the question looked: 0 is like most
    tier_chances Array(Float64),                         -- of each tier to answer well, cheapest first
    tier_beside LowCardinality(String),                  -- the tier that was asked, too, in the background
    tier_share Float64,                                  -- how likely it was that it would be
    tier_checks Array(LowCardinality(String)),           -- what became of each answer of a cascade
    attempt Nested
    (
        target LowCardinality(String),
        outcome LowCardinality(String),
        why LowCardinality(String),
        status UInt16,
        duration_us Int64,
        cost_nusd Nullable(Int64)
    )
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(at_ms))
ORDER BY (organisation_id, team_id, at_ms, id)
TTL toDateTime(fromUnixTimestamp64Milli(at_ms)) + INTERVAL 13 MONTH
-- An insert that is sent again has the token of the first, and counts once.
SETTINGS non_replicated_deduplication_window = 1000;

-- A table that is older than these columns gets them so; until then they are left out of what is inserted.
ALTER TABLE tidegate.calls
ADD COLUMN IF NOT EXISTS shrunk_level LowCardinality(String),
ADD COLUMN IF NOT EXISTS shrunk_before Int64,
ADD COLUMN IF NOT EXISTS shrunk_after Int64,
ADD COLUMN IF NOT EXISTS tier LowCardinality(String),
ADD COLUMN IF NOT EXISTS tier_why LowCardinality(String),
ADD COLUMN IF NOT EXISTS tier_hard Float64,
ADD COLUMN IF NOT EXISTS tier_chances Array(Float64),
ADD COLUMN IF NOT EXISTS tier_beside LowCardinality(String),
ADD COLUMN IF NOT EXISTS tier_share Float64,
ADD COLUMN IF NOT EXISTS tier_checks Array(LowCardinality(String));
