"""What can go wrong, what a client is told, and whether asking again may help.

One class per error that somebody catches or a client sees. `docs/reference/errors.md` is generated from the
classes here: `code`, `status`, `retryable` and the first line of the docstring.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple


class Complaint(NamedTuple):
    """What a provider says is wrong: a sentence, and its dialect's own words for what kind of error that is."""

    message: str = ""
    type: str = ""
    code: str = ""


class TidegateError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    outside: ClassVar[str | None] = None  # what a client is told where the message is only for who runs Tidegate

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param  # the field of the request that is wrong, as a path: messages[2].role
        self.retry_after_s = retry_after_s
        self.limit: tuple[str, str] | None = None  # that was reached: whose it is, and of what


class ConfigError(TidegateError):
    """The configuration cannot be used; Tidegate does not start, or keeps the one it has."""

    code = "config_error"


# --- the client's own ------------------------------------------------------------------------------------------------


class BadRequest(TidegateError):
    """The request cannot be understood: not JSON, a wrong type, a missing or duplicate field."""

    code = "invalid_request"
    status = 400


class Unauthenticated(TidegateError):
    """No key, or one that Tidegate does not know, or one that was revoked."""

    code = "invalid_api_key"
    status = 401


class Forbidden(TidegateError):
    """The key is known, but may not do this."""

    code = "permission_denied"
    status = 403


class NotFound(TidegateError):
    """There is nothing at this path, or nothing of yours under this id."""

    code = "not_found"
    status = 404


class ModelNotFound(NotFound):
    """No route, alias or `provider/model` has this name; the message names the nearest."""

    code = "model_not_found"


class PromptNotFound(NotFound):
    """No prompt of the store has this name, version or label; the message names the nearest."""

    code = "prompt_not_found"


class PromptInvalid(TidegateError):
    """What a call says of a prompt cannot be: variables that are missing, or of another type, a label and a version."""

    code = "prompt_invalid"
    status = 422


class BudgetSpent(TidegateError):
    """A budget of the key, or of whom it belongs to, has no room for the most that this call can cost."""

    code = "budget_spent"
    status = 402


class LimitReached(TidegateError):
    """A limit of the key, of whom it belongs to, of an address or of a route; `Retry-After` says when there is room."""

    code = "limit_reached"
    status = 429
    retryable = True


class LoopSuspected(TidegateError):
    """The last calls look alike, like those of a program that asks itself; the message says which, and what to do."""

    code = "loop_suspected"
    status = 429


class Blocked(TidegateError):
    """A guard of the route found what may not pass, in the request or in the answer; the message says which guard."""

    code = "guardrail_blocked"
    status = 400


class MethodNotAllowed(TidegateError):
    """The path exists, but not for this method; `Allow` says which."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, message: str, *, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed  # methods, as `Allow` lists them


class Conflict(TidegateError):
    """The id is taken, or somebody else changed the same thing at the same moment; look again."""

    code = "conflict"
    status = 409


class Superseded(Conflict):
    """Somebody made a newer version, or moved the label, since you looked; what is there now comes with the answer."""

    code = "version_conflict"

    def __init__(self, message: str, *, newer: int | None) -> None:
        super().__init__(message)
        self.newer = newer  # the number of the version that is there now


class KeyReused(TidegateError):
    """The `Idempotency-Key` was used before, for something else; take a new one for each call."""

    code = "idempotency_key_reused"
    status = 422


class StillBusy(TidegateError):
    """The call with this `Idempotency-Key` is still being answered, or was too large to keep; ask again later."""

    code = "idempotency_key_busy"
    status = 409


class RequestTimeout(TidegateError):
    """The headers or the body did not arrive in time."""

    code = "request_timeout"
    status = 408
    retryable = True


class BodyTooLarge(TidegateError):
    """The body is larger than `api.max_body` allows."""

    code = "request_too_large"
    status = 413


class HeadTooLarge(TidegateError):
    """The request line and headers together are larger than `api.max_head` allows."""

    code = "headers_too_large"
    status = 431


class UnsupportedMedia(TidegateError):
    """The body is compressed or not JSON; send it plain, as application/json."""

    code = "unsupported_media_type"
    status = 415


# --- the provider's --------------------------------------------------------------------------------------------------


class UpstreamRefused(TidegateError):
    """The provider says the request itself is wrong; its status and its words are passed on."""

    code = "upstream_refused"
    status = 400

    def __init__(self, message: str, *, status: int, dialect: str, body: bytes, content_type: str) -> None:
        super().__init__(message)
        self.status_given = status
        self.dialect = dialect
        self.body = body  # what the provider sent, cleaned of keys
        self.content_type = content_type


class UpstreamLimited(TidegateError):
    """Every provider of the route is rate limiting Tidegate."""

    code = "upstream_rate_limited"
    status = 429
    retryable = True


class UpstreamFailed(TidegateError):
    """Every provider of the route failed: unreachable, an error of its own, or an answer that makes no sense."""

    code = "upstream_failed"
    status = 502
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        complaint: Complaint | None = None,
    ) -> None:
        super().__init__(message, param=param, retry_after_s=retry_after_s)
        self.complaint = complaint  # the provider's own, where it sent an error in place of an answer


class UpstreamCutOff(UpstreamFailed):
    """The provider ended the stream before the answer was complete. What came is kept; this is its last event."""

    code = "upstream_cut_off"


class UpstreamTimeout(TidegateError):
    """No provider of the route answered within the route's timeout."""

    code = "upstream_timeout"
    status = 504
    retryable = True


class UpstreamUnavailable(TidegateError):
    """Nobody of the route may be asked just now: set aside after failures, without a key, or busy."""

    code = "upstream_unavailable"
    status = 503
    retryable = True


# --- our own ---------------------------------------------------------------------------------------------------------


class Internal(TidegateError):
    """A mistake in Tidegate. The log has the details under the request id."""


class GuardFailed(TidegateError):
    """A guard of the route could not look at the call, and the route says that nothing passes unseen."""

    code = "guardrail_failed"
    status = 503
    retryable = True


class StorageFull(TidegateError):
    """The data folder takes no more records, so no call that could not be accounted for is begun."""

    code = "storage_full"
    status = 503
    retryable = True
    outside = "Tidegate has no room to account for a call just now; try again in a moment"


class StoreDown(TidegateError):
    """The database does not answer. What needs no database goes on."""

    code = "store_unavailable"
    status = 503
    retryable = True
    outside = "Tidegate's database does not answer just now; try again in a moment"


class IssuerDown(TidegateError):
    """The issuer of this token cannot be asked for its keys, so nobody can say whether the token is good."""

    code = "issuer_unavailable"
    status = 503
    retryable = True
    outside = "the issuer of this token does not answer just now; try again in a moment"


class TooManyConnections(TidegateError):
    """As many clients are connected as may be (`api.max_connections`); come back in a moment."""

    code = "too_many_connections"
    status = 503
    retryable = True


class ShuttingDown(TidegateError):
    """Tidegate is leaving; another instance, or this one a moment later, will answer."""

    code = "shutting_down"
    status = 503
    retryable = True
