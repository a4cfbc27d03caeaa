"""What does a pipeline show of a run? JUnit's XML: a test for every repeat of every case, and for every criterion."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from tidegate.jobs.evals.compare import Comparison
from tidegate.jobs.evals.reports import Told, between, change_name, number
from tidegate.jobs.evals.results import Answer
from tidegate.jobs.evals.tally import why_failed

NO_XML = re.compile(
    "[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)  # may not stand in XML 1.0, even escaped
LONGEST = 10_000  # characters of an answer


def written(told: Told) -> str:
    root = ElementTree.Element("testsuites", name=clean(told.tally.run.suite))
    _cases(root, told)
    if told.comparison is not None:
        _criteria(root, told.comparison)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _cases(root: ElementTree.Element, told: Told) -> None:
    run, by_name = told.tally.run, {(one.case, one.repeat): one for one in told.results.answers}
    suite = ElementTree.SubElement(root, "testsuite", name=clean(run.suite))
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0, "passed": 0}
    total_s = 0.0
    for case in run.cases:
        for repeat in range(run.repeats):
            answer = by_name.get((case, repeat))
            name = f"{case} #{repeat + 1}" if run.repeats > 1 else case
            took_s = answer.latency_ms / 1000 if answer else 0.0
            total_s += took_s
            one = ElementTree.SubElement(
                suite, "testcase", classname=clean(run.suite), name=clean(name), time=f"{took_s:.3f}"
            )
            counts["tests"] += 1
            counts[_outcome(one, answer)] += 1
    counts.pop("passed")
    suite.attrib |= {name: str(count) for name, count in counts.items()} | {"time": f"{total_s:.3f}"}


def _outcome(one: ElementTree.Element, answer: Answer | None) -> str:
    if answer is None:
        ElementTree.SubElement(one, "error", type="missing", message="there is no answer: the run has not come so far")
        return "errors"
    if answer.text:
        ElementTree.SubElement(one, "system-out").text = clean(answer.text[:LONGEST])
    if answer.passed is None:
        ElementTree.SubElement(one, "skipped", message="nobody who may decide has said anything")
        return "skipped"
    if not answer.passed and answer.error:
        ElementTree.SubElement(one, "error", type="failed", message=clean(why_failed(answer)))
        return "errors"
    if not answer.passed:
        ElementTree.SubElement(one, "failure", type="failed", message=clean(why_failed(answer)))
        return "failures"
    return "passed"


def _criteria(root: ElementTree.Element, comparison: Comparison) -> None:
    changes = (*comparison.changes, *comparison.tags)
    worse = comparison.regressed
    name = clean(f"{comparison.head.suite}, against {comparison.base.id}")
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=name,
        tests=str(len(changes)),
        failures=str(len(worse)),
        errors="0",
        skipped="0",
        time="0",
    )
    for one in changes:
        test = ElementTree.SubElement(suite, "testcase", classname=name, name=clean(change_name(one)), time="0")
        moved = f"{number(one.base, one)}, now {number(one.head, one)}"
        said = f"{one.verdict}: {moved} ({between(one)}, p {one.adjusted:.2g})"
        if one in worse:
            ElementTree.SubElement(test, "failure", type="regressed", message=said)
        else:
            ElementTree.SubElement(test, "system-out").text = said


def clean(text: str) -> str:
    return NO_XML.sub("\ufffd", text)
