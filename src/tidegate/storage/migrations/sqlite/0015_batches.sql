-- Files, and batches of questions. A line is the record of itself: what ends it stands in the same row, in the same step.
CREATE TABLE files (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    key_id TEXT NOT NULL,
    name BLOB NOT NULL,            -- sealed
    bytes INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,     -- deleted then
    holds TEXT NOT NULL,           -- input, output, errors
    batch TEXT NOT NULL            -- whose results it holds; they are rendered from its lines
);
CREATE INDEX files_by_key ON files (key_id, created_ms, id);
CREATE INDEX files_by_end ON files (until_ms);
CREATE TABLE file_parts (
    file TEXT NOT NULL,
    part INTEGER NOT NULL,
    body BLOB NOT NULL,            -- sealed
    PRIMARY KEY (file, part)
);
CREATE TABLE batches (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    key_id TEXT NOT NULL,
    dialect TEXT NOT NULL,
    state TEXT NOT NULL,           -- validating, in_progress, ended
    source TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    began_ms INTEGER,
    cancelled_ms INTEGER,
    ended_ms INTEGER,
    ended TEXT,                    -- completed, failed, cancelled, expired
    gone_ms INTEGER,               -- deleted then
    lease TEXT NOT NULL,           -- of who reads its lines
    lease_ms INTEGER NOT NULL,
    head BLOB NOT NULL,            -- sealed: what was said when it was made
    mistakes BLOB,                 -- sealed
    counts TEXT,                   -- once it has ended
    output TEXT,
    errors TEXT
);
CREATE INDEX batches_by_key ON batches (key_id, created_ms, id);
CREATE INDEX batches_unended ON batches (created_ms) WHERE state <> 'ended';
CREATE INDEX batches_by_end ON batches (gone_ms) WHERE gone_ms IS NOT NULL;
CREATE TABLE batch_lines (
    batch TEXT NOT NULL,
    line INTEGER NOT NULL,
    custom TEXT,                   -- a hash of its custom_id
    state TEXT NOT NULL,           -- pending, leased, done, failed, cancelled, expired
    at_ms INTEGER NOT NULL,        -- not asked before
    lease TEXT NOT NULL,
    lease_ms INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    subject TEXT NOT NULL,         -- an end user's alias
    asked BLOB,                    -- sealed; gone once it is answered
    said BLOB,                     -- sealed
    bytes INTEGER NOT NULL,        -- of the answer
    PRIMARY KEY (batch, line),
    UNIQUE (batch, custom)
);
CREATE INDEX batch_lines_open ON batch_lines (batch, line) WHERE state = 'pending';
CREATE INDEX batch_lines_leased ON batch_lines (lease) WHERE state = 'leased';
CREATE INDEX batch_lines_by_subject ON batch_lines (subject) WHERE subject <> '';
