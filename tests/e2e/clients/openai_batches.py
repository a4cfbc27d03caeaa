"""Files and batches as OpenAI documents them for its SDK. Run by its own Python: see test_batches.py.

URL=http://127.0.0.1:8080 KEY=tg_… python openai_batches.py     prints ok, or what went wrong
"""

from __future__ import annotations

import io
import json
import os
import time
from typing import Any

import openai
from openai import OpenAI

client = OpenAI(base_url=os.environ["URL"] + "/v1", api_key=os.environ["KEY"], max_retries=0, timeout=30)
CHAT = "/v1/chat/completions"


def line(id: str, model: str = "fast") -> str:
    body = {"model": model, "messages": [{"role": "user", "content": f"hi {id}"}]}
    return json.dumps({"custom_id": id, "method": "POST", "url": CHAT, "body": body})


def a_batch_to_its_end() -> None:
    content = "\n".join([*(line(f"request-{n}") for n in range(20)), "{nonsense", line("nobody", "fsat")])
    file = client.files.create(file=("batchinput.jsonl", io.BytesIO(content.encode())), purpose="batch")
    assert file.status == "processed" and file.bytes == len(content) and file.purpose == "batch"
    batch = client.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"description": "nightly eval job"}
    )
    assert batch.status == "validating" and batch.metadata == {"description": "nightly eval job"}
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed" and batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (22, 20, 2)
    assert batch.errors is not None and batch.errors.data is not None and batch.errors.data[0].line == 21
    assert batch.output_file_id is not None and batch.error_file_id is not None
    results = [json.loads(one) for one in client.files.content(batch.output_file_id).text.splitlines()]
    assert [one["custom_id"] for one in results] == [f"request-{n}" for n in range(20)]
    assert all(one["response"]["body"]["choices"][0]["message"]["content"] for one in results)
    errors = [json.loads(one) for one in client.files.content(batch.error_file_id).text.splitlines()]
    assert [one["response"] and one["response"]["status_code"] for one in errors] == [None, 404]
    assert batch.id in [one.id for one in client.batches.list(limit=1)]
    assert {file.id, batch.output_file_id} <= {one.id for one in client.files.list(limit=2)}
    assert client.files.retrieve(batch.output_file_id).purpose == "batch_output"
    assert client.files.delete(file.id).deleted


def what_is_cancelled_and_what_is_nobodys() -> None:
    kept: Any = {"anchor": "created_at", "seconds": 3600}
    file = client.files.create(file=("in.jsonl", line("a").encode()), purpose="batch", expires_after=kept)
    assert file.expires_at is not None and 3590 <= file.expires_at - file.created_at <= 3600
    batch = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    for _ in range(2):
        batch = client.batches.cancel(batch.id)
        assert batch.status in ("cancelling", "cancelled", "completed")
    try:
        client.batches.retrieve("batch_nobody")
    except openai.NotFoundError as wrong:
        assert "x-tidegate-route" in wrong.message
    else:
        raise AssertionError("nobody's batch was found")


if __name__ == "__main__":
    a_batch_to_its_end()
    what_is_cancelled_and_what_is_nobodys()
    print("ok")
