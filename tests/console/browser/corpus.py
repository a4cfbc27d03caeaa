"""What might somebody say to break a page that shows it? Said in every place where a client can say something."""

from __future__ import annotations

import json
from typing import NamedTuple

from tests.console.browser.visit import House

CORPUS = (
    "<script>window.__wrong.push('ran');alert(1)</script>",
    "<img src=x onerror=\"window.__wrong.push('ran')\">",
    "<svg onload=\"window.__wrong.push('ran')\"><a href=\"javascript:window.__wrong.push('ran')\">x</a></svg>",
    "![image](http://127.0.0.1:9/leak.png?q=secret) [link](javascript:alert(1))",
    "\x1b[2J\x1b[31mred\x1b]8;;http://127.0.0.1:9\x07link\x1b]8;;\x07",
    "\u202etxt.exe \u2066isolate\u2069 \u200fmarks",
    "${alert(1)} {{constructor.constructor('alert(1)')()}} </template><iframe srcdoc='x'>",
    "W" * 95 + "\u0300" * 5,
    "'\"><style>*{display:none}</style><base href=//127.0.0.1:9><!--",
)
ALL = "\n".join(CORPUS)
PROMPT = "said-to-break-pages"
HIDDEN = "\x1b\u202e\u2066\u2069\u200f"  # what turns a line around, or moves a cursor


class Seeds(NamedTuple):
    """Ids: of a call that was answered with all of it, of one that failed with it, of a key and a prompt of it."""

    call: str
    failed: str
    key: str
    prompt: str


def seeded(house: House) -> Seeds:
    """Each of the corpus as the name of a key, as its tag, of a team and as an end user; all of it as prompt, reply,
    error, comment, and as a prompt that is kept, with its note."""
    key = ""
    for at, text in enumerate(CORPUS):
        printable = "".join(one for one in text if one.isprintable())[:100]  # others are refused as a name
        made = house.call("/admin/keys", {"name": printable, "tags": [printable]})
        house.call("/admin/teams", {"id": f"broken-{at}", "name": printable})
        House(house.url, made["key"]).ask(text, "echo", user=text[:100])
        key = key or made["id"]
    error = json.dumps({"error": {"message": ALL, "code": ALL, "type": ALL}})
    said = house.ask(ALL, "echo", user=ALL[:200], metadata={"script": {"text": ALL}})
    house.call("/v1/feedback", {"request_id": said, "thumbs": "down", "comment": ALL})
    template = ALL.replace("{{", "").replace("}}", "")
    house.call("/v1/prompts", {"id": PROMPT, "template": template, "note": ALL})
    return Seeds(said, house.ask(ALL, "echo", metadata={"script": {"status": 400, "body": error}}), key, PROMPT)
