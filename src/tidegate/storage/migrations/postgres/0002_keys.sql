CREATE TABLE tidegate.keys (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT NOT NULL,
    env TEXT NOT NULL,
    digest BYTEA NOT NULL,
    pepper_version INTEGER NOT NULL,
    admin BOOLEAN NOT NULL,
    created_ms BIGINT NOT NULL,
    revoked_ms BIGINT
);
