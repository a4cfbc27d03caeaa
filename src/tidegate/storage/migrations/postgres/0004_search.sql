-- By what calls are searched.
ALTER TABLE tidegate.calls ADD COLUMN kind TEXT NOT NULL DEFAULT 'live';
ALTER TABLE tidegate.calls ADD COLUMN cache TEXT;
ALTER TABLE tidegate.calls ADD COLUMN guards TEXT;  -- what they had to say: ' pii:mask:input '
CREATE INDEX calls_by_time ON tidegate.calls (at_ms, seq);
CREATE INDEX calls_by_key ON tidegate.calls (key_id, at_ms, seq);
CREATE INDEX calls_by_user ON tidegate.calls ("user", at_ms, seq) WHERE "user" IS NOT NULL;
CREATE INDEX calls_by_session ON tidegate.calls (session, at_ms, seq) WHERE session IS NOT NULL;
