-- What hits of a cache cost when they were bought.
ALTER TABLE tidegate.usage_hours ADD COLUMN saved_nusd BIGINT NOT NULL DEFAULT 0;
