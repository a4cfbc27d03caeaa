"""How OpenAI, or whoever speaks like it, is asked: at which address, with whose key, at what price."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.core.call import Call, Target
from tidegate.core.errors import ConfigError
from tidegate.core.money import OWN_HARDWARE, Price
from tidegate.core.ports import Request, Timeouts
from tidegate.core.values import Secret
from tidegate.providers.openai import Config, OpenAI
from tidegate.providers.openai.chat import Chat

LIST = Price({"input": 1}, "a list")


class Prices:
    """Knows every model of OpenAI's and of nobody else's."""

    def price(self, vendor: str, model: str) -> Price | None:
        return LIST if vendor == "openai" else None


def provider(**fields: Any) -> OpenAI:
    keys = tuple(Secret(key) for key in fields.pop("keys", ()))
    return OpenAI("main", Config(keys=keys, **fields), Prices())


def asked(main: OpenAI, *, dialect: str = "openai", query: bytes = b"", headers: Any = ()) -> Request:
    async def intake() -> bytes:
        return b""

    call = Call(
        id="r", dialect=dialect, operation="chat", at_ms=0, arrived_ns=0, headers=headers, query=query, intake=intake
    )
    key = main.keys[0] if main.keys else None
    return main.request(call, Target(main, "m"), Chat(), b'{"a":1}', Timeouts(), key)


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1/"])
def test_it_is_asked_below_its_address(base_url: str) -> None:
    request = asked(provider(base_url=base_url))
    assert (request.method, request.url, request.body) == (
        "POST",
        "http://127.0.0.1:1/v1/chat/completions",
        b'{"a":1}',
    )
    assert asked(provider()).url == "https://api.openai.com/v1/chat/completions"


def test_what_a_client_presents_stays_here_and_our_key_goes_out() -> None:
    presented = [(b"authorization", b"Bearer tg_live_x"), (b"x-api-key", b"tg_live_x"), (b"cookie", b"a=b")]
    request = asked(provider(keys=("sk-1",)), headers=presented)
    assert b"tg_live_x" not in repr(request.headers).encode()
    assert dict(request.headers)[b"authorization"] == b"Bearer sk-1"
    ours = {b"authorization", b"content-type", b"accept-encoding", b"x-tidegate-hop"}
    assert {name for name, _ in request.headers} == ours
    assert b"authorization" not in dict(asked(provider(), headers=presented).headers)


def test_all_its_keys_are_secrets() -> None:
    assert list(provider(keys=("sk-1", "sk-2")).secrets()) == ["sk-1", "sk-2"]


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        (b"", ""),
        (b"api-version=2025-01-01&x=%C3%A9", "?api-version=2025-01-01&x=%C3%A9"),
        ("x=é".encode(), "?x=%C3%A9"),
        (b"x=a b\r\nevil: 1", "?x=a%20b%0D%0Aevil:%201"),
        (b"x=\xff\x00", "?x=%FF%00"),
        (b"x=a#b", "?x=a%23b"),
    ],
)
def test_a_query_goes_along_and_cannot_break_out_of_its_line(query: bytes, sent: str) -> None:
    main = provider(base_url="http://127.0.0.1:1/v1")
    assert asked(main, query=query).url == f"http://127.0.0.1:1/v1/chat/completions{sent}"
    assert "?" not in asked(main, query=query, dialect="toy").url, "it means nothing in another dialect"


def test_the_price_is_that_of_the_list_for_openai_itself() -> None:
    assert provider().price("gpt") == LIST


def test_whoever_else_speaks_its_dialect_has_no_price_by_accident() -> None:
    assert provider(base_url="http://127.0.0.1:1/v1").price("gpt") is None
    assert provider(base_url="http://127.0.0.1:1/v1", vendor="openai").price("gpt") == LIST


def test_a_price_that_is_configured_goes_before_every_list() -> None:
    price = provider(price={"input": 0.15, "output": 0.6}).price("anything")
    assert price is not None and price.rates == {"input": 150_000_000, "output": 600_000_000}
    assert provider(price="own_hardware").price("anything") == OWN_HARDWARE
    nothing = provider(price={"input": 0.0, "output": 0.0}).price("anything")
    assert nothing is not None and nothing.rates == {"input": 0, "output": 0}


@pytest.mark.parametrize(
    "price", ["own_hardwrae", "0.15", "", {"inptu": 1.0}, {"input": -1.0}, {"input": float("nan")}, {"input": 1e12}]
)
def test_a_price_that_is_none_is_refused_and_never_free(price: Any) -> None:
    with pytest.raises(ConfigError, match=r"providers\.main\.price"):
        provider(price=price)
