-- Lines of batches that were handed over to a provider's own batch; each knows with which parcel it went.
ALTER TABLE tidegate.batch_lines ADD COLUMN parcel TEXT NOT NULL DEFAULT '';
CREATE INDEX batch_lines_by_parcel ON tidegate.batch_lines (parcel) WHERE parcel NOT IN ('', 'home');
CREATE TABLE tidegate.batch_parcels (
    id TEXT PRIMARY KEY,
    batch TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    lines BIGINT NOT NULL,
    made_ms BIGINT NOT NULL,
    state TEXT NOT NULL,           -- sending, away
    remote TEXT NOT NULL,          -- its id at the provider
    look_ms BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    lease TEXT NOT NULL,
    lease_ms BIGINT NOT NULL
);
