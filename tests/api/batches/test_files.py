"""Files as OpenAI's clients know them, and what is refused, with what is wrong and where."""

from __future__ import annotations

import json

import pytest

from tests.house import TWO_PROVIDERS
from tests.jobs.batches.desk import CHAT, Desk, line
from tidegate.api.batches.forms import parts
from tidegate.core.errors import BadRequest, UnsupportedMedia


@pytest.fixture
def desk(house):
    return Desk(house)


async def test_a_file_is_uploaded_found_read_and_deleted(desk):
    made = (await desk.upload(b"a\r\n\r\nb", name='in \\"1\\".jsonl')).events[0]
    assert (made["object"], made["bytes"], made["filename"], made["purpose"]) == ("file", 6, 'in "1".jsonl', "batch")
    assert (await desk.get(f"/v1/files/{made['id']}")).events[0] == made
    assert (await desk.get("/v1/files?purpose=batch&limit=5")).events[0]["data"] == [made]
    content = await desk.get(f"/v1/files/{made['id']}/content")
    assert content.body == b"a\r\n\r\nb" and content.headers["content-security-policy"].startswith("sandbox")
    deleted = await desk.house.begin(path=f"/v1/files/{made['id']}", method="DELETE", body=b"").reply()
    assert deleted.events[0] == {"id": made["id"], "object": "file", "deleted": True}
    assert (await desk.get(f"/v1/files/{made['id']}")).status == 404


async def test_what_is_no_file_for_a_batch_is_refused(desk):
    reply = await desk.upload(b"a", purpose="fine-tune")
    assert (reply.status, reply.error.param) == (400, "purpose") and "x-tidegate-route" in reply.error.message
    reply = await desk.post("/v1/files", purpose="batch")
    assert reply.status == 415
    assert (await desk.get("/v1/files?order=asc")).status == 400
    assert (await desk.get("/v1/files?limit=0")).status == 400
    assert (await desk.get("/v1/files?before=x")).status == 400


async def test_a_file_over_the_limit_is_refused(build_house):
    desk = Desk(await build_house("batches: {max_file: 1KiB, max_kept: 1500}\n" + TWO_PROVIDERS))
    reply = await desk.upload(b"x" * 1025)
    assert reply.status == 413 and "batches.max_file" in reply.error.message
    assert (await desk.upload(b"x" * 100_000)).status == 413
    assert (await desk.upload(b"x" * 1000)).status == 200
    reply = await desk.upload(b"x" * 1000)
    assert reply.status == 413 and "batches.max_kept" in reply.error.message


async def test_what_is_wrong_with_a_batch_is_said_by_field(desk):
    file = (await desk.upload(line("a"))).events[0]["id"]
    good = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    for field, value in (
        ("endpoint", "/v1/messages"),
        ("endpoint", "/v1/images/generations"),
        ("completion_window", "soon"),
        ("completion_window", "1s"),
        ("metadata", {"a": "b" * 513}),
    ):
        reply = await desk.post("/v1/batches", **{**good, field: value})
        assert (reply.status, reply.error.param) == (400, field), field
    reply = await desk.post("/v1/batches", **{**good, "input_file_id": "file-nobody"})
    assert (reply.status, reply.error.param) == (404, "input_file_id")
    assert (await desk.post("/v1/batches", endpoint=CHAT)).status == 400
    assert (await desk.get("/v1/batches/batch_nobody")).status == 404
    assert (await desk.house.begin(path="/v1/batches", method="PUT").reply()).status == 405


async def test_who_may_only_look_or_do_something_else_has_no_batches(desk):
    for fields in ({"role": "viewer"}, {"endpoints": ["chat"]}):
        other = await Desk.of_another(desk.house, **fields)
        for path in ("/v1/files", "/v1/batches", "/v1/messages/batches"):
            assert (await other.get(path)).status == 403, (fields, path)
    allowed = await Desk.of_another(desk.house, endpoints=["batches"])
    assert (await allowed.get("/v1/batches")).status == 200
    assert (await Desk(desk.house, "wrong").get("/v1/files")).status == 401


async def test_lines_may_ask_only_what_their_key_may(desk):
    other = await Desk.of_another(desk.house, endpoints=["batches", "embed"])
    batch = await other.ended((await other.begin(line("a")))["id"])
    (one,) = await other.lines(batch["error_file_id"])
    assert one["response"]["status_code"] == 403


async def test_with_a_route_that_is_named_the_same_paths_go_to_its_provider(desk):
    for path in ("/v1/files", "/v1/batches/batch_x", "/v1/messages/batches"):
        await desk.house.get(path, headers={"x-tidegate-route": "fast"})
        assert desk.house.provider("main").requests[-1].path == path.encode()


async def test_who_created_and_cancelled_is_in_the_audit_log(build_house):
    desk = Desk(await build_house("audit: {enabled: true}\nbatches: {at_once: 0}\n" + TWO_PROVIDERS))
    begun = await desk.begin(line("a"))
    for _ in range(2):
        await desk.post(f"/v1/batches/{begun['id']}/cancel")
    await desk.house.app.world.ledger.flush()
    links = await desk.house.app.world.store.tables.rows("SELECT entry FROM LOG ORDER BY seq")
    acts = [json.loads(bytes(entry)) for (entry,) in links]
    assert [one["did"] for one in acts if one.get("of") == begun["id"]] == ["batch_created", "batch_cancelled"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "does not end"),
        (b"--x\r\nname", "in the middle"),
        (b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nb', "in the middle"),
        (b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n--x', "in the middle"),
        (b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n--x\r\n' * 40 + b"--x--", "too many"),
    ],
)
def test_a_form_that_was_cut_off_is_told(body, why):
    with pytest.raises(BadRequest, match=why):
        parts(b"multipart/form-data; boundary=x", body)


def test_what_is_no_form_is_told():
    for kind in (b"application/json", b"multipart/form-data", b"text/plain; boundary=x", b""):
        with pytest.raises(UnsupportedMedia):
            parts(kind, b"--x--")
