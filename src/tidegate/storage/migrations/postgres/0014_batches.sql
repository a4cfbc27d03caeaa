-- Files, and batches of questions. A line is the record of itself: what ends it stands in the same row, in the same step.
CREATE TABLE tidegate.files (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    key_id TEXT NOT NULL,
    name BYTEA NOT NULL,            -- sealed
    bytes BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,     -- deleted then
    holds TEXT NOT NULL,           -- input, output, errors
    batch TEXT NOT NULL            -- whose results it holds; they are rendered from its lines
);
CREATE INDEX files_by_key ON tidegate.files (key_id, created_ms, id);
CREATE INDEX files_by_end ON tidegate.files (until_ms);
CREATE TABLE tidegate.file_parts (
    file TEXT NOT NULL,
    part BIGINT NOT NULL,
    body BYTEA NOT NULL,            -- sealed
    PRIMARY KEY (file, part)
);
CREATE TABLE tidegate.batches (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    key_id TEXT NOT NULL,
    dialect TEXT NOT NULL,
    state TEXT NOT NULL,           -- validating, in_progress, ended
    source TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    began_ms BIGINT,
    cancelled_ms BIGINT,
    ended_ms BIGINT,
    ended TEXT,                    -- completed, failed, cancelled, expired
    gone_ms BIGINT,               -- deleted then
    lease TEXT NOT NULL,           -- of who reads its lines
    lease_ms BIGINT NOT NULL,
    head BYTEA NOT NULL,            -- sealed: what was said when it was made
    mistakes BYTEA,                 -- sealed
    counts TEXT,                   -- once it has ended
    output TEXT,
    errors TEXT
);
CREATE INDEX batches_by_key ON tidegate.batches (key_id, created_ms, id);
CREATE INDEX batches_unended ON tidegate.batches (created_ms) WHERE state <> 'ended';
CREATE INDEX batches_by_end ON tidegate.batches (gone_ms) WHERE gone_ms IS NOT NULL;
CREATE TABLE tidegate.batch_lines (
    batch TEXT NOT NULL,
    line BIGINT NOT NULL,
    custom TEXT,                   -- a hash of its custom_id
    state TEXT NOT NULL,           -- pending, leased, done, failed, cancelled, expired
    at_ms BIGINT NOT NULL,        -- not asked before
    lease TEXT NOT NULL,
    lease_ms BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    subject TEXT NOT NULL,         -- an end user's alias
    asked BYTEA,                    -- sealed; gone once it is answered
    said BYTEA,                     -- sealed
    bytes BIGINT NOT NULL,        -- of the answer
    PRIMARY KEY (batch, line),
    UNIQUE (batch, custom)
);
CREATE INDEX batch_lines_open ON tidegate.batch_lines (batch, line) WHERE state = 'pending';
CREATE INDEX batch_lines_leased ON tidegate.batch_lines (lease) WHERE state = 'leased';
CREATE INDEX batch_lines_by_subject ON tidegate.batch_lines (subject) WHERE subject <> '';
