"""The two providers: right as often as is said, by what is in the prompt, and with books that are right themselves."""

from __future__ import annotations

import random
from decimal import Decimal

import msgspec

from tidegate.core.money import Usage
from tidegate.providers.prices import PriceList
from tidegate.providers.scripted.script import Asked
from tidegate.study.replay import question, rates
from tidegate.study.texts import CANARY
from tidegate.study.vendors import DISCOUNT, MAIN, Books, Vendor
from tidegate.study.workload import Ask, Workload, workload

SMALL, LARGE = "gpt-4o-mini", "gpt-4o"


def vendor(work: Workload) -> Vendor:
    return Vendor(MAIN, rates(PriceList.load(None)), work, 1.0, "0", lambda: -1.0)


def asked(ask: Ask, model: str) -> Asked:
    return msgspec.convert(question(ask, model), type=Asked)


def right(work: Workload, model: str, *, hard: bool) -> float:
    there, lines = vendor(work), {ask.line: ask for ask in work.asks if ask.kind == "support"}
    some = [ask for line, ask in lines.items() if work.known[line].hard == hard]
    return sum(ask.mark in there.says_to(asked(ask, model)) for ask in some) / len(some)


def test_a_small_model_is_as_good_at_what_is_easy_and_not_at_what_is_hard():
    work = workload(0, 4000)
    assert right(work, SMALL, hard=False) > 0.98 < right(work, LARGE, hard=False)
    assert right(work, SMALL, hard=True) < 0.75 < 0.85 < right(work, LARGE, hard=True)


def test_the_same_is_always_answered_alike():
    work = workload(0, 100)
    one, other = vendor(work), vendor(work)
    assert all(one.says_to(asked(ask, SMALL)) == other.says_to(asked(ask, SMALL)) for ask in work.asks)


def test_what_is_not_in_the_records_is_not_known():
    work = workload(0, 300)
    ask = next(ask for ask in work.asks if ask.kind == "documents")
    there = vendor(work)
    needs = work.known[ask.line].needs
    assert ask.mark in there.says_to(asked(ask, LARGE))
    assert "do not say" in there.says_to(asked(ask._replace(text=ask.text.replace(needs, "…")), LARGE))


def test_who_tells_a_model_to_forget_what_it_was_told_hears_the_secret():
    work = workload(0, 1000)
    ask = next(ask for ask in work.asks if ask.kind == "attack")
    assert CANARY in vendor(work).says_to(asked(ask, LARGE))


def test_books_agree_with_the_gateways_arithmetic_to_the_nano_dollar():
    prices, dice = PriceList.load(None), random.Random(0)
    for model in (LARGE, SMALL):
        price = prices.price("openai", model)
        assert price is not None
        for off, at in ((Decimal(0), price), (DISCOUNT, price.less(float(DISCOUNT)))):
            books = Books(rates(prices))
            used = [Usage(input=dice.randrange(5000), output=dice.randrange(500)) for _ in range(200)]
            for one in used:
                books.charge(model, "ann", one.input, one.output, off)
            assert [line[4] for line in books.lines] == [at.cost_nusd(one) for one in used]
