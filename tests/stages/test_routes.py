"""A model name leads to its targets: a route, an alias or `provider/model`; anything else is told what is near."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.effort import steps
from tidegate.config import parse
from tidegate.core.call import Asked, Call, Principal
from tidegate.core.errors import ConfigError, Forbidden, ModelNotFound
from tidegate.core.money import Price
from tidegate.core.values import Duration
from tidegate.providers import openai
from tidegate.providers.openai.chat import Chat
from tidegate.stages.routes import DEFAULT_TIMEOUT, MAX_NAME, MAX_REMEMBERED, Config, Routes, TargetConfig


class Prices:
    """Knows one model of one vendor."""

    known = Price({"input": 1, "output": 2}, "a list")

    def price(self, vendor: str, model: str) -> Price | None:
        return self.known if (vendor, model) == ("acme", "gpt") else None


def provider(name: str, *models: str) -> openai.OpenAI:
    return openai.OpenAI(name, openai.Config(models=models, vendor="acme"), Prices())


PROVIDERS = {one.name: one for one in (provider("main", "gpt", "gpt-mini"), provider("spare", "gpt", "llama"))}


def targets(*names: str, **fields: Any) -> tuple[TargetConfig, ...]:
    return tuple(TargetConfig(*name.split("/", 1), **fields) for name in names)


def routes(**configs: Config) -> Routes:
    return Routes(configs, PROVIDERS)


def found(table: Routes, model: str) -> list[str]:
    return [target.name for target in table.find(model).targets]


# --- names


def test_a_route_is_found_by_its_name_and_its_aliases() -> None:
    table = routes(fast=Config(targets("main/gpt"), aliases=("gpt-4o", "default"), timeout=Duration(5)))
    assert [table.find(name) for name in ("gpt-4o", "default")] == [table.find("fast")] * 2
    assert table.find("default").name == "fast", "rows and limits know one name"
    assert table.find("fast").timeout_s == 5
    assert table.names == ["fast", "gpt-4o", "default"]


def test_a_call_is_matched_by_the_model_it_asks_for() -> None:
    async def intake() -> bytes:
        return b""

    call = Call(id="r", dialect="openai", operation="chat", at_ms=0, arrived_ns=0, intake=intake)
    call.asked = Asked(codec=Chat(), body=b"", model="fast")
    call.principal = Principal("k", "ci")
    table = routes(fast=Config(targets("main/gpt")))
    assert table.match(call) is table.find("fast")


def test_targets_are_asked_by_their_order_and_else_as_they_are_written() -> None:
    written = (
        TargetConfig("main", "third", order=2),
        TargetConfig("spare", "first", order=1),
        TargetConfig("main", "fourth", order=2),
        TargetConfig("main", "second", order=1),
    )
    assert found(routes(fast=Config(written)), "fast") == ["spare/first", "main/second", "main/third", "main/fourth"]


def test_a_target_carries_its_share_and_its_price() -> None:
    table = routes(fast=Config((TargetConfig("main", "gpt", weight=3), TargetConfig("main", "new"))))
    first, second = table.find("fast").targets
    assert (first.weight, first.price) == (3, Prices.known)
    assert second.price is None, "not known is not free"


def test_without_routes_every_served_model_is_one_and_the_first_provider_wins() -> None:
    table = routes()
    assert table.names == ["gpt", "gpt-mini", "llama"]
    assert found(table, "gpt") == ["main/gpt"]
    assert found(table, "llama") == ["spare/llama"]
    assert table.find("gpt").timeout_s == DEFAULT_TIMEOUT


def test_with_routes_only_they_have_names() -> None:
    table = routes(fast=Config(targets("main/gpt")))
    assert table.names == ["fast"]
    with pytest.raises(ModelNotFound):
        table.find("gpt")


# --- provider/model


@pytest.mark.parametrize("model", ["gpt", "anything", "meta-llama/Llama-3.1-8B", "a b", "ünï", "/"])
def test_any_model_of_a_provider_can_be_asked_for_by_both_names(model: str) -> None:
    (target,) = routes(fast=Config(targets("main/gpt"))).find(f"spare/{model}").targets
    assert (target.provider, target.model) == (PROVIDERS["spare"], model)
    assert target.price == (Prices.known if model == "gpt" else None)


def test_a_route_comes_before_a_provider() -> None:
    table = Routes({"main/gpt": Config(targets("spare/llama"))}, PROVIDERS)
    assert found(table, "main/gpt") == ["spare/llama"]
    assert found(table, "main/other") == ["main/other"]


@pytest.mark.parametrize(
    "model", ["", "/", "main", "main/", "/gpt", "nobody/gpt", "MAIN/gpt", " main/gpt", "fas", "FAST"]
)
def test_what_has_no_route_is_not_found(model: str) -> None:
    with pytest.raises(ModelNotFound) as refused:
        routes(fast=Config(targets("main/gpt"))).find(model)
    assert refused.value.param == "model"


def test_the_routes_that_clients_name_are_remembered_and_bounded() -> None:
    table = routes()
    first = table.find("main/0")
    assert table.find("main/0") is first
    for number in range(1, MAX_REMEMBERED + 1):
        last = table.find(f"main/{number}")
    assert table.find(f"main/{number}") is last
    assert table.find("main/0") is not first, "it was made anew"
    assert table.names == ["gpt", "gpt-mini", "llama"], "what clients make up is not listed"


def test_a_name_that_is_too_long_to_be_one_is_not_found_and_not_remembered() -> None:
    with pytest.raises(ModelNotFound) as refused:
        routes().find("main/" + "x" * MAX_NAME)
    assert len(refused.value.message) < 1_000


class OnlyItsOwn(openai.OpenAI):
    """A provider that has the models it lists and no others, as the local one."""

    def serves(self, model: str) -> bool:
        return model in self.models


def test_a_model_that_its_provider_does_not_have_is_not_found_and_not_configured() -> None:
    providers = {"own": OnlyItsOwn("own", openai.Config(models=("smol",)), Prices())}
    assert found(Routes({}, providers), "own/smol") == ["own/smol"]
    with pytest.raises(ModelNotFound):
        Routes({}, providers).find("own/large")
    with pytest.raises(ConfigError) as refused:
        Routes({"fast": Config(targets("own/large"))}, providers)
    assert refused.value.message == "routes.fast.targets[0].model: own has no model 'large'; there are: smol"


# --- what is near


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("fsat", "no model 'fsat'; did you mean 'fast'?"),
        ("smart-2", "no model 'smart-2'; did you mean 'smart'?"),
        ("gpt-4", "no model 'gpt-4'; did you mean 'gpt-4o'?"),
        ("zzzzzz", "no model 'zzzzzz'; there are: fast, smart, gpt-4o"),
        ("", "no model ''; there are: fast, smart, gpt-4o"),
        ("a\r\nb: c", "no model 'a\\r\\nb: c'; there are: fast, smart, gpt-4o"),
    ],
)
def test_an_unknown_model_is_told_the_nearest(asked: str, hint: str) -> None:
    table = routes(fast=Config(targets("main/gpt"), aliases=("gpt-4o",)), smart=Config(targets("spare/llama")))
    with pytest.raises(ModelNotFound) as refused:
        table.find(asked)
    assert refused.value.message == hint


def test_where_there_is_nothing_yet_it_says_so() -> None:
    with pytest.raises(ModelNotFound, match="no model 'gpt'; there are: none yet"):
        Routes({}, {}).find("gpt")


@given(st.text(max_size=30))
def test_any_name_is_a_route_or_not_found(model: str) -> None:
    try:
        assert routes().find(model).targets
    except ModelNotFound:
        return


def test_a_wrong_name_among_a_thousand_routes_holds_nobody_up() -> None:
    table = Routes({f"route-{number}": Config(targets("main/gpt")) for number in range(1_000)}, PROVIDERS)
    with pytest.raises(ModelNotFound, match="did you mean 'route-5'"):
        table.find("route-5oo")

    def misses(name: str) -> None:
        with pytest.raises(ModelNotFound):
            table.find(name)

    assert steps(lambda: misses("rout-" + "x" * 300)) < 400_000
    assert steps(lambda: misses("route-5oo")) < 400_000


# --- what cannot be configured


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        (
            {"fast": Config(targets("main/gpt", "spar/gpt"))},
            "routes.fast.targets[1].provider: no provider 'spar'; did you mean 'spare'?",
        ),
        (
            {"fast": Config(targets("zzz/gpt"))},
            "routes.fast.targets[0].provider: no provider 'zzz'; there are: main, spare",
        ),
        (
            {"fast": Config(targets("main/gpt")), "slow": Config(targets("main/gpt"), aliases=("fast",))},
            "routes.slow: the name 'fast' is taken by route 'fast'",
        ),
        (
            {"a": Config(targets("main/gpt"), aliases=("x",)), "b": Config(targets("main/gpt"), aliases=("x",))},
            "routes.b: the name 'x' is taken by route 'a'",
        ),
        ({"a": Config(targets("main/gpt"), aliases=("a",))}, "routes.a: the name 'a' is taken by route 'a'"),
    ],
)
def test_routes_that_cannot_be_are_refused_by_name(configs: dict[str, Config], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Routes(configs, PROVIDERS)
    assert refused.value.message == message


def test_a_target_without_any_provider_says_that_there_is_none() -> None:
    with pytest.raises(ConfigError, match=r"no provider 'main'; there are: none"):
        Routes({"fast": Config(targets("main/gpt"))}, {})


# --- whose it is


def asking(model: str, **fields: Any) -> Call:
    async def intake() -> bytes:
        return b""

    call = Call(id="r", dialect="openai", operation="chat", at_ms=0, arrived_ns=0, intake=intake)
    call.asked = Asked(codec=Chat(), body=b"", model=model)
    call.principal = Principal("k", "ci", **fields)
    return call


@pytest.fixture
def owned() -> Routes:
    return routes(
        theirs=Config(targets("main/gpt"), aliases=("also-theirs",), owner="search"),
        ours=Config(targets("spare/llama"), owner="ads"),
        anybodys=Config(targets("main/gpt-mini")),
    )


@pytest.mark.parametrize("model", ["theirs", "also-theirs", "main/gpt"])
def test_a_route_that_a_team_owns_is_for_its_keys_and_for_admins(owned: Routes, model: str) -> None:
    assert owned.match(asking(model, team_id="search")).targets[0].name == "main/gpt"
    assert owned.match(asking(model, role="admin"))
    for other in ({}, {"team_id": "ads"}, {"team_id": "ads", "role": "manager"}):
        with pytest.raises(Forbidden, match="is not yours to ask for: it belongs to"):
            owned.match(asking(model, **other))


def test_what_somebody_may_reach_by_a_route_they_may_reach_directly() -> None:
    table = routes(a=Config(targets("main/gpt"), owner="search"), b=Config(targets("main/gpt")))
    assert table.match(asking("main/gpt")).targets[0].name == "main/gpt"


def test_a_key_for_some_routes_is_for_no_other(owned: Routes) -> None:
    fields = {"routes": frozenset({"anybodys", "theirs"}), "team_id": "ads"}
    assert owned.match(asking("anybodys", **fields)).name == "anybodys"
    with pytest.raises(Forbidden, match="key 'ci' may ask for anybodys, theirs, and not for 'main/gpt-mini'"):
        owned.match(asking("main/gpt-mini", **fields))
    with pytest.raises(Forbidden, match="'theirs' is not yours to ask for: it belongs to team 'search'"):
        owned.match(asking("theirs", **fields))


def test_not_there_is_another_thing_than_not_yours(owned: Routes) -> None:
    with pytest.raises(ModelNotFound):
        owned.match(asking("their", routes=frozenset({"anybodys"})))


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["anybodys"]),
        ({"team_id": "search"}, ["theirs", "anybodys", "also-theirs"]),
        ({"role": "admin"}, ["theirs", "ours", "anybodys", "also-theirs"]),
        ({"team_id": "search", "routes": frozenset({"theirs"})}, ["theirs", "also-theirs"]),
    ],
)
def test_models_are_listed_for_whom_they_are(owned: Routes, fields: dict[str, Any], names: list[str]) -> None:
    assert owned.open_to(Principal("k", "ci", **fields)) == names


# --- patterns


def test_a_pattern_is_for_all_names_that_fit_and_the_longest_goes_first() -> None:
    table = Routes(
        {
            "*": Config(targets("spare/llama")),
            "gpt-*": Config(targets("main/*")),
            "gpt-4*": Config(targets("spare/*", "main/gpt")),
            "gpt-4o": Config(targets("main/gpt-mini")),
        },
        PROVIDERS,
    )
    assert found(table, "gpt-5") == ["main/gpt-5"]
    assert found(table, "gpt-4.1") == ["spare/gpt-4.1", "main/gpt"]
    assert found(table, "gpt-4o") == ["main/gpt-mini"], "a whole name goes before a pattern"
    assert found(table, "anything") == ["spare/llama"]
    assert table.find("gpt-5").name == "gpt-*", "rows and metrics know one name"
    assert table.names == ["gpt-4o"] and table.find("gpt-5") is table.find("gpt-5")


def test_a_targets_price_is_that_of_the_name_it_is_asked_for() -> None:
    table = Routes({"*": Config(targets("main/*"))}, PROVIDERS)
    (known,), (unknown,) = table.find("gpt").targets, table.find("gpt-9").targets
    assert (known.price, unknown.price) == (Prices.known, None)


# --- what they fall back to


def test_a_route_carries_those_that_it_falls_back_to() -> None:
    table = routes(
        fast=Config(targets("main/gpt"), fallback="slow", longer="spare/long"), slow=Config(targets("spare/gpt"))
    )
    route = table.find("fast")
    assert route.fallback is table.find("slow") and route.longer is not None
    assert route.longer.targets[0].name == "spare/long"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("strategy: fastes", "tidegate.yaml:5: routes.fast.strategy: cannot be 'fastes'; did you mean 'fastest'?"),
        ("fallback: fast", "tidegate.yaml:5: routes.fast.fallback: a route cannot fall back to itself"),
        ("fallback: slow", "tidegate.yaml:5: routes.fast.fallback: goes in a circle: fast → slow → fast"),
        ("longer: slow", "tidegate.yaml:5: routes.fast.longer: goes in a circle: fast → slow → fast"),
        ("fallback: slwo", "tidegate.yaml:5: routes.fast.fallback: no route 'slwo'; did you mean 'slow'?"),
        ("hedge: {after: p100}", "tidegate.yaml:5: routes.fast.hedge.after: a duration such as 800ms, or p50 to p99"),
        ("hedge: {max_extra: 101%}", "tidegate.yaml:5: routes.fast.hedge.max_extra: a share such as 5%"),
        ("on_disconnect: wait", "tidegate.yaml:5: routes.fast.on_disconnect: cannot be 'wait'; there are: cancel, dr"),
        ("timeouts: {first: 1s}", "tidegate.yaml:5: routes.fast.timeouts.first: no such key"),
    ],
)
def test_what_a_route_cannot_be_told_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(
            "providers: {main: {type: scripted}}\nroutes:\n  fast:\n    targets: [{provider: main, model: m}]\n"
            f"    {text}\n  slow: {{targets: [{{provider: main, model: m}}], content_policy: fast}}\n",
            {},
        )
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ("{targets: []}", "tidegate.yaml:3: routes.fast.targets: needs at least one"),
        ("{}", "tidegate.yaml:3: routes.fast.targets: needs at least one"),
        (
            "{targets: [{provider: main, model: m, weight: -1}]}",
            "tidegate.yaml:3: routes.fast.targets[0].weight: expected 'int' >= 0",
        ),
        (
            "{targets: [{provider: mian, model: m}]}",
            "tidegate.yaml:3: routes.fast.targets[0].provider: no provider 'mian'; did you mean 'main'?",
        ),
    ],
)
def test_a_route_without_anybody_who_could_answer_is_named_with_its_line(route: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(f"providers: {{main: {{type: scripted}}}}\nroutes:\n  fast: {route}\n", {})
    assert refused.value.message.startswith(message)
