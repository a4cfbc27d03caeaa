-- What whole days sum to, made of their hours when they are over: of the days in `folded_days`, and of no other.
CREATE TABLE folded_days (day INTEGER PRIMARY KEY);

-- usage_hours, without end users.
CREATE TABLE usage_days (
    day INTEGER NOT NULL,
    organisation TEXT NOT NULL,
    team TEXT NOT NULL,
    user TEXT NOT NULL,
    key TEXT NOT NULL,
    route TEXT NOT NULL,
    target TEXT NOT NULL,
    operation TEXT NOT NULL,
    outcome TEXT NOT NULL,
    kind TEXT NOT NULL,
    prompt TEXT NOT NULL,
    cache TEXT NOT NULL,
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
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
    firsts INTEGER NOT NULL,
    saved_nusd INTEGER NOT NULL
);

CREATE INDEX usage_days_by_day ON usage_days (day);

-- usage_hours, by whom the client named and whose key it was.
CREATE TABLE end_user_days (
    day INTEGER NOT NULL,
    organisation TEXT NOT NULL,
    team TEXT NOT NULL,
    user TEXT NOT NULL,
    key TEXT NOT NULL,
    end_user TEXT NOT NULL,
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
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
    firsts INTEGER NOT NULL,
    saved_nusd INTEGER NOT NULL
);

CREATE INDEX end_user_days_by_day ON end_user_days (day);

-- times.
CREATE TABLE times_days (
    day INTEGER NOT NULL,
    route TEXT NOT NULL,
    target TEXT NOT NULL,
    what TEXT NOT NULL,
    counts TEXT NOT NULL  -- calls by bucket, as JSON: there are fifty buckets, and one line is read in their place
);

CREATE INDEX times_days_by_day ON times_days (day);

-- sessions that began on it.
CREATE TABLE session_days (
    day INTEGER NOT NULL,
    organisation TEXT NOT NULL,
    team TEXT NOT NULL,
    key TEXT NOT NULL,
    sessions INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    lasted_ms INTEGER NOT NULL,
    asked_again INTEGER NOT NULL
);

CREATE INDEX session_days_by_day ON session_days (day);
