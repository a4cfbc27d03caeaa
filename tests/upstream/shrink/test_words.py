"""Which words of a text count, and which of them are the same?"""

from __future__ import annotations

import pytest

from tidegate.upstream.shrink.words import like, words


def test_words_that_say_little_do_not_count() -> None:
    assert words("How many of the gates were opened in 1.5 hours?") == ["many", "gate", "open", "1.5", "hour"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("opened", "opening"), ("cities", "city"), ("churches", "church"), ("planned", "planning"), ("gates", "gate")],
)
def test_endings_make_no_other_word(one: str, other: str) -> None:
    assert words(one) == words(other)


@pytest.mark.parametrize("word", ["glass", "status", "analysis", "falling", "red"])
def test_what_is_no_ending_stays(word: str) -> None:
    assert words(word)[0][:3] == word[:3]


def test_scripts_without_blanks_are_read_in_pairs() -> None:
    assert words("東京都 abc") == ["東京", "京都", "abc"]


def test_a_word_is_found_that_begins_alike_or_is_spelt_nearly_alike() -> None:
    assert like("septicemia", {"septicemic", "september"}) == {"septicemic": 0.7}
    assert like("harbuor", {"harbour", "hammer"}) == {"harbour": 0.6}
    assert like("cat", {"cats"}) == {}
