"""A version says all that it needs, and becomes the same each time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.effort import steps
from tidegate.core.chat import Conversation
from tidegate.core.difference import difference
from tidegate.core.errors import BadRequest
from tidegate.core.prompts import (
    MAX_DEPTH,
    Ready,
    Spoken,
    Variable,
    Wording,
    check_label,
    check_name,
    complete,
    ready,
    rendered,
)
from tidegate.core.template import Unfilled

NOTHING = Conversation(items=())


def made(wording: Wording, id: str = "greet@1", **included: Ready) -> Ready:
    texts = {one.id: one for one in included.values()}
    name, _, number = id.partition("@")
    return ready(name, int(number), complete(wording, texts), texts, NOTHING)


def text(template: str, **more: Any) -> Wording:
    return Wording(template=template, **more)


def test_variables_are_those_that_its_gaps_name_where_none_is_declared() -> None:
    found = made(text("{{name}} {{#polite}}please{{/polite}} {{user.city}}"))
    assert {name: one.is_needed for name, one in found.variables.items()} == {
        "name": True, "polite": False, "user": True,
    }  # fmt: skip


def test_who_declares_some_declares_all() -> None:
    with pytest.raises(BadRequest, match="variables: city: used, and not declared"):
        complete(text("{{name}} {{city}}", variables=(Variable("name"),)), {})


def test_defaults_fill_what_is_not_given_and_null_is_nothing() -> None:
    found = made(text("{{a}}/{{b}}/", variables=(Variable("a", default="x"), Variable("b", required=False))))
    assert rendered(found, {}).texts == ("x//",)
    assert rendered(found, {"a": "y", "b": None}).texts == ("y//",)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "missing: name"),
        ({"name": "x", "colour": 1}, "not among its variables: colour; there are: name, count"),
        ({"name": 7}, "variables.name: must be of the type text"),
        ({"name": "x", "count": True}, "variables.count: must be of the type integer"),
        ({"name": None}, "variables.name"),
    ],
)
def test_what_cannot_fill_it_is_named(given: dict[str, Any], why: str) -> None:
    found = made(
        text("{{name}}{{count}}", variables=(Variable("name", "text"), Variable("count", "integer", default=1)))
    )
    with pytest.raises(Unfilled) as wrong:
        rendered(found, given)
    assert why in str(wrong.value)


@pytest.mark.parametrize(
    ("wording", "why"),
    [
        (Wording(), "say messages, or a template"),
        (Wording(messages=(Spoken("user", "x"),), template="x"), "one of the two"),
        (text("{{"), "template: line 1"),
        (Wording(messages=(Spoken("user", "{{7*7}}"),)), "messages[0].content: line 1: '7*7' is no name"),
        (text("x", variables=(Variable("a"), Variable("a"))), "variables[1].name: 'a' stands twice"),
        (text("x", variables=(Variable("a b"),)), "is no name"),
        (text("x", variables=(Variable("a", "integer", default="x"),)), "variables[0].default: is no integer"),
        (text("x", parameters={"model": "gpt"}), "parameters.model: the call says which route answers"),
        (text("x", parameters={"stream": True}), "parameters.stream"),
        (text("x", tools=({"name": "search"},)), "tools[0]: must be as OpenAI has it"),
    ],
)
def test_what_cannot_be_said_is_refused_when_it_is_made(wording: Wording, why: str) -> None:
    with pytest.raises(BadRequest) as wrong:
        complete(wording, {})
    assert why in wrong.value.message


@pytest.mark.parametrize("name", ["", "a b", "ä", "a/b", "a@1", "pmpt_1", ".a", "x" * 101])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="cannot be a prompt's name"):
        check_name(name)


@pytest.mark.parametrize("label", ["", "Production", "1", "a b", "latest", "x" * 61])
def test_what_is_no_label_is_refused(label: str) -> None:
    with pytest.raises(BadRequest, match="cannot be a label"):
        check_label(label)


def test_what_it_includes_is_part_of_it() -> None:
    inner = made(text("Dear {{name}}"), "hello@2")
    found = made(Wording(messages=(Spoken("system", "{{> hello@2}}, {{what}}"),)), hello=inner)
    assert set(found.variables) == {"name", "what"}
    assert rendered(found, {"name": "Ann", "what": "hi"}).texts == ("Dear Ann, hi",)


def test_its_hash_is_that_of_all_it_says_and_includes() -> None:
    first, second = made(text("Dear {{name}}"), "hello@2"), made(text("Hi {{name}}"), "hello@2")
    outer = text("{{> hello@2}}")
    assert made(outer, hello=first).hash != made(outer, hello=second).hash
    assert made(outer, hello=first).hash == made(outer, "other@7", hello=first).hash


def test_only_a_text_can_be_included() -> None:
    with pytest.raises(BadRequest, match="only a text can be included"):
        made(text("{{> hello@2}}"), hello=made(Wording(messages=(Spoken("user", "x"),)), "hello@2"))


def test_texts_within_texts_cannot_explode_or_go_too_deep() -> None:
    """Each includes the one before ten times: a thousand million laughs."""
    one = made(text("ha"), "ha@1")
    with pytest.raises(BadRequest, match="are allowed"):
        for number in range(2, 10):
            one = made(text(f"{{{{> ha@{number - 1}}}}}" * 10), f"ha@{number}", ha=one)
    one = made(text("ha"), "ha@1")
    with pytest.raises(BadRequest, match=f"more than {MAX_DEPTH} deep"):
        for number in range(2, MAX_DEPTH + 3):
            one = made(text(f"{{{{> ha@{number - 1}}}}}"), f"ha@{number}", ha=one)


def test_the_same_values_become_the_same_and_have_the_same_digest() -> None:
    found = made(text("{{a}}{{b}}"))
    assert rendered(found, {"a": 1, "b": [2]}) == rendered(found, {"b": [2], "a": 1})
    assert rendered(found, {"a": 1, "b": 2}).variables != rendered(found, {"a": 2, "b": 1}).variables


def test_a_difference_is_shown_as_lines() -> None:
    was = text("Hello\nthere", parameters={"temperature": 0})
    now = text("Hello\nyou", parameters={"temperature": 1})
    assert difference(was, now, "a@1", "a@2")[2:] == [
        "@@ -1,3 +1,3 @@", "-temperature: 0", "+temperature: 1", " Hello", "-there", "+you",
    ]  # fmt: skip
    assert difference(was, was, "a@1", "a@1") == []


def test_rendering_takes_less_than_a_thousand_steps() -> None:
    """One of 4 KB with ten gaps and a list."""
    prose = "You are a helpful assistant of a bank and answer in two sentences at most. " * 25
    gaps = "".join(f"{{{{v{at}}}}} {prose[:160]}" for at in range(10))
    found = made(Wording(messages=(Spoken("system", f"{prose}{gaps}{{{{#rules}}}}- {{{{.}}}}\n{{{{/rules}}}}"),)))
    given = {f"v{at}": f"value {at}" for at in range(10)} | {"rules": [f"rule {at}" for at in range(10)]}
    assert steps(lambda: rendered(found, given)) < 1_000
