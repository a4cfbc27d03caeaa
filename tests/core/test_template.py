"""A template has gaps, sections and includes; nothing in it, or in what fills it, can do anything."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.template import (
    MAX_DEPTH,
    MAX_RENDERED,
    MAX_TAGS,
    MAX_TEXT,
    TemplateError,
    Unfilled,
    includes,
    names,
    parse,
    render,
)


def filled(text: str, values: dict[str, Any] | None = None, **texts: str) -> str:
    """Included texts by name; each is version 1."""
    return render(parse(text), values or {}, {f"{name}@1": parse(one) for name, one in texts.items()})


@pytest.mark.parametrize(
    ("text", "values", "says"),
    [
        ("Hello {{name}}!", {"name": "Ann"}, "Hello Ann!"),
        ("{{ name }}", {"name": "Ann"}, "Ann"),
        ("{{user.name.first}}", {"user": {"name": {"first": "Ann"}}}, "Ann"),
        ("{{a}}<b>&", {"a": "<i>\"'&"}, "<i>\"'&<b>&"),
        ("{{a}} {{b}} {{c}} {{d}}", {"a": 1, "b": 2.5, "c": True, "d": None}, "1 2.5 true "),
        ("{{a}} {{b}}", {"a": [1, "x"], "b": {"k": "v"}}, '[1,"x"] {"k":"v"}'),
        ("{{#x}}yes{{/x}}{{^x}}no{{/x}}", {"x": True}, "yes"),
        ("{{#x}}yes{{/x}}{{^x}}no{{/x}}", {"x": []}, "no"),
        ("{{#x}}yes{{/x}}{{^x}}no{{/x}}", {}, "no"),
        ("{{#x}}{{.}},{{/x}}", {"x": ["a", "b"]}, "a,b,"),
        ("{{#x}}{{n}}{{m}} {{/x}}", {"x": [{"n": 1}, {"n": 2}], "m": "!"}, "1! 2! "),
        ("{{#x}}{{#y}}{{.}}{{/y}};{{/x}}", {"x": [{"y": [1, 2]}, {"y": []}]}, "12;;"),
        ("{{#user}}{{name}}{{/user}}", {"user": {"name": "Ann"}}, "Ann"),
        ("a{{! a remark }}b", {}, "ab"),
        (r"\{{name}} {{name}}", {"name": "x"}, "{{name}} x"),
        ("one { two } }} three", {}, "one { two } }} three"),
        ("a\n{{#x}}\nb\n{{/x}}\nc", {"x": True}, "a\nb\nc"),
        ("  {{! alone }}  \nb", {}, "b"),
        ("{{#x}} b {{/x}}\nc", {"x": True}, " b \nc"),
    ],
)
def test_gaps_are_filled_and_sections_are_shown(text: str, values: dict[str, Any], says: str) -> None:
    assert filled(text, values) == says


def test_a_text_is_included_and_filled_with_the_same_values() -> None:
    assert filled("{{> a@1}}, {{name}}", {"name": "Ann"}, a="Dear {{name}}") == "Dear Ann, Ann"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{name", "line 1: '{{' is not closed"),
        ("a\nb {{#x}}\nc", r"line 2: {{#x}} is not closed"),
        ("{{/x}}", "closes nothing; no section is open"),
        ("{{#x}}{{/y}}", "{{/x}} is expected"),
        ("{{}}", "is no name"),
        ("{{a..b}}", "is no name"),
        ("{{{a}}}", "is no name"),
        ("{{&a}}", "is no name"),
        ("{{=<% %>=}}", "is no name"),
        ("{{> other}}", "say which version"),
        ("{{> other@0}}", "say which version"),
        ("{{> other@latest}}", "say which version"),
        ("{{#x}}" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} deep"),
        ("{{a}}" * (MAX_TAGS + 1), f"more than {MAX_TAGS} gaps"),
        ("x" * (MAX_TEXT + 1), "are allowed"),
    ],
)
def test_what_is_no_template_is_refused_and_the_line_is_told(text: str, why: str) -> None:
    with pytest.raises(TemplateError) as wrong:
        parse(text)
    assert why in str(wrong.value)


def test_what_it_asks_for_is_known() -> None:
    nodes = parse("{{a.b}} {{#list}}{{of_each}}{{/list}} {{^c}}{{d}}{{/c}} {{> other@3}}")
    assert dict(names(nodes)) == {"a": False, "list": True, "c": True, "d": True}
    assert [one.id for one in includes(nodes)] == ["other@3"]


@pytest.mark.parametrize(("text", "name"), [("{{a}}", "a"), ("{{a.b}}", "a.b"), ("{{#x}}{{y}}{{/x}}", "y")])
def test_what_is_not_given_is_named(text: str, name: str) -> None:
    with pytest.raises(Unfilled, match=f"'{name}' is not given"):
        filled(text, {"x": True} if "x" in text else {"a": {}} if "." in text else {})


# --- attacks ---------------------------------------------------------------------------------------------------------

SEEDS = [
    *("7*7", "7*'7'", "1+1", "''.__class__", "''.__class__.__mro__[1].__subclasses__()", "().__class__.__bases__[0]"),
    *("config", "config.items()", "self.__init__.__globals__", "request.application.__globals__", "lipsum.__globals__"),
    *("cycler.__init__.__globals__.os.popen('id').read()", "joiner.__init__.__globals__", "namespace.__init__"),
    *("url_for.__globals__", "get_flashed_messages.__globals__", "''['__class__']", "x|attr('__class__')"),
    *("constructor.constructor('return process')()", "this.constructor", "#with 's' as |string|", "lookup . 'x'"),
    *(
        'range.constructor("return global")()',
        "0.__class__",
        "a.__class__.__init__.__globals__[sys]",
        "!r",
        "0!s:>9999",
    ),
    *("__import__('os').system('id')", "exec('x')", "open('/etc/passwd').read()", "php:system('id')", "system('id')"),
    *("<script>alert(1)</script>", "x;y", "x=1"),
    *("T(java.lang.Runtime).getRuntime().exec('id')", "new java.util.Scanner()", "=<% %>=", "& x", "{x}", "> ../../x"),
    *("> other", "> /etc/passwd", "-x", "~x", "else", "each x", "if x", "unless x", "@index", "../x", "./x", "[0]"),
    *(
        "x.y.z.w.a.b.c.d.e",
        "x" * 65,
        "x\x00",
        "ｘ",
        "x\u202e",
        "' or 1=1 --",
        "<script>alert(1)</script>",
        "x;y",
        "x=1",
    ),
]
SHELLS = [
    *(
        "{{%s}}",
        "{{ %s }}",
        "{{-%s-}}",
        "{{{%s}}}",
        "{{&%s}}",
        "{{#%s}}",
        "{{>%s}}",
        "{%% %s %%}",
        "{%%-%s-%%}",
        "${%s}",
    ),
    *("#{%s}", "*{%s}", "@{%s}", "~{%s}", "<%%= %s %%>", "<%% %s %%>", "{%s}", "{0.%s}", "%%(%s)s", "$%s", "[[%s]]"),
    *("{{=%s=}}", "{{%s|safe}}", "{{%s()}}", "#set($x=%s)", "{php}%s{/php}", "`%s`", "$(%s)"),
]
ATTACKS = [shell % seed for shell, seed in itertools.product(SHELLS, SEEDS)]


def test_there_are_a_thousand_attacks() -> None:
    assert len(set(ATTACKS)) >= 1_000


def test_an_attack_as_a_value_stays_what_it_is() -> None:
    nodes = parse("<{{x}}|{{#list}}{{.}}{{/list}}|{{deep.er}}>")
    for attack in ATTACKS:
        values = {"x": attack, "list": [attack], "deep": {"er": attack}}
        assert render(nodes, values, {}) == f"<{attack}|{attack}|{attack}>"


def test_an_attack_as_a_template_is_refused_or_stays_what_it_is() -> None:
    """What is taken as a name finds nothing: there is nothing to be found but what a caller gives."""
    refused = literal = unfilled = 0
    for attack in ATTACKS:
        try:
            nodes = parse(attack)
        except TemplateError:
            refused += 1
            continue
        try:
            said = render(nodes, {}, {})
        except Unfilled:
            unfilled += 1
            continue
        except KeyError:
            pytest.fail(f"{attack!r} asks for a text that nobody has pinned")
        assert said == attack or (said == "" and attack.lstrip("{ ")[:1] == "!")  # a remark says nothing
        literal += 1
    assert refused > 300 and literal > 500
    assert unfilled < 60  # {{config}}, {{this.constructor}}: plain names


@pytest.mark.parametrize("name", ["__class__", "x.__class__", "x.__init__.__globals__", "_x"])
def test_a_name_with_underscores_in_front_is_none(name: str) -> None:
    with pytest.raises(TemplateError):
        parse("{{" + name + "}}")


def test_names_find_what_is_in_objects_and_nothing_of_what_they_are() -> None:
    for name in ("items", "keys", "append", "upper", "real"):
        for value in ({}, [], "text", 7):
            with pytest.raises(Unfilled):
                filled("{{x." + name + "}}", {"x": value})


def test_long_answers_are_refused_before_they_are_there() -> None:
    with pytest.raises(Unfilled, match="characters"):
        filled("{{#x}}{{y}}{{/x}}", {"x": list(range(10_000)), "y": "z" * (MAX_RENDERED // 100)})
    with pytest.raises(Unfilled, match="steps"):
        filled("{{#a}}{{#a}}{{#a}}{{#a}}x{{/a}}{{/a}}{{/a}}{{/a}}", {"a": list(range(1_000))})


def test_a_value_within_values_is_bounded() -> None:
    deep: Any = "x"
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(Unfilled, match="nested too deeply"):
        filled("{{x}}", {"x": deep})


def test_what_is_made_to_take_long_does_not() -> None:
    began = time.process_time()
    for text in ("{{" * 100_000, "{{a" * 50_000, "\n" * 200_000 + "{{a}}" * 1_999, "{{#a}}" * 10_000, "\\{{" * 80_000):
        try:
            parse(text)
        except TemplateError:
            continue
    assert time.process_time() - began < 2


@given(st.text(max_size=200), st.dictionaries(st.sampled_from("abc"), st.text(max_size=50)))
def test_whatever_is_written_is_refused_or_says_the_same_each_time(text: str, values: dict[str, str]) -> None:
    try:
        nodes = parse(text)
        said = render(nodes, values, {})
    except (TemplateError, Unfilled, KeyError):
        return
    assert said == render(parse(text), dict(values), {})


@given(st.text(max_size=500))
def test_a_value_is_never_read_as_a_template(value: str) -> None:
    assert filled("a{{x}}b", {"x": value}) == f"a{value}b"
