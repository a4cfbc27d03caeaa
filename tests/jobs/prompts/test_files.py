"""A prompt goes into a file and comes back the same, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.errors import ConfigError
from tidegate.core.prompts import Spoken, Variable, Wording
from tidegate.jobs.prompts.files import Found, found, in_order, wording_of, written

TEXT = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")) | st.sampled_from("\n-{}# "), max_size=60
)
ROLES = st.sampled_from(["system", "developer", "user", "assistant"])
SPOKEN = st.builds(Spoken, ROLES, TEXT | st.sampled_from(["--- user", "x\n--- system\ny", "---", "\n", "a\r\nb"]))
MORE = st.fixed_dictionaries({
    "parameters": st.dictionaries(st.sampled_from(["temperature", "stop"]), st.integers() | TEXT, max_size=2),
    "variables": st.sampled_from([(), (Variable("a", "text", default="x: y"), Variable("b", required=False))]),
    "response_schema": st.none() | st.just({"type": "object", "properties": {"yes": {"type": "boolean"}}}),
})  # fmt: skip


@given(st.lists(SPOKEN, min_size=1, max_size=4), MORE)
def test_messages_come_back_as_they_were(messages, more):
    wording = Wording(messages=tuple(messages), **more)
    assert wording_of(found(written(wording), "x.md", "x").fields) == wording


@given(TEXT | st.sampled_from(["---\na: b\n---\n", "--- user", "x\r\n"]), MORE)
def test_a_text_comes_back_as_it_was(text, more):
    wording = Wording(template=text or "x", **more)
    assert wording_of(found(written(wording), "x.md", "x").fields) == wording


def test_it_is_made_to_be_read():
    wording = Wording(
        messages=(Spoken("system", "You help {{name}}.\n\nBriefly."), Spoken("user", "Hi")), parameters={"n": 1}
    )
    assert (
        written(wording) == "---\nparameters:\n  n: 1\n---\n--- system\nYou help {{name}}.\n\nBriefly.\n--- user\nHi\n"
    )


def test_what_a_person_writes_is_read():
    one = found("Hello {{name}}\n", "greet.md", "greet")
    assert one == Found("greet", {"template": "Hello {{name}}"}, where="greet.md")
    one = found("---\nid: hello\nnote: why\nauthor: Ann\n---\nHello\n", "greet.md", "greet")
    assert (one.id, one.note, one.author, one.fields) == ("hello", "why", "Ann", {"template": "Hello"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("---\nparmeters: {}\n---\nx", r"x.md:2: parmeters: no such key; did you mean 'parameters'"),
        ("---\n- a\n---\nx", "keys and values"),
        ("---\na: [\n---\nx", r"x.md"),
        ("hello\n--- user\nx", "is nobody's; give it a role"),
        ("---\ntemplate: x\n---\ny", "say it once"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text, why):
    with pytest.raises(ConfigError, match=why):
        found(text, "x.md", "x")


def test_what_is_included_comes_first():
    spoken = {"messages": [{"role": "user", "content": "{{>c@2}}"}]}
    texts = {"c": "1", "d": "{{> e@1}}"}
    some = [Found("a", {"template": "{{> b@1}}"}), Found("b", spoken), Found("c", {"template": "0"})]
    some += [Found(name, {"template": text}) for name, text in texts.items()]
    assert [one.id for one in in_order(some)] == ["c", "c", "d", "b", "a"]
