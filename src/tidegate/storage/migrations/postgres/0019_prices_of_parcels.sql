-- What a parcel was handed over at, as JSON; of those of before it is what the configuration says.
ALTER TABLE tidegate.batch_parcels ADD COLUMN price TEXT NOT NULL DEFAULT '';
