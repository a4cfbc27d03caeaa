"""Can this server be counted in? What is wrong with it for good, not for the moment only, and what to do about it."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping

ASKED = (b"memory", b"replication", b"cluster")  # sections of INFO
PASSWORD = "write its user and password into the URL anew"
# How a server begins when it says no and will go on saying so; what else it says may be over in a moment.
FOR_GOOD = {
    "WRONGPASS": PASSWORD,
    "NOAUTH": PASSWORD,
    "ERR invalid password": PASSWORD,
    "ERR AUTH": "take the password out of the URL, or set one there",
    "ERR Client sent AUTH": "take the password out of the URL, or set one there",
    "NOPERM": "let this user do everything with keys that begin with tidegate: (~tidegate:* +@all)",
    "ERR DB index": "name a database that it has, /0 in the end",
    "ERR SELECT": "name no database but 0",
    "ERR This instance has cluster support disabled": "it is no cluster: leave +cluster out of the URL",
}


def of_refusal(wrong: Exception) -> str | None:
    """What is wrong for good with a server that did not let us in."""
    if isinstance(wrong, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not accepted: {wrong.verify_message}; renew it, or name the file of who issued it in "
            "SSL_CERT_FILE"
        )
    if isinstance(wrong, ssl.SSLError):
        return f"it does not speak TLS with us ({wrong.reason}); valkey:// in place of valkeys:// is without"
    said = str(wrong)
    return next((f"it says {said!r}; {what}" for begins, what in FOR_GOOD.items() if said.startswith(begins)), None)


def of_server(answers: Iterable[object], *, cluster: bool) -> str | None:
    """What is wrong with one that did: `answers` to INFO, and what was refused counts for nothing.

    `cluster`: it is asked as one of several.
    """
    said = _fields(b"\r\n".join(one for one in answers if isinstance(one, bytes)).decode(errors="replace"))
    if said.get("role") == "slave":
        return "it is a replica, and what it is told is lost; name the primary, or an address that follows it"
    if said.get("cluster_enabled") == "1" and not cluster:
        return (
            "it is one of a cluster, and has only a part of what is counted; write valkey+cluster:// in place of "
            "valkey:// (valkeys+cluster:// with TLS), and its others are found"
        )
    policy = said.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and said.get("maxmemory", "0") != "0":
        return (
            f"it forgets what was counted when its memory is full (maxmemory-policy {policy}), and limits and budgets "
            "would begin anew unseen; set its maxmemory-policy to noeviction"
        )
    return None


def _fields(info: str) -> Mapping[str, str]:
    return {name: value for name, _, value in (line.partition(":") for line in info.splitlines())}
