ALTER TABLE usage_hours ADD COLUMN saved_nusd INTEGER NOT NULL DEFAULT 0;  -- what hits cost when they were bought
