-- What whole days sum to, made of their hours when they are over: of the days in `folded_days`, and of no other.
CREATE TABLE tidegate.folded_days (day BIGINT PRIMARY KEY);

-- usage_hours, without end users.
CREATE TABLE tidegate.usage_days (
    day BIGINT NOT NULL,
    organisation TEXT COLLATE "C" NOT NULL,
    team TEXT COLLATE "C" NOT NULL,
    "user" TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    route TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    operation TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    prompt TEXT COLLATE "C" NOT NULL,
    cache TEXT COLLATE "C" NOT NULL,
    calls BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
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
    firsts BIGINT NOT NULL,
    saved_nusd BIGINT NOT NULL
);

CREATE INDEX usage_days_by_day ON tidegate.usage_days (day);

-- usage_hours, by whom the client named and whose key it was.
CREATE TABLE tidegate.end_user_days (
    day BIGINT NOT NULL,
    organisation TEXT COLLATE "C" NOT NULL,
    team TEXT COLLATE "C" NOT NULL,
    "user" TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    end_user TEXT COLLATE "C" NOT NULL,
    calls BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
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
    firsts BIGINT NOT NULL,
    saved_nusd BIGINT NOT NULL
);

CREATE INDEX end_user_days_by_day ON tidegate.end_user_days (day);

-- times.
CREATE TABLE tidegate.times_days (
    day BIGINT NOT NULL,
    route TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    what TEXT COLLATE "C" NOT NULL,
    counts TEXT NOT NULL  -- calls by bucket, as JSON: there are fifty buckets, and one line is read in their place
);

CREATE INDEX times_days_by_day ON tidegate.times_days (day);

-- sessions that began on it.
CREATE TABLE tidegate.session_days (
    day BIGINT NOT NULL,
    organisation TEXT COLLATE "C" NOT NULL,
    team TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    sessions BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    lasted_ms BIGINT NOT NULL,
    asked_again BIGINT NOT NULL
);

CREATE INDEX session_days_by_day ON tidegate.session_days (day);
