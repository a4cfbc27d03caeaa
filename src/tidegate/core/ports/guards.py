"""What may pass? What a guard of anybody's must be able to say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from tidegate.core.guard import Finding, Part, Passed

if TYPE_CHECKING:
    from tidegate.core.call import Call
    from tidegate.core.world import World


class Watch(Protocol):
    """A guard's look at one text that streams by. What it lets go can no longer become part of a finding.

    Whatever the pieces were, all that was let go, joined, is the text, and the findings are those of the whole.
    """

    def feed(self, text: str) -> Passed: ...

    def end(self) -> Passed:
        """Nothing more will come."""


class Guardrail(Protocol):
    """Looks for something in what people and models say. What is done about it, the route says."""

    fingerprint: str  # another one when it would find something else: answers are not shared across it

    async def check(self, call: Call, parts: Sequence[Part]) -> Sequence[Sequence[Finding]]:
        """What is found in each part of a request, in order of place, not overlapping. Long work is not done on the
        loop. Whatever is raised means: it has not looked."""

    def watch(self) -> Watch | None:
        """A look at one text of a reply; None: it cannot look at a text while that streams by."""


class Reach(NamedTuple):
    """What a guard may reach beside the texts.

    `world` is None where no Tidegate serves, in `tidegate guard try`: nobody can be asked there.
    """

    load: Callable[[str, str], Any]  # what is heavy or optional, by the table of plugins. Raises ConfigError
    world: World | None = None
    ask: Callable[[Call], Awaitable[str]] | None = None  # the front door, seen from inside


@runtime_checkable
class Reaching(Protocol):
    """A guard that asks somebody, or needs what is loaded only for it."""

    waits: bool  # for an answer from elsewhere: guards that only look are asked meanwhile

    def join(self, reach: Reach) -> None:
        """Once, before the first call. Raises ConfigError."""


@runtime_checkable
class Answering(Protocol):
    """A guard without a `watch` that looks at answers when they are whole."""

    async def check_answer(self, call: Call, parts: Sequence[Part]) -> Sequence[Sequence[Finding]]:
        """The same as `check`, of an answer: a part for each of its texts, with the role `assistant`."""
