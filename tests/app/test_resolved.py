"""What is configured, value by value, and who has said so."""

from __future__ import annotations

from tests.house import Build
from tidegate import config
from tidegate.app.resolved import settings

TEXT = """
api: {port: 9000}
limits: {default: [{of: requests, most: 5}]}
providers:
  main: {type: openai, keys: ["env:OPENAI_KEY", written-down-here], price: {input: 1, output: 2}}
routes:
  fast: {targets: [{provider: main, model: m}], cache: {exact: true}}
"""
SECRETS = {"OPENAI_KEY": "never-shown", "TIDEGATE_API_HOST": "0.0.0.0"}


def told(text: str = TEXT) -> dict[str, tuple[object, str]]:
    found = settings(config.parse(text, SECRETS), SECRETS)
    return {one.path: (one.value, one.source) for one in found}


def test_each_value_says_where_it_comes_from() -> None:
    found = told()
    assert found["api.port"] == (9000, "file")
    assert found["api.host"] == ("0.0.0.0", "env:TIDEGATE_API_HOST")
    assert found["console.enabled"] == (True, "default")
    assert found["limits.default[0].most"] == (5, "file")
    assert found["providers.main.type"] == ("openai", "file")
    assert found["routes.fast.targets[0].model"] == ("m", "file")
    assert found["routes.fast.cache.exact"] == (True, "file")
    assert found["routes.fast.cache.single_flight"][1] == "default"


def test_a_secret_is_shown_by_where_it_comes_from_and_never_itself() -> None:
    found = told()
    assert found["providers.main.keys[0]"] == ("<env:OPENAI_KEY>", "env:OPENAI_KEY")
    assert found["providers.main.keys[1]"] == ("<set in the configuration>", "file")
    assert "never-shown" not in str(found) and "written-down-here" not in str(found)


def test_it_says_what_was_found_by_itself() -> None:
    found = settings(config.parse("", {}, found=[("near", {"type": "local"}, "it is here")]), {})
    assert ("providers.near", "found: it is here") in {(one.path, one.source) for one in found}


def test_every_value_is_told_once() -> None:
    paths = list(told())
    assert len(paths) > 100 and len(paths) == len(set(paths)) == len(settings(config.parse(TEXT, SECRETS), SECRETS))


async def test_an_administrator_reads_them_over_http_and_nobody_else(build_house: Build) -> None:
    house = await build_house()
    reply = await house.get("/admin/settings")
    assert {"path": "console.enabled", "value": True, "source": "default"} in reply.events[0]["settings"]
    _, key = await house.app.gateway.auth.desk.make_key("look", role="viewer")
    assert (await house.get("/admin/settings", key=key)).status != 200
