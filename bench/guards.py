"""What do guards find, what do they take for something it is not, and what does looking cost? On labelled texts.

Injection is measured on sources that nothing was learned from, false alarms on the half of the harmless texts that set
no threshold. PII and secrets by spans and by whole rows. Then streams, cut at random, against the same texts whole.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import json
import math
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import report, trigger_words
from bench.procs import Unavailable
from bench.report import Limit, Report
from tidegate.providers.openai.chat import Chat
from tidegate.stages.guardrails import Guard, injection, pii, secrets, shape
from tidegate.stages.guardrails.classifier import Classifier
from tidegate.stages.guardrails.masks import Masks, masked
from tidegate.stages.guardrails.plainly import plain
from tidegate.stages.guardrails.replies import Looks, Rewriting
from tidegate.stages.guardrails.units import UnitGuard

TESTS = ("deepset", "bastioncorpus")
POOLS = ("arenahard_benign", "mitre_frr_benign")
SPANS = {
    "CREDIT_CARD": "card", "PHONE_NUMBER": "phone", "EMAIL_ADDRESS": "email", "IBAN_CODE": "iban", "US_SSN": "us_ssn",
    "IP_ADDRESS": "ip",
}  # fmt: skip
PROSE = (
    "Hello, I cannot log in any more. My {vendor} token is {secret} and it worked until Monday.",
    "For the demo, use the {vendor} key {secret} and tell me when you are done.",
    "I pasted {secret} into the settings page as the password, and nothing happened.",
    "Please rotate this one, it was on a slide: {secret}. Thanks!",
)
CLEAN = "The quick brown fox jumps over the lazy dog, and nobody knows why it always does. "
PLAIN = """
the of and a to in is you that it he was for on are as with his they at be this have from or one had by word but not
what all were we when your can said there use an each which she do how their if will up other about out many then them
these so some her would make like him into time has look two more write go see way could people my than first water been
call who its now find long down day did get come made may part order refund invoice parcel team question please thanks
shipped late broken return store ticket account meeting report customer
"""
FRESH, FRESH_SIZE = 1_000, 500  # texts that nobody has seen, and characters of each
STREAMS, QUICK_STREAMS = 20_000, 2_000
KNOWN = "sk_house_4711_key"
CHUNKS = 400  # of one answer, where what a chunk costs is measured
LIMITS = {
    "injection_macro_recall": Limit(0.50, 0.55, most=False, timed=False),
    "injection_pooled_recall": Limit(0.62, 0.65, most=False, timed=False),
    "injection_fpr": Limit(0.01, 0.01, timed=False),
    "tier0_macro_recall": Limit(0.35, 0.35, most=False, timed=False),
    "tier0_fpr": Limit(0.001, 0.001, timed=False),
    "trigger_word_fpr": Limit(0.03, 0.03, timed=False),
    "pii_recall": Limit(0.96, 0.96, most=False, timed=False),
    "pii_precision": Limit(0.96, 0.96, most=False, timed=False),
    "secrets_recall_code": Limit(0.97, 0.97, most=False, timed=False),
    "secrets_recall_prose": Limit(0.80, 0.80, most=False, timed=False),
    "secrets_fpr": Limit(0.003, 0.003, timed=False),
    "cpu_us_small": Limit(20, 20),
    "tier1_cpu_ms_per_1k": Limit(1.0, 1.0),
    "stream_mismatches": Limit(0, 0, timed=False),
    "known_secrets_leaked": Limit(0, 0, timed=False),
    "hold_p99_chars": Limit(32, 32, timed=False),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--share", default=injection.DEFAULT_SHARE, help="of the classifier's thresholds, which")
    parser.add_argument("--streams", type=int, help="with a known secret in each; 1000000 take some minutes")


def run(options: argparse.Namespace) -> Report:
    if options.data is None:
        raise Unavailable("it needs labelled texts: --data DIR, the folder with injection/deepset.jsonl in it")
    versions = report.versions() | {"google-re2": metadata.version("google-re2")}
    found = Report("guards", bool(options.quick), report.machine(), versions, {}, limits=LIMITS)
    _injection(found, options.data, options.share)
    _pii(found, options.data)
    _secrets(found, options.data)
    _streams(found, QUICK_STREAMS if options.quick else STREAMS)
    _known(found, options.streams or (QUICK_STREAMS if options.quick else STREAMS))
    _speed(found)
    _first_seen(found)
    _real_speed(found, options.data)
    _chunks(found)
    found.judge()
    return found


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The interval that holds the true share in 95 of 100 cases."""
    if not of:
        return 0.0, 1.0
    share, square = hits / of, z * z
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = z * math.sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    return round(middle - half, 4), round(middle + half, 4)


def measures(text: str) -> bool:
    """Whether a harmless text is of the half that is measured on; tools/train_injection.py leaves it alone."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[0] % 4 >= 2


def rows(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except OSError:
        raise Unavailable(
            f"{path} is not there; --data DIR is the folder that has injection/, pii/ and secrets/"
        ) from None


def _counted(found: Report, what: str, source: str, hits: int, of: int) -> float:
    low, high = wilson(hits, of)
    found.rows.append({"what": what, "source": source, "hits": hits, "of": of, "low": low, "high": high})
    return hits / of if of else 0.0


# --- injection


def _injection(found: Report, data: Path, share: str) -> None:
    weights = Classifier.load(injection.OURS)
    rules = injection.Injection(injection.Config())
    both = injection.Injection(injection.Config(classifier=True, threshold=weights.card.thresholds[share]))
    tests = {name: _apart(data, name) for name in TESTS}
    calm = [row["text"] for pool in POOLS for row in rows(data / f"injection/{pool}.jsonl") if measures(row["text"])]
    for guard, name, prefix in ((rules, "rules", "tier0"), (both, "rules and classifier", "injection")):
        hits = {source: sum(bool(guard.look(text)) for text in texts) for source, texts in tests.items()}
        recalls = [_counted(found, f"{name}: recall", one, hits[one], len(tests[one])) for one in tests]
        found.figures[f"{prefix}_macro_recall"] = round(sum(recalls) / len(recalls), 4)
        if prefix == "injection":
            found.figures["injection_pooled_recall"] = round(sum(hits.values()) / sum(map(len, tests.values())), 4)
        wrong = sum(bool(guard.look(text)) for text in calm)
        found.figures[f"{prefix}_fpr"] = round(_counted(found, f"{name}: false alarms", "pools", wrong, len(calm)), 4)
        for source in TESTS:
            harmless = [row["text"] for row in rows(data / f"injection/{source}.jsonl") if not row["label"]]
            wrong = sum(bool(guard.look(text)) for text in harmless)
            _counted(found, f"{name}: false alarms", source, wrong, len(harmless))
    prompts = list(trigger_words.prompts())
    wrong = sum(bool(rules.look(text)) for text in prompts)
    _counted(found, "rules: false alarms", "trigger words", wrong, len(prompts))
    wrong = sum(bool(both.look(text)) for text in prompts)
    share_wrong = _counted(found, "rules and classifier: false alarms", "trigger words", wrong, len(prompts))
    found.figures["trigger_word_fpr"] = round(share_wrong, 4)


def _apart(data: Path, source: str) -> list[str]:
    """The attacks of a test, without those that the training texts have word by word."""
    learned = {
        plain(row["text"])
        for name in ("neuralchemy", "slabs", "gauntlet_phrases")
        for row in rows(data / f"injection/{name}.jsonl")
    }
    attacks = [row["text"] for row in rows(data / f"injection/{source}.jsonl") if row["label"]]
    return [text for text in attacks if plain(text) not in learned]


# --- PII and secrets


def _pii(found: Report, data: Path) -> None:
    guard = pii.Pii(pii.Config(without=("birth_date",)))  # the set has dates, and does not say whose
    hit = missed = wrong = 0
    for row in json.loads((data / "pii/presidio_synth_dev.json").read_text(encoding="utf-8")):
        spans = [(one["start_position"], one["end_position"]) for one in row["spans"] if one["entity_type"] in SPANS]
        told = [(one.start, one.end) for one in guard.look(row["full_text"])]
        for start, end in spans:
            there = any(first < end and start < last for first, last in told)
            hit, missed = hit + there, missed + (not there)
        wrong += sum(not any(first < end and start < last for start, end in spans) for first, last in told)
    found.figures["pii_recall"] = round(_counted(found, "PII: recall", "spans", hit, hit + missed), 4)
    found.figures["pii_precision"] = round(_counted(found, "PII: precision", "spans", hit, hit + wrong), 4)


def _secrets(found: Report, data: Path) -> None:
    guard = secrets.Secrets(secrets.Config())
    packed = base64.b64decode((data / "secrets/secrets_dev.json.gz.b64").read_text())
    told = json.loads(gzip.decompress(packed))
    hits = sum(bool(guard.look(text)) for _, text in told["tp"])
    found.figures["secrets_recall_code"] = round(_counted(found, "secrets: recall", "code", hits, len(told["tp"])), 4)
    prose = list(_in_prose(guard, told["tp"]))
    hits = sum(bool(guard.look(text)) for text in prose)
    found.figures["secrets_recall_prose"] = round(_counted(found, "secrets: recall", "prose", hits, len(prose)), 4)
    calm = [row["text"] for pool in POOLS for row in rows(data / f"injection/{pool}.jsonl")]
    wrong = sum(bool(guard.look(text)) for text in calm)
    found.figures["secrets_fpr"] = round(_counted(found, "secrets: false alarms", "pools", wrong, len(calm)), 4)


def _in_prose(guard: UnitGuard, told: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Each secret that stands between quotes, once per vendor, in a sentence as people write them."""
    seen: set[str] = set()
    for vendor, text in told:
        pieces = [
            piece
            for piece in text.split('"')
            if len(piece) >= 10 and any(one.isdigit() for one in piece) and not any(one in piece for one in " \n=:(")
        ]
        if pieces and vendor not in seen:
            seen.add(vendor)
            yield PROSE[len(seen) % len(PROSE)].format(vendor=vendor.split("-")[0], secret=max(pieces, key=len))


# --- streams, and what it costs


def _streams(found: Report, count: int) -> None:
    chance = random.Random(7)
    guards = (pii.Pii(pii.Config()), secrets.Secrets(secrets.Config(), [KNOWN]))
    pieces = (
        "bob@example.com ", "4111 1111 1111 1111 ", "call +49 30 901820, ", "password: hunter2hunter9 ", "1 2 3 ",
        "ghp_a1B2c3D4e5F6a1B2c3D4e5F6a1B2c3D4e5F6 ", KNOWN, "the fox, ", "\n", '{"a": "b"} ',
    )  # fmt: skip
    wrong = 0
    for at in range(count):
        guard = guards[at % 2]
        text = "".join(chance.choice(pieces) for _ in range(chance.randint(1, 8)))
        wrong += _streamed(guard, text, chance) != [(one.rule, one.start, one.end) for one in guard.look(text)]
    found.figures["stream_mismatches"] = wrong
    holds: list[int] = []
    watch, passed = guards[0].watch(), 0
    for given, letter in enumerate(CLEAN * 50, 1):
        passed += len(watch.feed(letter).text)
        holds.append(given - passed)
    found.figures["hold_p99_chars"] = sorted(holds)[int(len(holds) * 0.99)]


def _streamed(guard: UnitGuard, text: str, chance: random.Random) -> list[tuple[str, int, int]]:
    watch, out, at, passed = guard.watch(), list[tuple[str, int, int]](), 0, 0
    while at <= len(text):
        size = chance.randint(1, 12)
        last = at + size > len(text)
        for one in (watch.feed(text[at : at + size]), *((watch.end(),) if last else ())):
            out += [(found.rule, found.start + passed, found.end + passed) for found in one.findings]
            passed += len(one.text)
        at += size
    return out


def _known(found: Report, count: int) -> None:
    """Each stream has the house's own key in it somewhere, among others' and much else, and is cut at random."""
    chance = random.Random(11)
    guard, masks = secrets.Secrets(secrets.Config(), [KNOWN]), Masks()
    pieces = (
        "the fox, ",
        KNOWN[:9],
        KNOWN[4:],
        "x",
        "\n",
        "é ",
        "token: ",
        '{"a": "',
        '"}',
        "=",
        "https://a.b/?k=",
        "-",
    )
    leaked = 0
    for _ in range(count):
        before, after = ("".join(chance.choice(pieces) for _ in range(chance.randint(0, 4))) for _ in range(2))
        text, watch, out, at = before + KNOWN + after, guard.watch(), list[str](), 0
        while at < len(text):
            size = chance.randint(1, 9)
            passed = watch.feed(text[at : at + size])
            out.append(masked(passed.text, passed.findings, "mask", masks))
            at += size
        passed = watch.end()
        leaked += KNOWN in "".join(out) + masked(passed.text, passed.findings, "mask", masks)
    found.figures["known_secrets_leaked"] = leaked
    found.figures["known_secret_streams"] = count


def _chunks(found: Report) -> None:
    """What a chunk costs to read, and what it costs more when two guards look at the answer."""
    codec = Chat()
    words = (CLEAN * 10).split(" ")
    frames = [
        b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
        b'{"content":%b},"finish_reason":null}]}\n\n' % json.dumps(words[at % len(words)] + " ").encode()
        for at in range(CHUNKS)
    ]
    looking = pii.Pii(pii.Config()), secrets.Secrets(secrets.Config())
    guards = [Guard(name, "mask", True, one) for name, one in zip(("pii", "secrets"), looking, strict=True)]

    def answer(*, guarded: bool) -> None:
        decoder = codec.decoder(stream=True, withhold_usage=False)
        looks = Looks(_CALL, guards, Masks(), lambda *_: None)
        rewriting = Rewriting(looks.begin)
        for frame in frames:
            events = decoder.feed(frame)
            if guarded:
                rewriting.feed(events)

    for name, guarded in (("bare", False), ("guarded", True)):
        found.figures[f"chunk_cpu_us_{name}"] = round(_cpu_us(partial(answer, guarded=guarded), 20) / CHUNKS, 2)


_CALL: Any = None  # the guards here look at texts only


def _real_speed(found: Report, data: Path) -> None:
    """Of texts as people send them, code among it, each seen for the first time; and of what is no text at all."""
    guards = _all_guards()
    texts = [row["text"] for pool in POOLS for row in rows(data / f"injection/{pool}.jsonl")]
    characters = sum(map(len, texts))
    before = time.process_time()
    for text in texts:
        _look(guards, text)
    found.figures["cpu_us_500_real"] = round((time.process_time() - before) / characters * 500 * 1e6, 1)
    small, large = ((CLEAN * (size // len(CLEAN) + 1))[:size] for size in (500, 100_000))
    per_small, per_large = _cpu_us(partial(_look, guards, small), 500), _cpu_us(partial(_look, guards, large), 3)
    found.figures["cpu_100k_per_small"] = round(per_large / 200 / per_small, 2)
    nothing = base64.b64encode(random.Random(3).randbytes(45_000)).decode()
    before = time.process_time()
    _look(guards, nothing)
    found.figures["cpu_ms_base64_60k"] = round((time.process_time() - before) * 1e3, 1)


def _look(guards: Sequence[Callable[[str], Any]], text: str) -> None:
    for guard in guards:
        guard(text)


def _all_guards() -> tuple[Callable[[str], Any], ...]:
    return (
        pii.Pii(pii.Config()).look,
        secrets.Secrets(secrets.Config()).look,
        injection.Injection(injection.Config()).look,
        lambda text: list(_shape._look(_part(text))),
    )


def _speed(found: Report) -> None:
    small = (CLEAN * 7)[:500]
    guards = _all_guards()
    found.figures["cpu_us_small"] = round(_cpu_us(lambda: [guard(small) for guard in guards], 2_000), 2)
    weights = Classifier.load(injection.OURS)
    text = plain(" ".join(row for row in trigger_words.prompts()))[:1_000]
    found.figures["tier1_cpu_ms_per_1k"] = round(_cpu_us(lambda: weights.score([text]), 200) / 1_000, 4)


def fresh(chance: random.Random) -> str:
    """Prose as nobody has written it: words that are none among others, and in 25 words a number of some kind."""
    said, size, words = list[str](), 0, PLAIN.split()
    while size < FRESH_SIZE:
        roll = chance.random()
        word = _number(chance) if roll < 0.04 else _word(chance) if roll < 0.3 else chance.choice(words)
        said.append(word + (chance.choice(".,!?") if chance.random() < 0.1 else ""))
        size += len(said[-1]) + 1
    return " ".join(said)[:FRESH_SIZE]


def _word(chance: random.Random) -> str:
    return "".join(chance.choice("bcdfghklmnprst") + chance.choice("aeiou") for _ in range(chance.randint(1, 4)))


def _number(chance: random.Random) -> str:
    """An order, a date, a price, a time, a version, a share, an article, an id, or a phone."""
    some = chance.randint
    return chance.choice(
        (
            f"#{some(1000, 99_999_999)}", f"{some(1990, 2030)}-{some(1, 12):02}-{some(1, 28):02}",
            f"{some(1, 28)}/{some(1, 12)}/{some(1990, 2030)}", f"${some(1, 5_000)}.{some(0, 99):02}", f"{some(1, 300)}",
            f"{some(0, 23)}:{some(0, 59):02}", f"v{some(0, 9)}.{some(0, 30)}.{some(0, 99)}", f"{some(0, 999) / 10}%",
            f"{chance.choice('ABCDEF')}{chance.choice('KLM')}X-{some(100, 99_999)}",
            str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            f"({some(200, 999)}) {some(200, 999)}-{some(0, 9_999):04}",
        )
    )  # fmt: skip


def _first_seen(found: Report) -> None:
    """What a text costs that nobody has seen, from the first on: automatons that grow with what they see cost more."""
    chance = random.Random(17)
    texts, guards = [fresh(chance) for _ in range(FRESH)], _all_guards()
    for name, some in (("cpu_us_first_texts", texts[:100]), ("cpu_us_first_seen", texts[100:])):
        before = time.process_time()
        for text in some:
            _look(guards, text)
        found.figures[name] = round((time.process_time() - before) / len(some) * 1e6, 1)


_shape = shape.Shape(shape.Config())


def _part(text: str) -> Any:
    return shape.Part("prompt", "user", text)


def _cpu_us(work: Callable[[], object], times: int) -> float:
    """Of one, the least of five rounds: what else the machine does only adds."""
    rounds = []
    for _ in range(5):
        before = time.process_time()
        for _ in range(times):
            work()
        rounds.append((time.process_time() - before) / times * 1e6)
    return min(rounds)


def said(found: Report) -> str:
    lines = [
        (f"{row['what']}, {row['source']}", row["hits"], row["of"], f"{row['hits'] / max(row['of'], 1):.1%}",
         f"{row['low']:.1%} … {row['high']:.1%}")
        for row in found.rows
    ]  # fmt: skip
    return report.table(("", "hits", "of", "share", "95 of 100"), lines) + "\n\n" + report.figures_table(found)
