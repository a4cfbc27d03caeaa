-- All trials of a unit lie together: units are counted some thousand after the other.
ALTER TABLE trials RENAME TO trials_before;
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
    PRIMARY KEY (experiment, unit, stage, arm, call)
) WITHOUT ROWID;
INSERT INTO trials SELECT * FROM trials_before;
DROP TABLE trials_before;
