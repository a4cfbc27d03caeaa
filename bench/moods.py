"""What does a provider do to one call? Scripts for tidegate.providers.scripted, as soak and storm send them along."""

from __future__ import annotations

from typing import Any

Mood = dict[str, Any]

HEALTHY: tuple[Mood, ...] = (
    {},
    {"text": "one two three four five six", "between": "3ms", "framing": "length"},
    {"text": "one two three four", "before": "10ms", "trickle": 40},
)
FAILS: Mood = {"status": 503}
STALLS: Mood = {"text": "one two three", "cut_off": 1, "then": "stall"}
FAULTY: tuple[Mood, ...] = (
    {"status": 429, "headers": {"retry-after": "0.01"}},
    {"status": 400},
    {"cut_off": 0},
    {"text": "one two three", "cut_off": 2, "between": "1ms"},
    {"text": "one two three", "cut_off": 1, "then": "reset"},
    {"raw": "bm90IEhUVFA="},
    {"body": "<html>", "headers": {"content-type": "text/html"}},
)
