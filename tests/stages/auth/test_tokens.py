"""A token of an issuer is as good as a key, when all of it is right; when the issuer cannot say, nobody comes in."""

from __future__ import annotations

import asyncio
import hmac
import json
import warnings
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from tests.house import Build, House, Reply
from tidegate import config
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Organisation, Team, User
from tidegate.stages.auth.jwks import FRESH_NS, PAUSE_NS, STALE_NS

AUDIENCE = "tidegate"
RSA = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
OTHER = RSAKey.generate_key(2048, {"kid": "two", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "curve", "use": "sig"})
SHARED = OctKey.generate_key(256, {"kid": "shared"})


class Issuer:
    """An issuer on a socket of its own: says its keys, signs tokens, and counts who asked."""

    def __init__(self) -> None:
        self.keys: list[Any] = [RSA]
        self.asked: list[str] = []
        self.answer: Callable[[str], bytes] = self.honest
        self.url = ""

    def honest(self, path: str) -> bytes:
        if path == "/.well-known/openid-configuration":
            return http(json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode())
        return http(json.dumps({"keys": [key.as_dict(private=False) for key in self.keys]}).encode())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                self.asked.append(path)
                writer.write(self.answer(path))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def token(self, house: House, key: Any = RSA, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """One that is good, but for what is said otherwise; None takes something away."""
        now = house.clock.wall_ns() // 1_000_000_000
        said = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300, **claims}
        head = {"alg": "RS256", "typ": "JWT", "kid": getattr(key, "kid", None), **(header or {})}
        said, head = ({name: one for name, one in fields.items() if one is not None} for fields in (said, head))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the keys that nobody should use
            return jws.serialize_compact(head, json.dumps(said), key, algorithms=[head["alg"]])


def http(body: bytes, status: int = 200, **headers: str) -> bytes:
    extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{extra}\r\n".encode() + body


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    one = Issuer()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.url = "http://127.0.0.1:{1}".format(*server.sockets[0].getsockname())
    yield one
    server.close()


CONFIG = """
logs: {{calls: false}}
providers: {{main: {{type: scripted}}}}
routes:
  fast: {{targets: [{{provider: main, model: m}}]}}
  theirs: {{targets: [{{provider: main, model: n}}], owner: search}}
auth:
  issuers:
    - {{issuer: "{url}", audience: tidegate{more}}}
"""


@pytest.fixture
async def lived(issuer: Issuer, build_house: Build) -> Callable[..., Any]:
    async def build(more: str = "") -> House:
        house = await build_house(CONFIG.format(url=issuer.url, more=more and f", {more}"))
        desk = house.app.gateway.auth.desk
        await desk.add(Organisation, "acme", "Acme")
        await desk.add(Team, "search", "Search", organisation_id="acme")
        await desk.add(Team, "ads", "Ads")
        return house

    return build


@pytest.fixture
async def house(lived: Callable[..., Any]) -> House:
    return await lived("algorithms: [RS256, ES256], claims: {team: team, role: role}")


async def ask(house: House, token: str, route: str = "fast") -> Reply:
    return await house.ask(key=token, route=route, stream=False)


# --- who it is


async def test_who_shows_a_good_token_is_answered_and_the_row_says_who(house: House, issuer: Issuer) -> None:
    reply = await ask(house, issuer.token(house))
    assert reply.status == 200
    assert reply.row.key_id == f"{issuer.url}#ann"
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_its_keys_are_asked_for_once(house: House, issuer: Issuer) -> None:
    replies = await asyncio.gather(*(ask(house, issuer.token(house, sub=f"user-{n}")) for n in range(20)))
    assert {reply.status for reply in replies} == {200}
    assert len(issuer.asked) == 2


async def test_a_token_says_the_team_and_the_role(house: House, issuer: Issuer) -> None:
    principal = await house.app.gateway.auth.authenticate(issuer.token(house, team="search", role="manager"))
    assert (principal.team_id, principal.user_id, principal.role) == ("search", "ann", "manager")
    assert [(one.kind, one.id) for one in principal.levels] == [
        ("organisation", "acme"),
        ("team", "search"),
        ("user", "ann"),
        ("key", f"{issuer.url}#ann"),
    ]
    assert (await ask(house, issuer.token(house, team="search"), "theirs")).status == 200
    assert (await ask(house, issuer.token(house, team="ads"), "theirs")).status == 403


async def test_groups_mean_teams_and_roles_and_the_highest_counts(lived: Callable[..., Any], issuer: Issuer) -> None:
    house = await lived(
        "claims: {team: groups, role: groups, user: email}, default_role: viewer, "
        "teams: {g-7: search}, roles: {g-admins: admin, g-leads: manager}"
    )
    authenticate = house.app.gateway.auth.authenticate
    one = await authenticate(issuer.token(house, email="ann@x.org", groups=["everybody", "g-7", "g-leads", "admin"]))
    assert (one.user_id, one.team_id, one.role) == ("ann@x.org", "search", "manager")
    two = await authenticate(issuer.token(house, email="bob@x.org", groups=["g-7", "g-leads", "g-admins"]))
    assert two.role == "admin"
    three = await authenticate(issuer.token(house, email="eve@x.org", groups=["g-7", "admin"]))
    assert three.role == "viewer", "a group that is called admin means nothing where roles are mapped"


async def test_a_role_that_no_claim_was_configured_for_is_not_taken(lived: Callable[..., Any], issuer: Issuer) -> None:
    house = await lived()
    principal = await house.app.gateway.auth.authenticate(issuer.token(house, role="admin", roles=["admin"]))
    assert principal.role == "member"


async def test_the_user_that_is_known_bounds_the_role_and_names_the_team(house: House, issuer: Issuer) -> None:
    await house.app.gateway.auth.desk.add(User, "ann", "Ann", team_id="ads")
    principal = await house.app.gateway.auth.authenticate(issuer.token(house, role="admin"))
    assert (principal.name, principal.team_id, principal.role) == ("Ann", "ads", "member")


@pytest.mark.parametrize(("kind", "id"), [(User, "ann"), (Team, "search"), (Organisation, "acme")])
async def test_who_is_disabled_does_not_come_in_by_a_token(house: House, issuer: Issuer, kind: type, id: str) -> None:
    desk = house.app.gateway.auth.desk
    await desk.add(User, "ann", "Ann", team_id="search")
    token = issuer.token(house)
    assert (await ask(house, token)).status == 200
    await desk.disable(kind, id)
    await house.clock.sleep(1)
    reply = await ask(house, token)
    assert reply.status == 403 and "is disabled; ask your administrator" in reply.error.message


async def test_a_team_that_is_not_known_is_told(house: House, issuer: Issuer) -> None:
    reply = await ask(house, issuer.token(house, team="nobodys"))
    assert reply.status == 403 and "'nobodys', which is not known here: tidegate teams create" in reply.error.message


@pytest.mark.parametrize("sub", ["", 7, ["ann"], "a\nb", "x" * 256])
async def test_who_says_no_name_does_not_come_in(house: House, issuer: Issuer, sub: Any) -> None:
    assert (await ask(house, issuer.token(house, sub=sub))).status in (401, 403)


# --- what is not taken


WRONG: dict[str, Callable[[Issuer, House], str]] = {
    "expired": lambda issuer, house: issuer.token(house, exp=house.clock.wall_ns() // 1_000_000_000 - 31),
    "without an end": lambda issuer, house: issuer.token(house, exp=None),
    "whose end is a text": lambda issuer, house: issuer.token(house, exp="never"),
    "not yet": lambda issuer, house: issuer.token(house, nbf=house.clock.wall_ns() // 1_000_000_000 + 60),
    "from the future": lambda issuer, house: issuer.token(house, iat=house.clock.wall_ns() // 1_000_000_000 + 60),
    "for somebody else": lambda issuer, house: issuer.token(house, aud="another"),
    "for nobody": lambda issuer, house: issuer.token(house, aud=None),
    "for a part of us": lambda issuer, house: issuer.token(house, aud="tide"),
    "of another issuer": lambda issuer, house: issuer.token(house, iss="https://evil.example"),
    "of no issuer": lambda issuer, house: issuer.token(house, iss=None),
    "of our issuer with a slash": lambda issuer, house: issuer.token(house, iss=issuer.url + "/"),
    "of nobody": lambda issuer, house: issuer.token(house, sub=None),
    "signed by somebody else": lambda issuer, house: issuer.token(house, OTHER, {"kid": "one"}),
    "with a key of nobody": lambda issuer, house: issuer.token(house, OTHER),
    "with another type": lambda issuer, house: issuer.token(house, header={"typ": "logout+jwt"}),
    "without a type": lambda issuer, house: issuer.token(house, header={"typ": None}),
    "of another algorithm": lambda issuer, house: issuer.token(house, header={"alg": "RS512"}),
    "with extensions": lambda issuer, house: issuer.token(house, header={"b64": True, "crit": ["b64"]}),
    "with a shared secret": lambda issuer, house: issuer.token(house, SHARED, {"alg": "HS256", "kid": "one"}),
    "signed with the public key": lambda issuer, house: by_public_key(issuer.token(house)),
    "not signed": lambda issuer, house: unsigned(issuer.token(house)),
    "changed": lambda issuer, house: changed(issuer.token(house), {"role": "admin"}),
    "cut short": lambda issuer, house: issuer.token(house)[:-10],
    "without its signature": lambda issuer, house: issuer.token(house).rpartition(".")[0] + ".",
    "of dots": lambda issuer, house: "..",
    "of nonsense": lambda issuer, house: "a.b.c",
    "of brackets": lambda issuer, house: f"{part(b'[' * 5000)}.{part(b'[' * 3000)}.",
    "too long": lambda issuer, house: issuer.token(house, more="x" * 20_000),
}


def part(text: bytes) -> str:
    return urlsafe_b64encode(text).rstrip(b"=").decode()


def unsigned(token: str) -> str:
    return f"{part(json.dumps({'alg': 'none', 'typ': 'JWT', 'kid': 'one'}).encode())}.{token.split('.')[1]}."


def by_public_key(token: str) -> str:
    """What whoever knows our issuer's public key can sign, if its bytes are taken for a shared secret."""
    head = part(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "one"}).encode())
    signed = f"{head}.{token.split('.')[1]}"
    return f"{signed}.{part(hmac.digest(RSA.as_pem(private=False), signed.encode(), 'sha256'))}"


def changed(token: str, claims: dict[str, Any]) -> str:
    head, said, signature = token.split(".")
    whole = json.loads(urlsafe_b64decode(said + "=" * (-len(said) % 4))) | claims
    return f"{head}.{part(json.dumps(whole).encode())}.{signature}"


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_token_that_is_wrong_is_refused(house: House, issuer: Issuer, wrong: str) -> None:
    reply = await ask(house, WRONG[wrong](issuer, house))
    assert reply.status == 401, reply.body
    assert reply.error.code == "invalid_api_key" and reply.row is None


async def test_whatever_is_wrong_with_a_token_is_told_in_the_same_words(house: House, issuer: Issuer) -> None:
    words = {(await ask(house, make(issuer, house))).body for name, make in WRONG.items() if name != "too long"}
    assert len(words) == 1


async def test_why_it_was_refused_is_told_to_who_runs_it(house: House, issuer: Issuer) -> None:
    await ask(house, issuer.token(house, aud="another"))
    page = (await house.get("/metrics")).body.decode()
    assert 'tidegate_notices_total{name="token_refused"} 1.0' in page


async def test_an_elliptic_curve_is_good_where_it_is_configured(house: House, issuer: Issuer) -> None:
    issuer.keys = [RSA, EC]
    assert (await ask(house, issuer.token(house, EC, {"alg": "ES256"}))).status == 200
    assert (await ask(house, issuer.token(house, header={"typ": "application/at+JWT"}))).status == 200


async def test_a_shared_secret_among_the_issuers_keys_is_passed_over(house: House, issuer: Issuer) -> None:
    issuer.answer = lambda path: (
        issuer.honest(path)
        if path != "/keys"
        else http(json.dumps({"keys": [SHARED.as_dict(private=True), RSA.as_dict(private=False)]}).encode())
    )
    assert (await ask(house, issuer.token(house, SHARED, {"alg": "HS256"}))).status == 401
    assert (await ask(house, issuer.token(house))).status == 200


async def test_without_issuers_a_token_is_no_key_and_nobody_is_asked(build_house: Build, issuer: Issuer) -> None:
    house = await build_house()
    assert (await ask(house, issuer.token(house))).status == 401
    assert issuer.asked == []


# --- how long it is remembered


async def test_a_token_is_remembered_whole_and_never_for_its_beginning(house: House, issuer: Issuer) -> None:
    """CVE-2026-35030: a cache keyed on token[:20] gave whoever came next the first one's identity."""
    good = issuer.token(house, role="admin", team="search")
    assert (await ask(house, good)).status == 200
    for other in (good[:-1], good + "x", good[:20] + "x" * 20, changed(good, {"sub": "eve"})):
        assert (await ask(house, other)).status == 401
    eve = await house.app.gateway.auth.authenticate(issuer.token(house, sub="eve", team="ads"))
    assert (eve.user_id, eve.team_id, eve.role) == ("eve", "ads", "member")


async def test_a_token_ends_when_it_says_and_not_later(lived: Callable[..., Any], issuer: Issuer) -> None:
    house = await lived("leeway: 0s")
    token = issuer.token(house, exp=house.clock.wall_ns() // 1_000_000_000 + 2)
    assert (await ask(house, token)).status == 200
    await house.clock.sleep(0.9)
    assert (await ask(house, token)).status == 200
    await house.clock.sleep(1.1)
    assert (await ask(house, token)).status == 401


# --- the issuer's keys


async def test_a_new_key_is_found_when_a_token_names_it(house: House, issuer: Issuer) -> None:
    await ask(house, issuer.token(house))
    issuer.keys = [OTHER]
    await house.clock.sleep(PAUSE_NS / 1e9)
    assert (await ask(house, issuer.token(house, OTHER))).status == 200
    assert (await ask(house, issuer.token(house, sub="bob"))).status == 401, "the old one was withdrawn"


async def test_tokens_that_name_unknown_keys_do_not_make_us_ask_and_ask(house: House, issuer: Issuer) -> None:
    for n in range(30):
        assert (await ask(house, issuer.token(house, OTHER, {"kid": f"guess-{n}"}))).status == 401
    assert issuer.asked.count("/keys") == 1
    assert (await ask(house, issuer.token(house))).status == 200


async def test_where_there_is_one_key_a_token_need_not_name_it(house: House, issuer: Issuer) -> None:
    assert (await ask(house, issuer.token(house, header={"kid": None}))).status == 200
    issuer.keys = [RSA, OTHER]
    await house.clock.sleep(FRESH_NS / 1e9)
    assert (await ask(house, issuer.token(house, header={"kid": None}, sub="b"))).status == 401


ILL: dict[str, Callable[[Issuer], Callable[[str], bytes]]] = {
    "an error": lambda issuer: lambda path: http(b"{}", 500),
    "a page": lambda issuer: lambda path: http(b"<html>"),
    "nothing": lambda issuer: lambda path: http(b""),
    "no keys": lambda issuer: lambda path: issuer.honest(path) if "known" in path else http(b'{"keys": []}'),
    "bad keys": lambda issuer: lambda path: issuer.honest(path) if "known" in path else http(b'{"keys": [{}, 7]}'),
    "too much": lambda issuer: lambda path: http(b" " * 300_000),
    "another issuer": lambda issuer: lambda path: http(b'{"issuer": "https://a.example", "jwks_uri": "https://b"}'),
    "keys on an open line": lambda issuer: (
        lambda path: http(json.dumps({"issuer": issuer.url, "jwks_uri": "http://169.254.169.254/keys"}).encode())
    ),
    "keys within another's walls": lambda issuer: (
        lambda path: (
            issuer.honest(path)
            if "keys" in path
            else http(
                json.dumps({"issuer": issuer.url, "jwks_uri": issuer.url.replace("127.0.0.1", "localhost")}).encode()
            )
        )
    ),
    "a redirect": lambda issuer: lambda path: http(b"", 302, location="http://169.254.169.254/"),
    "no http": lambda issuer: lambda path: b"220 smtp ready\r\n\r\n",
}


@pytest.mark.parametrize("ill", ILL)
async def test_when_the_issuer_cannot_say_its_keys_nobody_comes_in(house: House, issuer: Issuer, ill: str) -> None:
    issuer.answer = ILL[ill](issuer)
    reply = await ask(house, issuer.token(house))
    assert (reply.status, reply.error.code) == (503, "issuer_unavailable")
    assert int(reply.headers["retry-after"]) == 10
    assert (await house.ask()).status == 200, "keys are as good as ever"
    asked = len(issuer.asked)
    assert (await ask(house, issuer.token(house, sub="bob"))).status == 503
    assert len(issuer.asked) == asked, "it is left in peace for a while"
    issuer.answer = issuer.honest
    await house.clock.sleep(PAUSE_NS / 1e9)
    assert (await ask(house, issuer.token(house))).status == 200


async def test_while_the_issuer_is_away_its_last_keys_are_good_for_a_day(house: House, issuer: Issuer) -> None:
    assert (await ask(house, issuer.token(house))).status == 200
    issuer.answer = ILL["an error"](issuer)
    await house.clock.sleep(STALE_NS / 1e9 - 60)
    assert (await ask(house, issuer.token(house))).status == 200
    await house.clock.sleep(60)
    assert (await ask(house, issuer.token(house))).status == 503


async def test_who_leaves_while_the_issuer_is_asked_leaves_the_others_their_answer(
    house: House, issuer: Issuer
) -> None:
    impatient = asyncio.create_task(house.app.gateway.auth.authenticate(issuer.token(house, sub="bob")))
    patient = asyncio.create_task(house.app.gateway.auth.authenticate(issuer.token(house)))
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).user_id == "ann"
    assert len(issuer.asked) == 2
    with pytest.raises(asyncio.CancelledError):
        await impatient


# --- what can be configured


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("algorithms: [HS256]", "auth.issuers[0].algorithms[0]: cannot be 'HS256'"),
        ("algorithms: [none]", "auth.issuers[0].algorithms[0]: cannot be 'none'"),
        ("algorithms: []", "auth.issuers[0].algorithms: needs at least one"),
        ("jwks_url: 'http://keys.example/jwks'", "auth.issuers[0].jwks_url: must be an https:// URL"),
        ("jwks_url: 'file:///etc/passwd'", "auth.issuers[0].jwks_url: "),
        ("roles: {boss: emperor}", "auth.issuers[0].roles.boss: cannot be 'emperor'"),
        ("claim: {}", "auth.issuers[0].claim: no such key; did you mean 'claims'?"),
    ],
)
def test_an_issuer_that_would_not_be_safe_is_not_taken(more: str, words: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        config.parse(CONFIG.format(url="https://id.example", more=f", {more}"), {})
    assert words in wrong.value.message


@pytest.mark.parametrize(
    "url", ["http://id.example", "id.example", "", "https://", "ftp://id.example", "http://127.0.0.1.evil.example"]
)
def test_an_issuer_is_asked_where_nobody_listens_in(url: str) -> None:
    with pytest.raises(ConfigError, match=r"auth\.issuers\[0\]\.issuer"):
        config.parse(CONFIG.format(url=url, more=""), {})


def test_peppers_must_be_long_and_issuers_different() -> None:
    with pytest.raises(ConfigError, match=r"auth\.peppers\[0\]: needs at least 32 characters"):
        config.parse("auth: {peppers: [short]}", {})
    twice = CONFIG.format(url="https://id.example", more="") + '    - {issuer: "https://id.example", audience: b}\n'
    with pytest.raises(ConfigError, match=r"auth\.issuers\[1\]\.issuer: https://id.example stands twice"):
        config.parse(twice, {})
