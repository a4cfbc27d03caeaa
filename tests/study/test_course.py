"""The case study as a whole: small, over real sockets and a real gateway."""

from __future__ import annotations

import pytest

from tests.parts import embedding_model
from tidegate.study.course import Course, run
from tidegate.study.levers import together
from tidegate.study.page import headline, lines, page, waterfall

pytestmark = pytest.mark.timeout(120)


@embedding_model()
def test_a_small_one_has_all_its_figures_and_every_book_agrees():
    said: list[float] = []
    found = run(Course(calls=80, before=60, workers=2, whole=together()[-2]), lambda _, share: said.append(share))
    naive, ours = found.naive[0], found.everything[0]
    told = headline(naive, ours)
    assert told["books_differ_nusd"] == 0
    assert told["leaks"] == 0 < naive.leaks
    assert told["cost_vs_naive"] < 0.2
    assert 0 < told["runaway_usd"] < 5
    assert ours.success == 1.0 or set(ours.unavailable) == {"400 guardrail_blocked"}
    assert ours.books is not None
    assert ours.books.calls > 0
    assert said == sorted(said)
    assert said[-1] <= 1
    assert [name for name, _ in waterfall(found)] == ["naive", "+ limits"]
    assert any(line.startswith("naive") for line in lines(found))
    assert "<script" not in page(found)
