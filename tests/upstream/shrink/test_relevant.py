"""What of the context of a turn is not asked for?"""

from __future__ import annotations

from tidegate.upstream.shrink.parts import Part
from tidegate.upstream.shrink.relevant import relevant

GATE = "The gate opens at six. Its keeper is Ann Moor, who lives beside it with a dog and two grey horses."
OTHERS = "\n\n".join(
    f"The town of {name} lies on a wide river. It has a church and a mill. " * 4 for name in "ABCDEFGH"
)
CONTEXT = f"{OTHERS}\n\n{GATE}"


def test_context_is_left_out_that_is_not_asked_for() -> None:
    [text] = relevant([Part("p", f"{CONTEXT}\n\nQuestion: When does the gate open?", 0, False)], 0.5)
    assert GATE in text and text.endswith("\n\nQuestion: When does the gate open?")
    assert len(text) < 0.6 * len(CONTEXT)


def test_a_message_becomes_the_same_whatever_comes_after_it() -> None:
    asks, seen = Part("a", "When does the gate open?", 0, False), Part("b", CONTEXT, 2, True)
    later = Part("c", CONTEXT.replace("six", "ten"), 4, True)
    assert relevant([asks, seen], 0.5) == relevant([asks, seen, later], 0.5)[:2]


def test_without_a_question_nothing_goes() -> None:
    assert relevant([Part("a", CONTEXT, 0, True)], 0.5) == [CONTEXT]
