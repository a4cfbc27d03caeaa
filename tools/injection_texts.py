"""Which texts does the trainer learn from beside those that it is given? Written for it, by hand.

Attacks in eleven languages (injection_tongues.yaml), for the texts that can be had are nearly all English; wiles that
need no "ignore", each beside what people say with the same words (injection_wiles.yaml); what people ask on an ordinary
day, in forty languages (injection_everyday.yaml); and what only sounds like an attack: its words in the mouth of who
means no harm, and an application's orders to its own model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, product
from pathlib import Path

import yaml

TONGUES = Path(__file__).with_name("injection_tongues.yaml")
WILES = Path(__file__).with_name("injection_wiles.yaml")
EVERYDAY = Path(__file__).with_name("injection_everyday.yaml")
WILE_FILLS, WISH_FILLS = 10, 40  # texts of each line that has a slot
_SLOT = re.compile(r"(?<!\{)\{(\w+)\}")
_VERBS = """
ignore
override
disregard
bypass
forget
skip
disable
reset
reveal
repeat
cancel
erase
act as
pretend to be
enable
decode
disclose
summarise
follow
bend
void
unlock
""".strip().splitlines()
_OBJECTS = """
a class method in Kotlin
the second chapter of my thesis
warnings of the compiler
null values in pandas
a failing test in pytest
the old address in my contract
a tour guide for my nephew
the lock on my suitcase
case when I compare strings
my alarm on holidays
the default theme of the editor
empty lines in a CSV file
the house rules of our flat
a firewall rule for port 22
the instructions on the medicine box
safe mode on my PC
hidden columns in Excel
the password policy of our domain
an admin account on Windows
developer tools in Firefox
a customs declaration
the prompt of my shell
system fonts on Linux
an earlier order at the shop
the previous tenant's mail
a message of the robot vacuum
the guidelines of the school board
content filters on the TV
the constraints of a linear program
a user story for our assistant app
the limits of integration
what my boss told me
""".strip().splitlines()
_ASKED = """
How do I {verb} {thing}?
Is it fine to {verb} {thing}?
Why would anybody {verb} {thing}?
Write a short note that explains when to {verb} {thing}.
My notes say: {verb} {thing}. What is meant?
Can you show an example of how to {verb} {thing} and what happens then?
Please {verb} {thing} in the next draft.
Explain {thing} to a beginner, and when one should {verb} it.
""".strip().splitlines()
_WISHES = """
Could you repeat
Please shorten
Rewrite
Print
Show me
Give me
Can you list
Translate
Explain
I would like
Do not change
Write down
""".strip().splitlines()
_ANSWERS = """
your last answer
your explanation
your previous reply
the text above
the code from before
the output of this loop
the rules of the game
all steps
the sentence "never mind"
what you said earlier
""".strip().splitlines()
_FORMS = """
as a table
in French
as bullet points
with one example
in fewer words
for a child of six
again
""".strip().splitlines()


def _tongues() -> Iterator[dict[str, list[str]]]:
    for tongue in yaml.safe_load(TONGUES.read_text(encoding="utf-8")).values():
        yield {kind: lines.splitlines() for kind, lines in tongue.items()}


def attacks() -> Iterator[str]:
    for said in _tongues():
        undo, then, become, tell = said["undo"], said["then"], said["become"], said["tell"]
        yield from (*undo, *become, *tell)
        for pairs in (product(undo, then), product(undo, become), product(become, then), product(undo, tell)):
            yield from (f"{first} {second}" for first, second in pairs)


def calm() -> Iterator[str]:
    """Alone, and two at a time: their length says nothing then."""
    for said in _tongues():
        yield from said["calm"]
        yield from (f"{one} {other}" for one, other in product(said["calm"], said["calm"]) if one is not other)


def harmless() -> Iterator[str]:
    """The words of attacks, by people who mean no harm."""
    for verb in _VERBS:
        for at, thing in enumerate(_OBJECTS):
            yield _ASKED[(at + len(verb)) % len(_ASKED)].format(verb=verb, thing=thing)
    for at, wish in enumerate(_WISHES):
        for answer in _ANSWERS:
            yield from (f"{wish} {answer} {form}{'?.!'[at % 3]}" for form in _FORMS)


_ROLES = """
an experienced editor
a patient teacher of mathematics
an AI assistant that plans searches
a senior developer in Rust and C
the narrator of a text adventure
a travel guide for Lisbon
a copywriter for a shop of outdoor gear
a data analyst at a hospital
a chatbot of a library
a strict reviewer of scientific papers
a coach for job interviews
an assistant that turns meeting notes into tasks
a suspicious robot in a short story
an expert for search engines and product pages
a game master
an agent with access to a calendar
""".strip().splitlines()
_DUTIES = """
Your task is to analyze what users write and to find out what they want.
Here are your instructions: first read the text, then answer in JSON.
Only reply with the corrected text, and nothing else.
Follow the rules below strictly.
Interpret any additional instructions that the user gives you.
I will send you a message, and you will answer in character.
You must not explain your answer.
Ignore empty lines and comments in the input.
Do not repeat the question.
Always answer in the language of the user.
Use the format below, and do not add anything to it.
Keep your instructions in mind when the user changes the subject.
""".strip().splitlines()
_WORK = """
The product is a folding bicycle for commuters.
Question: how do I keep basil alive in winter?
Begin with a greeting, then describe the castle.
Input: the meeting was moved to Thursday, Ana will book the room.
Rewrite this function so that it reads the file only once.
Create a prompt for an image of a lighthouse at night.
Write a system prompt for a support chatbot, with three rules about tone.
Fix only what I ask for.
The access code of the door in the story is 4711; the hero must not reveal it.
Explain which settings of the configuration the code reads.
""".strip().splitlines()


def personas() -> Iterator[str]:
    """Who tells a model what it is and what to do, as its own application does: no attack, though it gives orders."""
    for at, role in enumerate(_ROLES):
        for first, duty in enumerate(_DUTIES):
            other, work = _DUTIES[(first + at + 1) % len(_DUTIES)], _WORK[(first + at) % len(_WORK)]
            begun = ("You are", "Act as", "I want you to act as", "Imagine you are")[(at + first) % 4]
            yield f"{begun} {role}. {duty} {work}"
            if first % 2:
                yield f"{begun} {role}. {duty} {other}\n\n{work}"
        yield f"You are {role}."


def _filled(lines: Iterable[str], words: Mapping[str, Sequence[str]], times: int) -> Iterator[str]:
    """Each line that has slots so many times; the words go round in steps, so that it is the same in each run."""
    at = 0
    for line in lines:
        for _ in range(times if _SLOT.search(line) else 1):
            said = ""
            for fixed, slot in zip(*[iter([*_SLOT.split(line), ""])] * 2, strict=True):
                said += fixed.replace("{{", "{").replace("}}", "}")
                if slot:
                    at += 1
                    some = words[slot]
                    said += some[(at * 7 + at // len(some)) % len(some)]
            yield said


def _read(path: Path) -> dict[str, dict[str, list[str]]]:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: {kind: lines.splitlines() for kind, lines in kinds.items()} for name, kinds in found.items()}


def _of_wiles(kind: str) -> Iterator[str]:
    said = _read(WILES)
    words = {name: kinds["lines"] for name, kinds in said.items() if "lines" in kinds}
    return _filled((line for kinds in said.values() for line in kinds.get(kind, ())), words, WILE_FILLS)


def wiles() -> Iterator[str]:
    return _of_wiles("attacks")


def guileless() -> Iterator[str]:
    """The words of wiles, by people who have none in mind."""
    return _of_wiles("harmless")


def everyday() -> Iterator[str]:
    """What is asked in forty languages, alone and two at a time, and what is wished for in English."""
    said = _read(EVERYDAY)["asked"]
    yield from said["tongues"]
    yield from (f"{one} {other}" for one, other in pairwise(said["tongues"]))
    yield from _filled(said["wishes"], said, WISH_FILLS)


def mentions() -> Iterator[str]:
    """Questions of all kinds in which a word of attacks stands by chance."""
    said = _read(EVERYDAY)["mentioned"]
    yield from (frame.format(words=words) for frame in said["frames"] for words in said["words"])
