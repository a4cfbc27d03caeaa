"""Where do files and batches come in? At the vendors' own paths; answered by us, over whatever provider a line names.

With the header `x-tidegate-route` the same paths are passed on, to the account of that route's provider.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping

from tidegate.api import anthropic
from tidegate.api.batches import files, message_batches, openai_batches
from tidegate.api.incoming import Incoming
from tidegate.gateway import Gateway

Endpoint = Callable[[Gateway, Incoming], Awaitable[None]]

_PATH = re.compile(
    r"/v1/(?P<what>files|batches|messages/batches)(?:/(?P<id>[A-Za-z0-9_-]{1,100})(?:/(?P<then>[a-z]+))?)?/?", re.ASCII
)
ENDPOINTS: Mapping[tuple[str, bool, str | None], Mapping[str, Endpoint]] = {
    ("files", False, None): {"GET": files.listed, "POST": files.upload},
    ("files", True, None): {"GET": files.show, "DELETE": files.delete},
    ("files", True, "content"): {"GET": files.content},
    ("batches", False, None): {"GET": openai_batches.listed, "POST": openai_batches.create},
    ("batches", True, None): {"GET": openai_batches.show},
    ("batches", True, "cancel"): {"POST": openai_batches.cancel},
    ("messages/batches", False, None): {"GET": message_batches.listed, "POST": message_batches.create},
    ("messages/batches", True, None): {"GET": message_batches.show, "DELETE": message_batches.delete},
    ("messages/batches", True, "cancel"): {"POST": message_batches.cancel},
    ("messages/batches", True, "results"): {"GET": message_batches.results},
}


def methods(incoming: Incoming) -> Mapping[str, Endpoint] | None:
    """What answers this path; None: it is not ours."""
    found = _PATH.fullmatch(incoming.path)
    if found is None or incoming.path != incoming.head.raw_path or incoming.header(b"x-tidegate-route") is not None:
        return None
    if found["what"] == "files" and anthropic.is_asking(incoming):
        return None  # these are not for batches, and only Anthropic knows them
    return ENDPOINTS.get((found["what"], found["id"] is not None, found["then"]))
