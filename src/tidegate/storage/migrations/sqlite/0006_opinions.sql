-- What was said of calls. Each counts in the hour in which its call began.
CREATE TABLE opinions (
    id TEXT PRIMARY KEY,
    request_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    organisation TEXT NOT NULL,
    team TEXT NOT NULL,
    user TEXT NOT NULL,
    key TEXT NOT NULL,
    end_user TEXT NOT NULL,
    route TEXT NOT NULL,
    target TEXT NOT NULL,
    operation TEXT NOT NULL,
    outcome TEXT NOT NULL,
    kind TEXT NOT NULL,
    prompt TEXT NOT NULL,
    cache TEXT NOT NULL,
    source TEXT NOT NULL,
    opinions INTEGER NOT NULL,
    scored INTEGER NOT NULL,
    score_milli INTEGER NOT NULL,
    good INTEGER NOT NULL,
    bad INTEGER NOT NULL,
    tasks INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    body BLOB NOT NULL         -- all of it, as JSON, through the vault
);

CREATE INDEX opinions_by_request ON opinions (request_id);
CREATE INDEX opinions_by_hour ON opinions (hour);
