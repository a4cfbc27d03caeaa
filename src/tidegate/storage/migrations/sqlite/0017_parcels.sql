-- Lines of batches that were handed over to a provider's own batch; each knows with which parcel it went.
ALTER TABLE batch_lines ADD COLUMN parcel TEXT NOT NULL DEFAULT '';
CREATE INDEX batch_lines_by_parcel ON batch_lines (parcel) WHERE parcel NOT IN ('', 'home');
CREATE TABLE batch_parcels (
    id TEXT PRIMARY KEY,
    batch TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    lines INTEGER NOT NULL,
    made_ms INTEGER NOT NULL,
    state TEXT NOT NULL,           -- sending, away
    remote TEXT NOT NULL,          -- its id at the provider
    look_ms INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    lease TEXT NOT NULL,
    lease_ms INTEGER NOT NULL
);
