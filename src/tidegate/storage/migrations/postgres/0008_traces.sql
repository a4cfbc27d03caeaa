ALTER TABLE tidegate.calls ADD COLUMN trace_id TEXT;  -- that the client sent
CREATE INDEX calls_by_trace ON tidegate.calls (trace_id, at_ms, seq) WHERE trace_id IS NOT NULL;
