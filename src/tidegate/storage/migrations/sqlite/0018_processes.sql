-- Who serves from this database: said again every ten seconds.
CREATE TABLE processes (
    id TEXT PRIMARY KEY,
    seen_ms INTEGER NOT NULL,
    said BLOB NOT NULL
);
