from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.core.call import Event
from tidegate.core.chat import Channel
from tidegate.core.guard import Finding
from tidegate.stages.guardrails import Guard, pii, secrets
from tidegate.stages.guardrails.masks import Masks, Placeholders, Restoring, masked
from tidegate.stages.guardrails.replies import Looks, Rewriting
from tidegate.stages.guardrails.units import LONGEST, Overlong, UnitGuard, UnitWatch, around, found, units

GUARDS = (pii.Pii(pii.Config()), secrets.Secrets(secrets.Config(), ["sk_house_4711_key"]))
PIECES = (
    "bob@example.com", "4111 1111 1111 1111", "GB82 WEST 1234 5698 7654 32", "+49 30 901820", "born on 12 March 1985",
    "password: hunter2hunter9", "ghp_" + "a1B2c3D4e5F6" * 3, "-----BEGIN RSA PRIVATE KEY-----\nMIIEpQIBAAKCAQEAn6\n",
    "-----END RSA PRIVATE KEY-----", "sk_house_4711_key", "1 2 3", "the quick brown", "10.1.2.3",
    "call", "SSN", "078-05-1120", "078051120", "(266) 539-4937", "2024-03-10", "id", "8001015009087", "token", "=",
    ": ", "8652dbd0-e488-46c8-9ad3-ba328332f05a", "a1B2c3D4e5F6a1B2c3", "12/3/85", "Mar", "2001:db8::7:1", "12 34",
    "A", "\n", " ", ", ",
    "é", "漢字", '"',
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=12).map("".join)


def streamed(guard: UnitGuard, pieces: list[str]) -> tuple[str, list[Finding]]:
    watch = guard.watch()
    text, findings = "", []
    for passed in [*(watch.feed(piece) for piece in pieces), watch.end()]:
        findings += [one._replace(start=one.start + len(text), end=one.end + len(text)) for one in passed.findings]
        text += passed.text
    return text, findings


def cut(text: str, sizes: list[int]) -> list[str]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size
    return [*pieces, text[at:]]


EXAMPLES = int(os.environ.get("TIDEGATE_GUARD_EXAMPLES", "400"))  # 100000 for the whole claim: some twenty minutes
CHANNELS = (Channel(), Channel(0, "reasoning"), Channel(1), Channel(0, "tool", 1))


@pytest.mark.parametrize("guard", GUARDS, ids=["pii", "secrets"])
@settings(max_examples=EXAMPLES, deadline=None)
@given(text=TEXTS, sizes=st.lists(st.integers(0, 9), max_size=60))
def test_what_is_found_in_a_stream_is_what_is_found_in_the_whole(guard: UnitGuard, text: str, sizes: list[int]):
    passed, findings = streamed(guard, cut(text, sizes))
    assert passed == text
    assert findings == guard.look(text)


@pytest.mark.parametrize("guard", GUARDS, ids=["pii", "secrets"])
@settings(max_examples=EXAMPLES, deadline=None)
@given(text=TEXTS)
def test_nothing_is_found_where_there_is_no_hint_of_it(guard: UnitGuard, text: str):
    """What is not looked at has nothing in it: all of a text, unit by unit, says the same."""
    assert guard.look(text) == list(found(guard.begin(), text, units(text, ended=True)[0]))


@settings(max_examples=EXAMPLES, deadline=None)
@given(text=TEXTS, place=st.integers(0, 200), size=st.integers(1, 20), more=st.integers(0, 40))
def test_a_unit_is_the_same_whether_it_was_found_from_its_middle_or_from_the_beginning(
    text: str, place: int, size: int, more: int
):
    places = [(place, place + size), (place + more, place + more + size)]
    everything = units(text, ended=True)[0]
    assert list(around(text, places)) == [
        one for one in everything if any(one.start < end and start < one.end for start, end in places)
    ]


def test_a_number_that_goes_on_for_ever_is_cut_in_the_same_places():
    text = "A 1 " * 2_000
    everything = units(text, ended=True)[0]
    assert len(everything) > 3
    assert list(around(text, [(5_000, 5_001)])) == [one for one in everything if one.start <= 5_000 < one.end]


class Said(Event):
    """An event that says something in some channels, by number."""

    def __init__(self, texts: dict[int, str], *, last: bool = False) -> None:
        super().__init__(opens=True, last=last)
        self.said = texts

    def places(self) -> list[tuple[Channel, str, str]]:
        return [(CHANNELS[at], str(at), text) for at, text in self.said.items()]

    def rewritten(self, texts: Mapping[str, tuple[str, str]]) -> Said:
        return Said(self.said | {int(path): new for path, (_, new) in texts.items()}, last=self.last)

    def more(self, channel: Channel, text: str) -> Said:
        return Said({CHANNELS.index(channel): text})


def joined(events: Sequence[Event]) -> list[str]:
    """What is said in each channel."""
    return ["".join(one.said.get(at, "") for one in events if isinstance(one, Said)) for at in range(len(CHANNELS))]


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    texts=st.tuples(*[TEXTS] * len(CHANNELS)),
    steps=st.lists(st.tuples(st.integers(0, len(CHANNELS) - 1), st.integers(1, 9)), max_size=60),
)
def test_of_each_channel_comes_what_its_whole_text_would_have_become(
    texts: tuple[str, ...], steps: list[tuple[int, int]]
):
    masks, guards = Masks(b"key"), [Guard("pii", "hash", True, GUARDS[0]), Guard("secrets", "mask", True, GUARDS[1])]
    looks = Looks(None, guards, masks, lambda *_: None)  # type: ignore[arg-type]
    rewriting, left, out = Rewriting(looks.begin), list(texts), list[Event]()
    for at, size in steps:
        piece, left[at] = left[at][:size], left[at][size:]
        out += rewriting.feed([Said({at: piece})])
    out += rewriting.feed([Said(dict(enumerate(left))), Said({}, last=True)])
    whole = []
    for text in texts:
        for guard in guards:
            text = masked(text, guard.looks.look(text), guard.action, masks)  # type: ignore[attr-defined]
        whole.append(text)
    assert joined(out) == whole


def test_of_clean_text_a_word_is_held_back_and_no_more():
    watch = GUARDS[0].watch()
    assert watch.feed("the quick bro").text == "the quick "
    assert watch.feed("wn fox").text == "brown "


def test_a_number_in_groups_is_held_back_until_it_ends():
    watch = GUARDS[0].watch()
    assert watch.feed("card 4111 1111 ").text == "card "
    assert watch.feed("1111 1111").text == ""
    passed = watch.feed(" and more")
    assert [one.rule for one in passed.findings] == ["card"]


def test_what_never_ends_is_not_held_for_ever():
    watch = UnitWatch(GUARDS[0].begin())
    with pytest.raises(Overlong):
        for _ in range(LONGEST // 1000 + 2):
            watch.feed("a" * 1000)


@settings(max_examples=400, deadline=None)
@given(
    text=st.lists(st.sampled_from(["[[EMAIL_1]]", "[[", "]]", "[[=EMAIL_1]]", "[[EMAIL_2]", "hi"]), max_size=12).map(
        "".join
    ),
    sizes=st.lists(st.integers(0, 5), max_size=40),
)
def test_a_value_comes_back_however_its_placeholder_was_cut(text: str, sizes: list[int]):
    values = {"[[EMAIL_1]]": "bob@example.com", "[[=EMAIL_1]]": "[[EMAIL_1]]"}
    one = Restoring(values)
    assert "".join([*(one.feed(piece) for piece in cut(text, sizes)), one.end()]) == Restoring(values)._restored(text)


def test_equal_values_have_one_placeholder_and_what_only_looks_like_one_comes_back():
    hidden = Placeholders()
    text = hidden.escaped("[[EMAIL_1]] a@b.com c@d.com a@b.com")
    said = masked(text, GUARDS[0].look(text), "placeholder", Masks(), hidden)
    assert said == "[[=EMAIL_1]] [[EMAIL_1]] [[EMAIL_2]] [[EMAIL_1]]"
    one = Restoring(hidden.values)
    assert one.feed(said) + one.end() == "[[EMAIL_1]] a@b.com c@d.com a@b.com"


def test_a_hash_says_which_values_are_equal_and_not_what_they_are():
    masks = Masks(b"key")
    text = "a@b.com a@b.com"
    first, second = masked(text, GUARDS[0].look(text), "hash", masks).split()
    assert first == second != masked("x@b.com", GUARDS[0].look("x@b.com"), "hash", masks)
    assert first.startswith("[EMAIL:")
