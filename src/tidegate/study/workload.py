"""What is asked, by whom, when, and what is right? All of it from one seed, and all of it written down here.

It is a stretch of a month: as many calls as are asked for, at the month's proportions; what caches know when it begins
is what was asked `before`. Repetition follows Zipf's law twice: over what people want, and over their words for it.
"""

from __future__ import annotations

import csv
import functools
import random
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.study import texts

Kind = Literal["support", "documents", "analytics", "attack"]

KEPT = ("support", "documents")  # kinds of calls that somebody waits for, and whose answers a cache may keep
CALLS_PER_S = 8.0  # on average
BUSY, BUSY_SHARE, SPELL_S = 2.5, 0.2, 6.0  # so much faster, for so much of the time, for about so long
TRACE = "traces/azure_llm_conv.csv"  # below the folder of the data: when real calls came
QUESTIONS = "cache/banking77_{}.csv"  # questions of customers with their intents
REMARK = "\nMy e-mail is {email}, in case you need it."
SLIP = "\nThis is what our script uses: {secret}"


class Law(msgspec.Struct, frozen=True):
    """What the workload rests on. Shares are of all calls.

    zipf: the n-th of what people want is asked for in proportion to 1 / n ** zipf; so are the words for it.
    hard: a small model cannot answer it well, however often it is asked.
    again: the same, by the same, within a minute.
    personal: with an e-mail address of the one who asks. secret: with a key in it.
    attack: tries to take the model over.
    users, a_day: of the month that this stretch stands for.
    """

    zipf: float = 1.0
    hard: float = 0.02
    documents: float = 0.10
    analytics: float = 0.10
    again: float = 0.06
    personal: float = 0.04
    secret: float = 0.005
    attack: float = 0.01
    users: int = 50_000
    a_day: float = 3.0


class Known(NamedTuple):
    """What a provider knows of a question, by its first line. `mark`: only right answers have it."""

    answer: str
    mark: str
    needs: str = ""  # this sentence, in the prompt
    hard: bool = False


class Ask(NamedTuple):
    at_s: float
    kind: Kind
    user: str
    session: str
    text: str
    mark: str
    planted: tuple[str, ...] = ()  # what nobody may see but who asks

    @property
    def line(self) -> str:
        return self.text.partition("\n")[0]


class Workload(NamedTuple):
    """`before`: what was asked when the stretch that is looked at begins, and is kept in caches."""

    asks: list[Ask]
    known: dict[str, Known]
    lasts_s: float
    before: list[Ask]

    @property
    def planted(self) -> frozenset[str]:
        return frozenset(value for ask in (*self.before, *self.asks) for value in ask.planted)


class Topic(NamedTuple):
    """Questions that have one answer."""

    questions: Sequence[str]
    known: Known


def workload(seed: int, calls: int, before: int = 0, law: Law | None = None, data: Path | None = None) -> Workload:
    """The same for the same arguments. Raises ConfigError where `data` has not what is needed."""
    law, dice = law or Law(), random.Random(f"case study {seed}")
    topics = from_data(data) if data else of_our_own()
    dice.shuffle(topics)  # what is asked for most is something else for each seed
    maker = _Maker(law, dice, topics)
    earlier = [maker.ask(number, 0.0) for number in range(before)]
    times = list(_traced(data, calls, dice) if data else _bursts(calls, dice))
    asks = [maker.ask(before + number, at_s) for number, at_s in enumerate(times)]
    return Workload(asks, maker.known, times[-1] + 1.0, [one for one in earlier if one.kind in KEPT])


def of_our_own() -> list[Topic]:
    found = []
    for at, wishes in enumerate(texts.WISHES):
        article = 4000 + at
        said = texts.answer(wishes[0], texts.PLACES[at % len(texts.PLACES)], article)
        questions = [frame.format(wish) for wish in wishes for frame in texts.FRAMES]
        found.append(Topic(questions, Known(said, f"article {article}.")))
    return found


def from_data(data: Path) -> list[Topic]:
    """Questions of real customers, by what they want. Raises ConfigError."""
    by_intent: dict[str, dict[str, None]] = {}
    for part in ("train", "test"):
        for number, row in enumerate(_rows(data, QUESTIONS.format(part)), 2):
            text, intent = (*row.values(), None, None)[:2]
            if not text or not isinstance(intent, str) or not intent:
                raise ConfigError(
                    f"{data / QUESTIONS.format(part)}, row {number}: a question and its intent are expected"
                )
            by_intent.setdefault(intent, {})[" ".join(text.split())] = None
    found = []
    for at, (intent, questions) in enumerate(sorted(by_intent.items())):
        said = texts.answer(f"settle what concerns {intent.replace('_', ' ')}", texts.PLACES[at % 8], 4000 + at)
        found.append(Topic(list(questions), Known(said, f"article {4000 + at}.")))
    return found


def _rows(data: Path, name: str) -> list[dict[str, str]]:
    """Of a table, at least two. Raises ConfigError."""
    try:
        with (data / name).open(encoding="utf-8", newline="") as file:
            found = list(csv.DictReader(file))
    except OSError as wrong:
        raise ConfigError(f"{data / name}: {wrong.strerror}; the data is a folder that has {name}") from None
    except (UnicodeDecodeError, csv.Error) as wrong:
        raise ConfigError(f"{data / name}: no table in UTF-8: {wrong}") from None
    if len(found) < 2:
        raise ConfigError(f"{data / name}: a head and two rows at least are expected")
    return found


def zipf(count: int, power: float) -> list[float]:
    """Summed, as `random.choices` takes it fastest."""
    return list(accumulate(1 / (rank + 1) ** power for rank in range(count)))


class _Maker:
    """Makes one call after the other, and remembers what there was."""

    def __init__(self, law: Law, dice: random.Random, topics: list[Topic]) -> None:
        self._law = law
        self._dice = dice
        self._topics = topics
        self._law_of = functools.cache(functools.partial(zipf, power=law.zipf))
        self._words = [dice.sample(topic.questions, len(topic.questions)) for topic in topics]
        self._hard = self._hard_ones()
        self._recent: list[Ask] = []
        self.known: dict[str, Known] = {line: topic.known for topic in topics for line in topic.questions}
        self.known |= dict(self._hard)

    def ask(self, number: int, at_s: float) -> Ask:
        law, luck = self._law, self._dice.random()
        if luck < law.again and self._recent:
            before = self._dice.choice(self._recent)
            return before._replace(at_s=at_s)
        user = f"user-{self._dice.randrange(law.users)}"
        made = self._new(number, user)._replace(at_s=at_s)
        if made.kind in KEPT:
            self._recent = [*self._recent[-int(CALLS_PER_S * 30) :], made]
        return made

    def _new(self, number: int, user: str) -> Ask:
        law, luck, session = self._law, self._dice.random(), f"session-{number}"
        for kind, share in (("documents", law.documents), ("analytics", law.analytics), ("attack", law.attack)):
            if luck < share:
                make = {"documents": self._document, "analytics": self._ticket, "attack": self._attack}[kind]
                text, mark = make(number)
                return Ask(0.0, kind, user, session, text, mark)  # type: ignore[arg-type]
            luck -= share
        if luck < law.hard:
            line, known = self._dice.choices(self._hard, cum_weights=self._law_of(len(self._hard)))[0]
            return Ask(0.0, "support", user, session, line, known.mark)
        at = self._dice.choices(range(len(self._topics)), cum_weights=self._law_of(len(self._topics)))[0]
        words = self._words[at]
        line = self._dice.choices(words, cum_weights=self._law_of(len(words)))[0]
        more, planted = self._remarks(user)
        return Ask(0.0, "support", user, session, line + more, self._topics[at].known.mark, planted)

    def _remarks(self, user: str) -> tuple[str, tuple[str, ...]]:
        luck = self._dice.random()
        if luck < self._law.secret:
            secret = "sk-proj-" + "".join(
                self._dice.choices("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=48)
            )
            return SLIP.format(secret=secret), (secret,)
        if luck < self._law.secret + self._law.personal:
            email = f"{user.replace('-', '.')}@customer.example.com"
            return REMARK.format(email=email), (email,)
        return "", ()

    def _hard_ones(self) -> list[tuple[str, Known]]:
        found, dice = [], random.Random("hard")  # the same for all seeds
        for number in range(36):
            month, later = sorted(dice.sample(range(12), 2))
            line = texts.HARD[number % len(texts.HARD)].format(
                plan=dice.choice(texts.PLANS), seats=dice.randrange(40, 400), less=dice.randrange(5, 30),
                month=texts.MONTHS[month], later=texts.MONTHS[later],
            )  # fmt: skip
            mark = f"case {7000 + number}."
            said = "It depends on the order in which both are done, and on the day. The credit is computed first."
            found.append(
                (line, Known(f"{said} The whole reckoning is kept under case {7000 + number}.", mark, hard=True))
            )
        return found

    def _document(self, number: int) -> tuple[str, str]:
        """Records of customers, and a question about one of them."""
        dice = self._dice
        companies = dice.sample(texts.COMPANIES, 12)
        asked, records = dice.choice(companies), []
        of_what = dice.randrange(len(texts.FACTS))
        needs = value = ""
        for company in companies:
            said = [
                f"{dice.randrange(1, 29)} {dice.choice(texts.MONTHS)} {dice.randrange(2027, 2031)}",
                str(dice.randrange(20, 900)),
                dice.choice(texts.NAMES),
            ]
            facts = [fact.format(company, one) for (_, fact), one in zip(texts.FACTS, said, strict=True)]
            if company == asked:
                needs, value = facts[of_what], said[of_what]
            around = dice.sample(texts.AROUND, 4)
            records.append(" ".join((facts[0], *around[:2], facts[1], *around[2:], facts[2])))
        line = f"Question {number}: {texts.FACTS[of_what][0].format(asked)}"
        self.known[line] = Known(f"According to the records: {value}.", f"records: {value}.", needs=needs)
        return f"{line}\n\n" + "\n\n".join(records), f"records: {value}."

    def _ticket(self, number: int) -> tuple[str, str]:
        label = self._dice.choice(texts.LABELS)
        line = f"Ticket {number}: which label fits best, of {', '.join(texts.LABELS)}?"
        said = [one.format(label) for one in texts.TALK]
        self.known[line] = Known(f"label: {label}.", f"label: {label}.")
        return "\n".join((line, said[0], *self._dice.sample(said[1:], len(said) - 1))), f"label: {label}."

    def _attack(self, number: int) -> tuple[str, str]:
        return self._dice.choice(texts.ATTACKS), ""


def _bursts(calls: int, dice: random.Random) -> Iterator[float]:
    """Calm and busy spells of random length; within one, calls know nothing of each other."""
    calm = CALLS_PER_S / (1 + BUSY_SHARE * (BUSY - 1))
    now_s, busy, until_s = 0.0, False, 0.0
    for _ in range(calls):
        if now_s >= until_s:
            busy = dice.random() < BUSY_SHARE
            until_s = now_s + dice.expovariate(1 / SPELL_S)
        now_s += dice.expovariate(calm * (BUSY if busy else 1))
        yield now_s


def _traced(data: Path, calls: int, dice: random.Random) -> Iterator[float]:
    """The pattern of a real hour, from a random place on, at our pace. Raises ConfigError."""
    try:
        times = sorted(datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in _rows(data, TRACE))
    except (KeyError, TypeError, ValueError) as wrong:
        raise ConfigError(f"{data / TRACE}: a column TIMESTAMP with ISO times is expected, not {wrong}") from None
    gaps = [later - earlier for earlier, later in pairwise(times)]
    begin = dice.randrange(len(gaps))
    taken = [gaps[(begin + at) % len(gaps)] for at in range(calls)]
    pace = calls / CALLS_PER_S / (sum(taken) or 1)
    now_s = 0.0
    for gap in taken:
        now_s += gap * pace
        yield now_s
