"""What is a batch? Many questions that nobody waits for, each answered once; and what may be asked for, and until when.

Lines are read here, and rendered, without asking anybody. A line that makes no sense is a result like any other: it
says what is wrong and where, and the rest goes on.
"""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from tidegate.core.values import Duration, Size

Dialect = Literal["openai", "anthropic"]
Ended = Literal["completed", "failed", "cancelled", "expired"]
LineState = Literal["pending", "leased", "away", "done", "failed", "cancelled", "expired"]
OPEN: tuple[LineState, ...] = ("pending", "leased", "away")

# What may be asked for in a batch, and in whose words.
ENDPOINTS: dict[str, tuple[Dialect, str]] = {
    "/v1/chat/completions": ("openai", "chat"),
    "/v1/completions": ("openai", "complete"),
    "/v1/embeddings": ("openai", "embed"),
    "/v1/responses": ("openai", "raw"),
    "/v1/messages": ("anthropic", "chat"),
}
LONGEST_ID = 512  # characters of a custom_id
MOST_MISTAKES = 100  # of a file that are told with the batch; the file of errors has all
DAY_MS = 86_400_000
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Batches: files of questions that nobody waits for, at /v1/batches and /v1/messages/batches.

    at_once: lines under way in this process, of all batches together; 0: it answers none, and others may.
    hours: when lines are asked, such as 22:00-06:00, off the peak; null, always. A batch that would expire before the
        next of these hours is asked at once.
    zone: the time zone of `hours`.
    window: the longest time that a batch may take; what has not been asked by then has expired.
    max_lines: of one batch.
    max_file: the largest file that may be uploaded.
    max_kept: what one key may have uploaded at once.
    tries: how often a line is asked when providers fail, each time by the rules of its route.
    keep: how long files and results are kept.
    """

    at_once: Annotated[int, Meta(ge=0, le=10_000)] = 16
    hours: str | None = None
    zone: str = "UTC"
    window: Duration = Duration(24 * 3600)
    max_lines: Annotated[int, Meta(ge=1)] = 50_000
    max_file: Size = Size(100 * 1024 * 1024)
    max_kept: Size = Size(1024 * 1024 * 1024)
    tries: Annotated[int, Meta(ge=1)] = 5
    keep: Duration = Duration(30 * 86_400)


def trouble(config: Config) -> tuple[str, str] | None:
    """The key that cannot be so, and why."""
    found = _HOURS.fullmatch(config.hours) if config.hours is not None else None
    if config.hours is not None and (found is None or found.groups()[:2] == found.groups()[2:]):
        return "hours", f"must be two times of a day such as 22:00-06:00, not {config.hours!r}"
    return None


# --- when


def may_ask(hours: str | None, zone: ZoneInfo, now_ms: int, until_ms: int) -> bool:
    """Whether lines of a batch that expires at `until_ms` may be asked now."""
    return (
        hours is None or opens_ms(hours, zone, now_ms) in range(now_ms + 1) or opens_ms(hours, zone, now_ms) >= until_ms
    )


def opens_ms(hours: str, zone: ZoneInfo, now_ms: int) -> int:
    """When these hours begin next; `now_ms` where they have begun."""
    found = _HOURS.fullmatch(hours)
    assert found is not None  # `trouble` has looked
    at = datetime.fromtimestamp(now_ms / 1000, zone)
    begin, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
    clock = at.time().replace(tzinfo=None)
    inside = begin <= clock < end if begin < end else clock >= begin or clock < end
    if inside:
        return now_ms
    day = at.date() if clock < begin else at.date() + timedelta(days=1)
    opens = [round(datetime.combine(day, begin, zone).replace(fold=fold).timestamp() * 1000) for fold in (0, 1)]
    return opens[0] if opens[0] > now_ms else opens[1]  # an hour that comes twice: the first is over


# --- a line


class Mistake(NamedTuple):
    """What is wrong with a line, and where."""

    line: int | None  # of the file, from 1; None: the file itself
    code: str
    message: str
    param: str | None = None


class Question(msgspec.Struct, frozen=True, array_like=True):
    """A line, read."""

    custom_id: str | None
    body: bytes
    user: str | None = None


class Said(msgspec.Struct, frozen=True, array_like=True):
    """What came of a line. `status` 0: nobody was asked."""

    custom_id: str | None
    status: int = 0
    body: bytes = b""  # in the dialect of the batch
    request_id: str | None = None
    code: str | None = None
    message: str | None = None
    line: int | None = None  # of a line that made no sense


class _Lines(msgspec.Struct):
    """A line as OpenAI has it."""

    custom_id: Any = None
    method: Any = "POST"
    url: Any = None
    body: msgspec.Raw = msgspec.Raw(b"")


class _Request(msgspec.Struct):
    """And as Anthropic has it."""

    custom_id: Any = None
    params: msgspec.Raw = msgspec.Raw(b"")


class _Metadata(msgspec.Struct):
    user_id: Any = None


class _Body(msgspec.Struct):
    """Of what is asked, what concerns us before it is asked."""

    stream: Any = None
    user: Any = None
    metadata: Any = None


_LINE = msgspec.json.Decoder(_Lines)
_REQUEST = msgspec.json.Decoder(_Request)
_BODY = msgspec.json.Decoder(_Body)


def read(text: bytes, number: int, endpoint: str) -> Question | Mistake:
    """A line of a batch that asks `endpoint`."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return Mistake(number, "invalid_encoding", f"is not UTF-8: byte {wrong.start + 1} of the line")
    anthropic = ENDPOINTS[endpoint][0] == "anthropic"
    try:
        said: Any = (_REQUEST if anthropic else _LINE).decode(text)
    except (msgspec.DecodeError, RecursionError) as wrong:
        return Mistake(number, "invalid_json_line", f"is no JSON object: {str(wrong)[:200]}")
    field, body = ("params", bytes(said.params)) if anthropic else ("body", bytes(said.body))
    id = said.custom_id
    if not isinstance(id, str) or not 0 < len(id) <= LONGEST_ID:
        return Mistake(
            number, "invalid_custom_id", f"needs a custom_id: a text of 1 to {LONGEST_ID} characters", "custom_id"
        )
    if not anthropic and said.url != endpoint:
        return Mistake(number, "mismatched_endpoint", f"asks {str(said.url)[:80]}; this batch asks {endpoint}", "url")
    if not anthropic and said.method != "POST":
        return Mistake(number, "invalid_method", f"the method must be POST, not {str(said.method)[:20]!r}", "method")
    if body[:1] != b"{":
        return Mistake(number, "invalid_body", f"needs a {field}: what is asked, as a JSON object", field)
    return _asked(number, id, field, body)


def _asked(number: int, id: str, field: str, body: bytes) -> Question | Mistake:
    try:
        found = _BODY.decode(body)
    except (msgspec.DecodeError, RecursionError) as wrong:
        return Mistake(number, "invalid_body", f"{field} cannot be read: {str(wrong)[:200]}", field)
    if found.stream:
        return Mistake(number, "invalid_body", "stream: answers of a batch are whole; leave it out", f"{field}.stream")
    metadata = found.metadata.get("user_id") if isinstance(found.metadata, dict) else None
    user = next((one for one in (found.user, metadata) if isinstance(one, str) and one), None)
    return Question(id, body, user[:256] if user else None)


# --- what is written into files


def rendered(said: Said, state: LineState, anthropic: bool) -> bytes:
    """A line of a file of results, in the words of whose batch it is."""
    return _ENCODE(_for_anthropic(said, state) if anthropic else _for_openai(said, state)) + b"\n"


_ENCODE = msgspec.json.Encoder().encode
NOT_ASKED = {
    "cancelled": ("batch_cancelled", "the batch was cancelled before this line was asked"),
    "expired": ("batch_expired", "this line could not be asked before the batch expired"),
    "erased": ("erased", "what was said here was erased"),
}


def _for_openai(said: Said, state: LineState) -> dict[str, Any]:
    response = error = None
    if said.status:
        body = msgspec.Raw(said.body)
        response = {"status_code": said.status, "request_id": said.request_id, "body": body}
    else:
        code, message = NOT_ASKED.get(state) or (said.code, said.message)
        error = {"code": code, "message": message} | ({"line": said.line} if said.line else {})
    id = f"batch_req_{(said.request_id or '').partition('_')[2] or said.line or ''}"
    return {"id": id, "custom_id": said.custom_id, "response": response, "error": error}


def _for_anthropic(said: Said, state: LineState) -> dict[str, Any]:
    result: dict[str, Any]
    if state == "done":
        result = {"type": "succeeded", "message": msgspec.Raw(said.body)}
    elif state in ("cancelled", "expired"):
        result = {"type": "canceled" if state == "cancelled" else "expired"}
    elif said.status:
        result = {"type": "errored", "error": msgspec.Raw(said.body)}
    else:
        message = f"request {said.line}: {said.message}" if said.line else said.message
        result = {
            "type": "errored",
            "error": {"type": "error", "error": {"type": "invalid_request_error", "message": message}},
        }
    return {"custom_id": said.custom_id, "result": result}


# --- what comes next


class Counts(msgspec.Struct, frozen=True):
    """Lines of a batch, by what has become of them."""

    pending: int = 0
    leased: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    bytes: int = 0  # of the answers
    away: int = 0  # with a provider that answers in a batch of its own

    @property
    def total(self) -> int:
        return self.open + self.done + self.wrong

    @property
    def open(self) -> int:
        return self.pending + self.leased + self.away

    @property
    def wrong(self) -> int:
        """What has ended, and not with an answer."""
        return self.failed + self.cancelled + self.expired


def ended_as(counts: Counts, cancelled: bool) -> Ended:
    """What a batch of which no line is open any more has come to."""
    if cancelled:
        return "cancelled"
    if counts.expired:
        return "expired"
    return "completed" if counts.total else "failed"
