-- What is tried on a share of the units, as it stands, and what was decided about it.
CREATE TABLE tidegate.experiments (
    place BIGINT GENERATED ALWAYS AS IDENTITY,
    id TEXT COLLATE "C" PRIMARY KEY,  -- its name, and which one of that name it is
    name TEXT NOT NULL,
    spec TEXT NOT NULL,               -- JSON: never changed
    salt TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    by TEXT NOT NULL,                 -- a key's id
    state TEXT NOT NULL,
    stage BIGINT NOT NULL,
    since_ms BIGINT NOT NULL,
    steps BIGINT NOT NULL,            -- decisions so far
    why TEXT NOT NULL,
    arm TEXT NOT NULL,                -- that was promoted
    archived_ms BIGINT NOT NULL
);

CREATE TABLE tidegate.decisions (
    place BIGINT GENERATED ALWAYS AS IDENTITY,
    id TEXT COLLATE "C" PRIMARY KEY,  -- the experiment's, and the number of the step: of two at once, one
    experiment TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    did TEXT NOT NULL,
    was_state TEXT NOT NULL,
    was_stage BIGINT NOT NULL,
    state TEXT NOT NULL,
    stage BIGINT NOT NULL,
    by TEXT NOT NULL,
    why TEXT NOT NULL,
    inputs TEXT NOT NULL,             -- JSON: what it followed from
    arm TEXT NOT NULL
);

-- What each call that counts was to each experiment that it was part of.
CREATE TABLE tidegate.trials (
    experiment TEXT COLLATE "C" NOT NULL,
    stage BIGINT NOT NULL,
    arm TEXT COLLATE "C" NOT NULL,
    unit TEXT COLLATE "C" NOT NULL,   -- a digest
    call TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    answered BIGINT NOT NULL,
    took_us BIGINT NOT NULL,          -- of one that was answered
    begun BIGINT NOT NULL,
    first_us BIGINT NOT NULL,
    priced BIGINT NOT NULL,
    cost_nusd BIGINT NOT NULL,
    guarded BIGINT NOT NULL,
    asked_again BIGINT NOT NULL,
    PRIMARY KEY (experiment, stage, arm, unit, call)
);
