-- Who serves from this database: said again every ten seconds.
CREATE TABLE tidegate.processes (
    id TEXT PRIMARY KEY,
    seen_ms BIGINT NOT NULL,
    said BYTEA NOT NULL
);
