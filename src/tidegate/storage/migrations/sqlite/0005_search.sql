-- By what calls are searched.
ALTER TABLE calls ADD COLUMN kind TEXT NOT NULL DEFAULT 'live';
ALTER TABLE calls ADD COLUMN cache TEXT;
ALTER TABLE calls ADD COLUMN guards TEXT;  -- what they had to say: ' pii:mask:input '
CREATE INDEX calls_by_key ON calls (key_id, at_ms);
CREATE INDEX calls_by_user ON calls (user, at_ms) WHERE user IS NOT NULL;
CREATE INDEX calls_by_session ON calls (session, at_ms) WHERE session IS NOT NULL;
