"""Who comes in to the console? Logs people in and out, sends pages, and passes what pages ask on to the public API.

A page asks at /console/api/…, with its cookie and the word that stands in the page; from there on it is a call with a
key like any other. So the API itself never looks at a cookie, and what a page may do is what its key may.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import msgspec

from tidegate.console import Config, sessions, shell
from tidegate.console.files import Files
from tidegate.console.shell import HEADERS, ROOT, problem
from tidegate.core.errors import BadRequest, Forbidden, TidegateError, Unauthenticated
from tidegate.gateway import Gateway

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

API = f"{ROOT}/api/"
NEXT = re.compile(re.escape(ROOT) + r"(/[\w./?=&%+:~-]*)?", re.ASCII)
MOST_FORM = 16 * 1024
HTML, JSON = b"text/html; charset=utf-8", b"application/json"
NOT_PASSED_ON = {b"cookie", b"authorization", b"x-api-key", b"origin", b"referer", b"x-tidegate-csrf"}
NOT_PASSED_BACK = {b"set-cookie", b"x-content-type-options", b"strict-transport-security"}
FOR_EVER = (b"cache-control", b"public, max-age=31536000, immutable")
NO_STORE = (b"cache-control", b"no-store")


class Request:
    """What the console wants to know of one."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send, address: str) -> None:
        headers: dict[bytes, str] = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}
        self.scope, self.receive, self.send = scope, receive, send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.address = address
        self.host: str = headers.get(b"host", "")
        self.origin = headers.get(b"origin")
        self.site = headers.get(b"sec-fetch-site")
        self.csrf = headers.get(b"x-tidegate-csrf", "")
        self.gzip = "gzip" in headers.get(b"accept-encoding", "")
        self.wants_json = headers.get(b"accept", "").startswith("application/json")
        self.cookies = sessions.cookies(headers.get(b"cookie", ""))

    @property
    def is_own(self) -> bool:
        """Whether one of our own pages sent it: browsers say so, and no page of another site can make them say else."""
        if self.origin is not None:
            return self.origin.partition("://")[2] == self.host
        return self.site == "same-origin"

    @property
    def secure(self) -> bool | None:
        """How the browser came here, which a proxy before us may hide; None where we cannot know."""
        scheme = (self.origin or "").partition("://")[0]
        return True if scheme == "https" or self.scope.get("scheme") == "https" else None if scheme != "http" else False

    async def form(self) -> dict[str, str]:
        """Raises BadRequest."""
        body = bytearray()
        more = True
        while more:
            message = await self.receive()
            body += message.get("body", b"")
            more = bool(message.get("more_body"))
            if len(body) > MOST_FORM:
                raise BadRequest("this form is longer than it can be")
        return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}

    async def answer(self, status: int, body: bytes, kind: bytes, *more: tuple[bytes, bytes]) -> None:
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *HEADERS, *(more or (NO_STORE,))]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def go(self, where: str, *more: tuple[bytes, bytes]) -> None:
        await self.answer(303, b"", HTML, (b"location", where.encode()), NO_STORE, *more)


class Door:
    """An ASGI application below /console; `application` is the public API, seen from inside."""

    def __init__(self, config: Config, gateway: Callable[[], Gateway], application: Application) -> None:
        self._config = config
        self._gateway = gateway
        self._application = application
        self._files = Files()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """`tidegate.address`: where the request came from, as the edge knows it."""
        request = Request(scope, receive, send, scope.get("tidegate.address", ""))
        try:
            await self._answer(request)
        except TidegateError as wrong:
            await request.answer(wrong.status, problem(wrong.message, wrong.code), JSON)

    async def _answer(self, request: Request) -> None:
        path, method = request.path, request.method
        if path.startswith(API):
            await self._pass_on(request)
        elif method == "POST" and path == f"{ROOT}/login":
            await self._log_in(request)
        elif method == "POST" and path == f"{ROOT}/logout":
            await self._log_out(request)
        elif method not in ("GET", "HEAD"):
            raise BadRequest(f"{path[:200]} is a page: it is only read")
        elif file := self._files.find(path.removeprefix(f"{ROOT}/")):
            small = [(b"content-encoding", b"gzip")] if request.gzip else []
            headers = (FOR_EVER, (b"vary", b"accept-encoding"), *small)
            await request.answer(200, file.small if small else file.plain, file.kind, *headers)
        else:
            await self._page(request)

    # --- pages

    async def _page(self, request: Request) -> None:
        session = self._session(request)
        here = request.path + (f"?{query}" if (query := request.scope["query_string"].decode("latin-1")) else "")
        if session is None:
            await self._ask_for_key(request, here)
            return
        try:
            principal = await self._gateway().recognise(session.credential, request.address)
        except (Unauthenticated, Forbidden) as gone:
            await self._ask_for_key(request, here, gone.message)
            return
        name = request.path.removeprefix(ROOT).strip("/").partition("/")[0]
        if not name:
            await request.go(f"{ROOT}/{shell.pages_of(principal)[0]}")
            return
        csrf = sessions.token(session, self._secret())
        page = shell.console(self._files, principal, name, csrf, session.until_s)
        await request.answer(200, page.encode(), HTML)

    async def _ask_for_key(self, request: Request, following: str, wrong: str = "") -> None:
        page = shell.login(self._files, following if NEXT.fullmatch(following) else ROOT, wrong)
        await request.answer(401 if wrong else 200, page.encode(), HTML)

    # --- in and out

    async def _log_in(self, request: Request) -> None:
        form = await request.form()
        following = form.get("next", ROOT)
        try:
            self._may_come(request)
            credential = form.get("key", "").strip()
            principal = await self._gateway().recognise(credential or None, request.address)
            session = sessions.begun(credential, round(self._now_s() + float(self._config.session)))
        except TidegateError as wrong:
            if request.wants_json:
                raise
            await self._ask_for_key(request, following, wrong.message)
            return
        secret, secure = self._secret(), request.secure is True
        name = sessions.cookie_name(request.host, secure=secure)
        cookie = sessions.set_cookie(
            name, sessions.sealed(session, secret), round(float(self._config.session)), secure=secure
        )
        self._gateway().world.events.notice("console_entered", {"by": principal.key_id, "name": principal.name})
        set_cookie = (b"set-cookie", cookie.encode())
        if request.wants_json:
            told = {"csrf": sessions.token(session, secret), "until": session.until_s * 1000, "name": principal.name}
            await request.answer(200, msgspec.json.encode(told), JSON, NO_STORE, set_cookie)
        else:
            await request.go(following if NEXT.fullmatch(following) else ROOT, set_cookie)

    def _may_come(self, request: Request) -> None:
        """Raises Forbidden: a form of another site, or a way on which others could read the key."""
        if not request.is_own:
            raise Forbidden("this form did not come from the console's own page; open the console and log in there")
        if request.secure is not True and not sessions.is_loopback(request.host):
            raise Forbidden(
                "over plain HTTP others could read your key. Use https:// (api.tls, or a proxy that has it), "
                "or a tunnel: ssh -L 8080:127.0.0.1:8080 HOST, and open http://127.0.0.1:8080/console"
            )

    async def _log_out(self, request: Request) -> None:
        session, form = self._session(request), await request.form()
        if session is not None and not sessions.is_of_page(form.get("csrf", ""), session, self._secret()):
            raise Forbidden("this form did not come from the console's own page")
        gone = [
            (
                b"set-cookie",
                sessions.set_cookie(sessions.cookie_name(request.host, secure=one), "", 0, secure=one).encode(),
            )
            for one in (True, False)
        ]
        await request.go(ROOT, *gone)

    # --- what a page asks

    async def _pass_on(self, request: Request) -> None:
        session = self._session(request)
        if session is None:
            raise Unauthenticated("your session has ended; log in again, what you have typed is still there")
        if not sessions.is_of_page(request.csrf, session, self._secret()) or request.site not in (None, "same-origin"):
            raise Forbidden("this did not come from the console's own page; load it again")
        scope = request.scope
        path = "/" + request.path.removeprefix(API)
        if path.startswith(ROOT):
            raise BadRequest("the console does not ask itself")
        raw_path = scope.get("raw_path", request.path.encode())
        if not raw_path.startswith(API.encode()):
            raise BadRequest(f"a page asks at {API}")
        headers = [one for one in scope["headers"] if one[0] not in NOT_PASSED_ON]
        headers.append((b"authorization", f"Bearer {session.credential}".encode("latin-1", "replace")))
        inner = {
            **scope,
            "path": path,
            "raw_path": b"/" + raw_path.removeprefix(API.encode()),
            "headers": headers,
            "extensions": {},
        }

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [one for one in message["headers"] if one[0] not in NOT_PASSED_BACK]
                message = {**message, "headers": kept}
            await request.send(message)

        await self._application(inner, request.receive, send)

    def _session(self, request: Request) -> sessions.Session | None:
        """A cookie without `__Host-` is believed only where none with it can be."""
        secret, now_s = self._secret(), self._now_s()
        names = [sessions.cookie_name(request.host, secure=True)]
        if sessions.is_loopback(request.host):
            names.append(sessions.cookie_name(request.host, secure=False))
        found = (sessions.opened(request.cookies[name], secret, now_s) for name in names if name in request.cookies)
        return next((one for one in found if one is not None), None)

    def _secret(self) -> bytes:
        return self._gateway().auth.secret_for("console sessions")

    def _now_s(self) -> float:
        return self._gateway().world.clock.wall_ns() / 1e9
