"""What do the vendors' own batches look like on the wire? A server that speaks both of their protocols as documented.

OpenAI: /v1/files and /v1/batches. Anthropic: /v1/messages/batches. Nothing is answered by itself: `finish` ends a
batch, and what goes wrong is told before.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from tidegate.providers.scripted.script import Answer, plain
from tidegate.providers.scripted.server import Received, Server

USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
MESSAGE_USAGE = {"input_tokens": 1000, "output_tokens": 500}
Line = dict[str, Any]


class Vendor(Server):
    """`asked`: what was asked one by one, by path. `fails`: the status of the next requests to (method, path)."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Line] = {}
        self.lines: dict[str, list[Line]] = {}
        self.asked: list[str] = []
        self.seen: list[str] = []
        self.fails: dict[str, list[int]] = {}
        self.forgetful = False  # batches are begun, and answered with an error
        self.begun: Callable[[], object] = lambda: None  # a batch is there, and nobody has been told
        self.says: Callable[[Line], str] = lambda body: f"batched: {_last(body)}"  # type: ignore[assignment]
        self.spoil: Callable[[list[bytes]], list[bytes]] = lambda lines: lines
        self._count = itertools.count(1)

    def answer(self, request: Received) -> Answer:
        path, _, query = request.path.partition(b"?")
        path, body = path.decode().removeprefix("/v1"), request.body
        place = f"{request.method.decode()} {re.sub(r'(file-|batch_|msgbatch_)[0-9a-z]+', '*', path)}"
        self.seen.append(place)
        if self.fails.get(place):
            return plain(self.fails[place].pop(0), b'{"error": {"message": "not now", "type": "x"}}')
        found = self._found(place, path, body, query)
        if place in ("POST /batches", "POST /messages/batches"):
            self.begun()
            if self.forgetful:
                return plain(502, b"bad gateway")
        if isinstance(found, bytes):
            return plain(200, found)
        return plain(200, json.dumps(found).encode()) if found is not None else plain(404, b'{"error": {}}')

    def _found(self, place: str, path: str, body: bytes, query: bytes) -> Any:
        id = next((part for part in path.split("/") if part.startswith(("file-", "batch_", "msgbatch_"))), "")
        if place in ("POST /chat/completions", "POST /responses", "POST /messages", "POST /embeddings"):
            self.asked.append(path)
            return _reply(path, json.loads(body), "one by one")
        if place == "POST /files":
            id = f"file-{next(self._count)}"
            self.files[id] = body.split(b"\r\n\r\n")[-1].rpartition(b"\r\n--")[0]
            return {"id": id, "object": "file", "bytes": len(body), "purpose": "batch"}
        if place == "GET /files/*/content":
            return self.files.get(id)
        if place == "DELETE /files/*":
            return {"id": id, "deleted": self.files.pop(id, None) is not None}
        if place == "POST /batches":
            return self._begin(json.loads(body))
        if place == "POST /messages/batches":
            return self._begin_messages(json.loads(body))
        if place in ("GET /batches", "GET /messages/batches"):
            return self._page(parse_qs(query.decode()))
        if place in ("POST /batches/*/cancel", "POST /messages/batches/*/cancel"):
            self.finish(id, done=0, how="cancelled")
        if place == "GET /messages/batches/*/results":
            return self.files.get(id)
        return self.batches.get(id)

    def _page(self, asked: Mapping[str, list[str]]) -> Any:
        """Newest first."""
        newest, after = list(reversed(self.batches.values())), asked.get("after") or asked.get("after_id")
        begin = next((at + 1 for at, one in enumerate(newest) if after and one["id"] == after[0]), 0)
        some = newest[begin : begin + int(asked["limit"][0])]
        more = begin + len(some) < len(newest)
        return {"object": "list", "data": some, "has_more": more, "last_id": some[-1]["id"] if some else None}

    def _begin(self, asked: Mapping[str, Any]) -> Line:
        id = f"batch_{next(self._count)}"
        self.lines[id] = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        counts = {"total": len(self.lines[id]), "completed": 0, "failed": 0}
        self.batches[id] = {
            "id": id, "object": "batch", "status": "validating", "endpoint": asked["endpoint"],
            "metadata": asked.get("metadata"), "input_file_id": asked["input_file_id"], "output_file_id": None,
            "error_file_id": None, "request_counts": counts,
        }  # fmt: skip
        return self.batches[id]

    def _begin_messages(self, asked: Mapping[str, Any]) -> Line:
        id = f"msgbatch_{next(self._count)}"
        self.lines[id] = asked["requests"]
        counts = {"processing": len(self.lines[id]), "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        self.batches[id] = {
            "id": id, "type": "message_batch", "processing_status": "in_progress", "request_counts": counts,
            "results_url": None, "created_at": "2026-11-27T00:00:00Z",
        }  # fmt: skip
        return self.batches[id]

    def finish(self, id: str, *, done: int | None = None, how: str = "completed") -> None:
        """End a batch; `done`: so many of its lines are answered, the others are not."""
        if id.startswith("msgbatch_"):
            self._finish_messages(id, done, how)
            return
        lines, batch = self.lines[id], self.batches[id]
        done = len(lines) if done is None else done
        answered = []
        for n, line in enumerate(lines[:done]):
            said = _reply(line["url"], line["body"], self.says(line["body"]))
            response = {"status_code": 200, "request_id": f"req_{n}", "body": said}
            answered.append(
                {"id": f"batch_req_{n}", "custom_id": line["custom_id"], "error": None, "response": response}
            )
        rest = [
            {"id": "batch_req_x", "custom_id": line["custom_id"], "response": None,
             "error": {"code": f"batch_{how}", "message": "not done in time"}} for line in lines[done:]
        ]  # fmt: skip
        batch["status"] = how
        for name, some in (("output_file_id", answered), ("error_file_id", rest)):
            if some and how != "failed":
                batch[name] = f"file-{next(self._count)}"
                self.files[batch[name]] = b"\n".join(self.spoil([json.dumps(one).encode() for one in some])) + b"\n"

    def _finish_messages(self, id: str, done: int | None, how: str) -> None:
        lines, batch = self.lines[id], self.batches[id]
        done = len(lines) if done is None else done
        word = {"completed": "expired", "cancelled": "canceled"}.get(how, how)
        results = []
        for n, line in enumerate(lines):
            said = _reply("/messages", line["params"], self.says(line["params"]))
            result = {"type": "succeeded", "message": said} if n < done else {"type": word}
            results.append({"custom_id": line["custom_id"], "result": result})
        self.files[id] = b"\n".join(self.spoil([json.dumps(one).encode() for one in results])) + b"\n"
        batch |= {"processing_status": "ended", "results_url": f"{self.address}/messages/batches/{id}/results"}


def _last(body: Line) -> str:
    said = body["messages"][-1]["content"] if "messages" in body else str(body.get("input"))
    return said if isinstance(said, str) else said[-1]["text"]


def _reply(path: str, body: Line, text: str) -> Line:
    if path.endswith("/messages"):
        return {
            "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_reason": "end_turn",
            "stop_sequence": None, "content": [{"type": "text", "text": text}], "usage": MESSAGE_USAGE,
        }  # fmt: skip
    if path.endswith("/responses"):
        said = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}]
        usage = {"input_tokens": 1000, "output_tokens": 500}
        return {"id": "resp_1", "object": "response", "model": body["model"], "output": said, "usage": usage}
    said = [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": said,
        "usage": USAGE,
    }
