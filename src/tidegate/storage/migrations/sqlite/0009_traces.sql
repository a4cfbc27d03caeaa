ALTER TABLE calls ADD COLUMN trace_id TEXT;  -- that the client sent
CREATE INDEX calls_by_trace ON calls (trace_id, at_ms) WHERE trace_id IS NOT NULL;
