-- All trials of a unit lie together: units are counted some thousand after the other.
ALTER TABLE tidegate.trials
    DROP CONSTRAINT trials_pkey, ADD PRIMARY KEY (experiment, unit, stage, arm, call);
