"""How does a test start a batch? As a client of OpenAI's API does: a file, a batch, and a file when it has ended."""

from __future__ import annotations

import json
from typing import Any

from tests.house import House, Reply

CHAT = "/v1/chat/completions"


class Desk:
    """A client of OpenAI's API, as far as batches go."""

    def __init__(self, house: House, key: str | None = None) -> None:
        self.house = house
        self.key = key or house.key

    @classmethod
    async def of_another(cls, house: House, **fields: Any) -> Desk:
        """Somebody with a key of their own."""
        reply = await house.begin(path="/admin/keys", body=json.dumps({"name": "other"} | fields).encode()).reply()
        assert reply.status < 300, reply.body
        return cls(house, reply.events[0]["key"])

    async def post(self, path: str, **fields: Any) -> Reply:
        return await self.house.begin(path=path, body=json.dumps(fields).encode(), key=self.key).reply()

    async def get(self, path: str) -> Reply:
        return await self.house.get(path, key=self.key)

    async def upload(self, content: bytes, purpose: str = "batch", name: str = "in.jsonl") -> Reply:
        form = (
            f'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n--x\r\ncontent-disposition: '
            f'form-data; name="file"; filename="{name}"\r\ncontent-type: application/jsonl\r\n\r\n'
        ).encode()
        headers = {"content-type": "multipart/form-data; boundary=x"}
        asking = self.house.begin(
            path="/v1/files", body=form + content + b"\r\n--x--\r\n", headers=headers, key=self.key
        )
        return await asking.reply()

    async def begin(self, content: bytes, endpoint: str = CHAT, **fields: Any) -> Any:
        file = (await self.upload(content)).events[0]
        asked = {"input_file_id": file["id"], "endpoint": endpoint, "completion_window": "24h"} | fields
        reply = await self.post("/v1/batches", **asked)
        assert reply.status == 200, reply.body
        return reply.events[0]

    async def batch(self, id: str) -> Any:
        return (await self.get(f"/v1/batches/{id}")).events[0]

    async def ended(self, id: str, *, held: bool = False) -> Any:
        """`held`: the clock moves only when it is told."""

        async def look() -> Any:
            batch = await self.batch(id)
            return batch if batch["status"] in ("completed", "failed", "cancelled", "expired") else None

        for _ in range(2_000):
            if found := await look():
                return found
            await (self.house.clock.advance if held else self.house.clock.sleep)(0.25)
        raise AssertionError(f"it never ended: {await self.batch(id)}")

    async def lines(self, file: str | None) -> list[Any]:
        if file is None:
            return []
        return [json.loads(line) for line in (await self.get(f"/v1/files/{file}/content")).body.splitlines()]


def line(id: str, said: str = "hi", url: str = CHAT, **fields: Any) -> bytes:
    body = {"model": "fast", "messages": [{"role": "user", "content": said}]} | fields
    return json.dumps({"custom_id": id, "method": "POST", "url": url, "body": body}).encode()


def lines(*some: bytes) -> bytes:
    return b"\n".join(some) + b"\n"
