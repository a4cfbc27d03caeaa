"""Message batches as Anthropic documents them for its SDK. Run by its own Python: see test_batches.py.

URL=http://127.0.0.1:8080 KEY=tg_… python anthropic_batches.py     prints ok, or what went wrong
"""

from __future__ import annotations

import os
import time
from typing import Any

import anthropic
from anthropic import Anthropic

client = Anthropic(base_url=os.environ["URL"], api_key=os.environ["KEY"], max_retries=0, timeout=30)


def request(id: str, model: str = "fast") -> Any:
    params = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": f"Hello, {id}"}]}
    return {"custom_id": id, "params": params}


def a_batch_to_its_end() -> None:
    batch = client.messages.batches.create(requests=[*(request(f"q{n}") for n in range(20)), request("nobody", "fsat")])
    assert batch.processing_status == "in_progress" and batch.results_url is None
    while batch.processing_status != "ended":
        time.sleep(0.1)
        batch = client.messages.batches.retrieve(batch.id)
    counts = batch.request_counts
    assert (counts.succeeded, counts.errored, counts.processing) == (20, 1, 0)
    said = {one.custom_id: one.result for one in client.messages.batches.results(batch.id)}
    assert list(said) == [*(f"q{n}" for n in range(20)), "nobody"]
    for n in range(20):
        result = said[f"q{n}"]
        assert result.type == "succeeded" and result.message.content[0].type == "text"
    nobody = said["nobody"]
    assert nobody.type == "errored" and nobody.error.error.type == "not_found_error"
    assert batch.id in [one.id for one in client.messages.batches.list(limit=5)]
    assert client.messages.batches.delete(batch.id).type == "message_batch_deleted"


def what_is_cancelled_and_what_is_nobodys() -> None:
    batch = client.messages.batches.create(requests=[request("a")])
    for _ in range(2):
        batch = client.messages.batches.cancel(batch.id)
        assert batch.processing_status in ("canceling", "ended")
    try:
        client.messages.batches.retrieve("msgbatch_nobody")
    except anthropic.NotFoundError:
        return
    raise AssertionError("nobody's batch was found")


if __name__ == "__main__":
    a_batch_to_its_end()
    what_is_cancelled_and_what_is_nobodys()
    print("ok")
