-- What is tried on a share of the units, as it stands, and what was decided about it.
CREATE TABLE experiments (
    id TEXT PRIMARY KEY,           -- its name, and which one of that name it is
    name TEXT NOT NULL,
    spec TEXT NOT NULL,            -- JSON: never changed
    salt TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    by TEXT NOT NULL,              -- a key's id
    state TEXT NOT NULL,
    stage INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    steps INTEGER NOT NULL,        -- decisions so far
    why TEXT NOT NULL,
    arm TEXT NOT NULL,             -- that was promoted
    archived_ms INTEGER NOT NULL
);

CREATE TABLE decisions (
    id TEXT PRIMARY KEY,           -- the experiment's, and the number of the step: of two at once, one
    experiment TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    did TEXT NOT NULL,
    was_state TEXT NOT NULL,
    was_stage INTEGER NOT NULL,
    state TEXT NOT NULL,
    stage INTEGER NOT NULL,
    by TEXT NOT NULL,
    why TEXT NOT NULL,
    inputs TEXT NOT NULL,          -- JSON: what it followed from
    arm TEXT NOT NULL
);

-- What each call that counts was to each experiment that it was part of.
CREATE TABLE trials (
    experiment TEXT NOT NULL,
    stage INTEGER NOT NULL,
    arm TEXT NOT NULL,
    unit TEXT NOT NULL,            -- a digest
    call TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    answered INTEGER NOT NULL,
    took_us INTEGER NOT NULL,      -- of one that was answered
    begun INTEGER NOT NULL,
    first_us INTEGER NOT NULL,
    priced INTEGER NOT NULL,
    cost_nusd INTEGER NOT NULL,
    guarded INTEGER NOT NULL,
    asked_again INTEGER NOT NULL,
    PRIMARY KEY (experiment, stage, arm, unit, call)
) WITHOUT ROWID;
