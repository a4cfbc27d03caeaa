"""Reports: for pipelines, pull requests and people; whatever an answer says, it stays an answer."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from tests.jobs.evals.test_compare import run, said
from tidegate.jobs.evals.compare import Rule, compared
from tidegate.jobs.evals.reports import Told, as_json, headline, junit, markdown, page
from tidegate.jobs.evals.results import Answer, Results
from tidegate.jobs.evals.tally import counted

NASTY = (
    "<script>alert(1)</script><img src=x onerror=y> ]]></system-out> & \x00\x0b\ufffe | a | b |\n````\n# @everyone "
    "[x](javascript:y) </details>"
)


def told(base: list[Answer], head: list[Answer], **fields: object) -> Told:
    before, after = run(base), run(head, **fields)
    return Told(after, counted(after), compared(before, after, Rule()))


def repeated(good: int, text: str = NASTY, of: int = 60) -> list[Answer]:
    return [
        said(
            f"c{at} {NASTY[:60] if at == 0 else ''}",
            repeat=k,
            text=text,
            exact=float(at >= of - good or k == 1),
            tags=("t",),
        )
        for at in range(of)
        for k in range(3)
    ]


@pytest.fixture(scope="module")
def worse() -> Told:
    return told(repeated(60, "all was well\nhere"), repeated(30))


def test_junit_has_a_test_for_every_repeat_and_every_criterion(worse: Told):
    root = ElementTree.fromstring(junit.written(worse).split("\n", 1)[1])
    cases, criteria = root.findall("testsuite")
    assert (cases.attrib["tests"], cases.attrib["failures"], cases.attrib["errors"]) == ("180", "60", "0")
    assert (
        len(cases.findall("testcase")) == 180 and cases.find("testcase/failure").attrib["message"] == "exact: since 0"
    )
    assert cases.findall("testcase")[5].attrib["name"].endswith("#3")
    assert "\ufffd" in cases.find("testcase/system-out").text and "<script>" in cases.find("testcase/system-out").text
    assert {one.attrib["type"] for one in criteria.findall("testcase/failure")} == {"regressed"}


def test_what_is_missing_or_undecided_is_neither_passed_nor_failed():
    whole = run([said("a", exact=1), said("b", exact=1), Answer(case="c", repeat=0, text="hm")])
    part = Results(whole.run, (whole.answers[0], whole.answers[2]))
    (suite,) = ElementTree.fromstring(junit.written(Told(part, counted(part))).split("\n", 1)[1]).findall("testsuite")
    assert {name: suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3", "failures": "0", "errors": "1", "skipped": "1",
    }  # fmt: skip
    assert headline(Told(part, counted(part))) == "100.0% (21% to 100%) of 2 answers passed; 1 answers are missing"


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.said = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.said += data


def test_a_page_has_charts_and_differences_and_nothing_that_runs(worse: Told):
    seen = Seen()
    text = page.written(worse)
    seen.feed(text)
    names = [tag for tag, _ in seen.tags]
    assert names.count("rect") >= 2 and names.count("details") == 3 and "del" in names and "ins" in names
    assert not {"script", "img", "link", "iframe", "a"} & set(names)
    assert not [
        name for _, attrs in seen.tags for name, _ in attrs if name in ("src", "href", "style") or name[:2] == "on"
    ]
    assert "default-src 'none'; style-src 'sha256-" in text
    assert "<script>alert(1)</script>" in seen.said and "flaky" in seen.said and "✗ ✓ ✗" in seen.said


def test_below_a_pull_request_the_verdict_comes_first_and_answers_stay_text(worse: Told):
    text = markdown.written(worse)
    assert text.startswith("### s: 66.7% ") and "worse: exact" in text.splitlines()[0]
    assert "| **▼ regressed** | exact | 100.0% | 66.7% |" in text and "Flaky: c0" in text
    assert len({line.count(" | ") for line in text.splitlines() if line.startswith("| **▼")}) == 1
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    html = "".join(token.content for token in tokens if token.type in ("html_block", "html_inline"))
    inline = "".join(child.content for token in tokens for child in token.children or () if child.type == "html_inline")
    assert "<script" not in html + inline and "<img" not in html + inline and "&lt;script&gt;" in html
    fences = [token.content for token in tokens if token.type == "fence"]
    assert any("</details>" in fence and "````" in fence for fence in fences)


def test_a_long_comment_is_cut_where_an_example_ends():
    many = {f"criterion_{at}": 1.0 for at in range(40)}
    none = dict.fromkeys(many, 0.0)
    base, head = ([said(f"c{at}", text="long " * 300, **values) for at in range(30)] for values in (many, none))
    text = markdown.written(told(base, head))
    assert 40_000 < len(text) <= markdown.MOST + 100 and text.count("<details>") == text.count("</details>")


def test_everything_is_in_the_json(worse: Told):
    found = json.loads(as_json(worse))
    assert found["tally"]["run"]["suite"] == "s" and len(found["tally"]["cases"]) == 60
    assert {one["verdict"] for one in found["comparison"]["changes"]} == {"regressed"}


def test_long_answers_are_held_beside_each_other_without_end():
    before, now = page.beside("a " * 50_000, "b " * 50_000)
    assert "<del>" not in before and len(now) == 100_000
    assert page.beside("a <b> c", "a <i> c") == ("a &lt;<del>b</del>&gt; c", "a &lt;<ins>i</ins>&gt; c")
    assert page.chart(()) == "" and "10 answers" in page.chart([8.0] * 10)
