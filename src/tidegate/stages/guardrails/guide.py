"""What does the guide refuse at `/api/chat`? Its five patterns, whatever guards a route has."""

from __future__ import annotations

from tidegate.core.errors import Blocked
from tidegate.stages.guardrails.patterns import Patterns

PATTERNS = (
    r"(?i)ignore\s+(?:all\s+)?previous\s+instructions?",
    r"(?i)disregard\s+(?:all\s+)?(?:of\s+)?(?:the\s+)?above",
    r"(?i)\bsystem\s*:",
    r"\n{4,}",
    r"<\|im_start\|>",
)


class Guide:
    def __init__(self) -> None:
        self._patterns = Patterns(PATTERNS)

    def refuse(self, text: str) -> None:
        """Raises Blocked."""
        if self._patterns.which(text.encode("utf-8", "surrogatepass")):
            raise Blocked("user_input: this reads like an attempt to instruct the model; say it in other words")
