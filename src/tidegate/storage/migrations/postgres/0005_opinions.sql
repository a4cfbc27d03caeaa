-- What was said of calls. Each counts in the hour in which its call began.
CREATE TABLE tidegate.opinions (
    id TEXT COLLATE "C" PRIMARY KEY,
    request_id TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL,
    hour BIGINT NOT NULL,
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
    source TEXT COLLATE "C" NOT NULL,
    opinions BIGINT NOT NULL,
    scored BIGINT NOT NULL,
    score_milli BIGINT NOT NULL,
    good BIGINT NOT NULL,
    bad BIGINT NOT NULL,
    tasks BIGINT NOT NULL,
    completed BIGINT NOT NULL,
    body BYTEA NOT NULL        -- all of it, as JSON, through the vault
);

CREATE INDEX opinions_by_request ON tidegate.opinions (request_id);
CREATE INDEX opinions_by_hour ON tidegate.opinions (hour);
