"""Who else can make a prompt shorter?"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

import msgspec
import pytest

from tests.house import Build, House, until
from tidegate.config import parse
from tidegate.core.errors import ConfigError

LONG = "The gate opens at six, says the keeper of the gate. " * 40
ASKS = f"{LONG}\n\nQuestion: When does the gate open?"
HELD = threading.Event()


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    does: str = "half"


class Mine:
    """One of an operator's own."""

    def __init__(self, config: Config) -> None:
        self._does = config.does

    def compress(self, question: str, texts: Sequence[str], target: float) -> Sequence[str] | None:
        assert question == "When does the gate open?"
        if self._does == "fail":
            raise RuntimeError("no such model")
        if self._does == "hang":
            HELD.wait(5)
        if self._does == "too many":
            return [*texts, "more"]
        if self._does == "longer":
            return [text + text for text in texts]
        return None if self._does == "nothing" else [text[: len(text) // 2] for text in texts]


async def made(build_house: Build, does: str, timeout: str = "2s") -> tuple[House, str, str]:
    """What went out, and at which level, of a prompt that this compressor was given."""
    house = await build_house(f"""
logs: {{calls: false}}
providers: {{main: {{type: scripted}}}}
routes:
  fast:
    targets: [{{provider: main, model: m}}]
    shrink: {{level: custom, compressor: {{type: "{__name__}:Mine", does: {does}, timeout: {timeout}}}}}
""")
    reply = await house.ask(ASKS)
    assert reply.status == 200 and reply.row and reply.row.shrunk and reply.row.shrunk.level
    said = json.loads(house.provider("main").requests[-1].body)["messages"][0]["content"]
    return house, said, reply.row.shrunk.level


async def test_what_a_compressor_makes_of_the_context_goes_out(build_house: Build) -> None:
    _, said, level = await made(build_house, "half")
    assert level == "custom"
    assert len(said) < 0.6 * len(ASKS) and said.endswith("When does the gate open?")


@pytest.mark.parametrize("does", ["nothing", "longer"])
async def test_where_it_has_nothing_shorter_the_prompt_goes_out_as_it_came(build_house: Build, does: str) -> None:
    _, said, level = await made(build_house, does)
    assert (said, level) == (ASKS, "custom")


@pytest.mark.parametrize("does", ["fail", "too many"])
async def test_one_that_fails_is_done_without_and_told(build_house: Build, does: str) -> None:
    house, said, level = await made(build_house, does)
    assert (said, level) == (ASKS, "lossless")
    assert b'tidegate_notices_total{name="compressor_failed"} 1.0' in house.app.metrics.page()


async def test_one_that_hangs_is_not_waited_for(build_house: Build) -> None:
    HELD.clear()
    house, said, level = await made(build_house, "hang", timeout="50ms")
    assert (said, level) == (ASKS, "lossless")
    for _ in range(4):  # three more find a thread; the last one does not, and goes on at once
        assert (await house.ask(ASKS)).status == 200
    assert b'tidegate_notices_total{name="compressor_failed"} 5.0' in house.app.metrics.page()
    HELD.set()
    await until(lambda: not any(thread.name == "compress" for thread in threading.enumerate()))


@pytest.mark.parametrize(
    ("shrink", "said"),
    [
        ("{level: custom}", "set both, or neither"),
        (f'{{level: lossless, compressor: {{type: "{__name__}:Mine"}}}}', "set both, or neither"),
        (f'{{level: custom, compressor: {{type: "{__name__}:Mine", dose: 1}}}}', "did you mean 'does'?"),
        (f'{{level: custom, compressor: {{type: "{__name__}:Mine", timeout: soon}}}}', "timeout"),
        ("{level: custom, compressor: {type: nobody}}", "no router 'nobody'"),
        ("{level: custom, compressor: {does: half}}", "needs a type"),
    ],
)
def test_a_compressor_that_cannot_be_is_named(shrink: str, said: str) -> None:
    route = f"{{targets: [{{provider: a, model: m}}], shrink: {shrink}}}"
    with pytest.raises(ConfigError, match=r"routes\.r\.shrink") as wrong:
        parse(f"providers: {{a: {{type: scripted}}}}\nroutes: {{r: {route}}}", {})
    assert said in wrong.value.message
