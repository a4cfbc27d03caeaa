"""Was it taken? Something is told to somebody outside by a POST, whose answer's body nobody reads."""

from __future__ import annotations

from collections.abc import Collection

from tidegate.core.ports import Headers, Request, Timeouts, Transport, TransportError

NOWHERE = "its address cannot be"
A_PAGE = "it answers with a page for people (text/html)"


async def post(
    transport: Transport, url: str, headers: Headers, body: bytes, timeouts: Timeouts, *, pages: bool = True
) -> int | str:
    """The status of its answer, or why there is none. No redirect is followed.

    `pages`: whether whoever takes it may say so in HTML; otherwise that is somebody else, such as a proxy's login.
    """
    try:
        exchange = transport.send(Request("POST", url, headers, body, timeouts))
    except ValueError:
        return NOWHERE
    try:
        head = await exchange.head()
        if not pages and head.status < 300 and (head.header(b"content-type") or b"").startswith(b"text/html"):
            return A_PAGE
        return head.status
    except TransportError as wrong:
        return wrong.kind
    finally:
        exchange.close()


async def posted(
    transport: Transport,
    url: str,
    headers: Headers,
    body: bytes,
    timeouts: Timeouts,
    *,
    mended: Collection[int],
    pages: bool = True,
) -> tuple[str | None, bool]:
    """Why it was not taken, None when it was; and whether that may be otherwise later.

    `mended`: statuses that time mends.
    """
    answer = await post(transport, url, headers, body, timeouts, pages=pages)
    return refusal(answer), answer in mended if isinstance(answer, int) else answer != NOWHERE


def refusal(answer: int | str) -> str | None:
    """None: it was taken."""
    if isinstance(answer, str):
        return answer
    return None if 200 <= answer < 300 else f"it answers {answer}"
