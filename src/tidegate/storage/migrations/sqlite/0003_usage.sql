ALTER TABLE calls ADD COLUMN organisation_id TEXT;
ALTER TABLE calls ADD COLUMN team_id TEXT;
CREATE INDEX calls_by_time ON calls (at_ms);  -- so that old ones are found and deleted

-- What calls sum to, hour by hour. Kept when the rows of the calls are deleted.
CREATE TABLE usage_hours (
    hour INTEGER NOT NULL,         -- milliseconds since 1970
    digest BLOB NOT NULL,          -- of the names
    organisation TEXT NOT NULL,
    team TEXT NOT NULL,
    user TEXT NOT NULL,            -- whom the key belongs to
    key TEXT NOT NULL,
    end_user TEXT NOT NULL,        -- whom the client named
    route TEXT NOT NULL,
    target TEXT NOT NULL,
    operation TEXT NOT NULL,
    outcome TEXT NOT NULL,
    kind TEXT NOT NULL,
    prompt TEXT NOT NULL,
    cache TEXT NOT NULL,
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,     -- calls whose cost is not known
    cost_nusd INTEGER NOT NULL,
    input INTEGER NOT NULL,
    cached_read INTEGER NOT NULL,
    cached_write INTEGER NOT NULL,
    cached_write_1h INTEGER NOT NULL,
    audio_input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    audio_output INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    overhead_us INTEGER NOT NULL,
    first_us INTEGER NOT NULL,
    firsts INTEGER NOT NULL,       -- calls that first_us sums over
    PRIMARY KEY (hour, digest)
) WITHOUT ROWID;

CREATE INDEX usage_hours_by_key ON usage_hours (key, hour);
