"""Batches, what-if and settings: each one call, and what is not there yet teaches."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.api.admin.test_evals import write
from tests.console.browser.visit import House, Visitor
from tests.jobs.batches.desk import line, lines
from tidegate.jobs.evals import queue, results


def upload(house: House, content: bytes) -> str:
    form = (
        b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\ncontent-disposition: form-data; '
        b'name="file"; filename="in.jsonl"\r\ncontent-type: application/jsonl\r\n\r\n' + content + b"\r\n--x--\r\n"
    )
    headers = {"authorization": f"Bearer {house.key}", "content-type": "multipart/form-data; boundary=x"}
    with urllib.request.urlopen(urllib.request.Request(f"{house.url}/v1/files", form, headers), timeout=20) as answer:
        return str(json.loads(answer.read())["id"])


def test_a_batch_is_found_with_its_counts_and_cost(visitor: Visitor) -> None:
    file = upload(visitor.house, lines(line("a", model="echo"), line("b", model="echo")))
    asked = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = visitor.house.call("/v1/batches", asked)["id"]
    page = visitor.came("/batches")
    assert visitor.asked == ["GET /admin/batches"]
    page.get_by_role("link", name=batch).click()
    page.get_by_role("heading", name=batch).wait_for()
    while page.get_by_text("2 answered, 0 failed").count() == 0:
        page.get_by_role("button", name="Look again").click()
    visitor.see_nothing_wrong()


def test_a_batch_is_cancelled_only_after_asking_again(visitor: Visitor) -> None:
    slow = [line(f"l{number}", model="echo") for number in range(300)]
    asked = {
        "input_file_id": upload(visitor.house, lines(*slow)),
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    batch = visitor.house.call("/v1/batches", asked)["id"]
    page = visitor.came(f"/batches/{batch}")
    button = page.get_by_role("button", name="Cancel")
    if button.count():  # else it was quicker than we are
        button.click()
        page.get_by_text("Go on?").wait_for()
    visitor.see_nothing_wrong()


def test_what_might_have_been_paid_is_a_waterfall(visitor: Visitor) -> None:
    visitor.house.ask("what if")
    page = visitor.came("/whatif?since=1h")
    page.get_by_role("region", name="What would still have been paid").wait_for()
    assert visitor.asked == ["GET /admin/whatif?since=1h"]
    visitor.see_nothing_wrong()
    page.get_by_label("A smaller model").fill("nobody/none")
    page.get_by_role("button", name="Look").click()
    page.get_by_text("the price list knows no 'nobody/none'").wait_for()
    assert page.get_by_label("A smaller model").input_value() == "nobody/none"


def test_settings_are_found_by_name_and_no_secret_is_among_them(visitor: Visitor) -> None:
    page = visitor.came("/settings?find=routes.kept&said=1")
    page.get_by_text("routes.kept.cache.semantic.max_error").wait_for()
    assert visitor.asked == ["GET /admin/settings"]
    assert visitor.house.key not in page.content()
    visitor.see_nothing_wrong()
    page.get_by_label("Name has").fill("nothing is called so")
    page.get_by_role("button", name="Find").click()
    page.get_by_text("No setting fits").wait_for()
    visitor.see_nothing_wrong()


@pytest.mark.parametrize("path", ["/cache", "/keys", "/batches", "/whatif", "/settings", "/evals"])
def test_it_fits_a_small_screen(visitor: Visitor, path: str) -> None:
    visitor.page.set_viewport_size({"width": 360, "height": 700})
    visitor.came(path)
    visitor.page.locator("main table:visible, main .empty:visible").first.wait_for()
    visitor.see_nothing_wrong()


def test_answers_of_a_run_are_labelled_with_keys_and_runs_compared(visitor: Visitor) -> None:
    page = visitor.came("/evals")
    assert visitor.asked == ["GET /admin/evals"]
    visitor.see_nothing_wrong()
    assert visitor.house.folder is not None
    folder = visitor.house.folder / "data" / "evals"
    write(folder, "base", *[f"good {at}" for at in range(3)])
    write(folder, "head", *[f"other {at} <b>x</b>" for at in range(3)], good=1)

    visitor.open("/evals/head")
    page.get_by_role("region", name="Criteria").wait_for()
    page.get_by_label("Against the run").fill("base")
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("heading", name="Worse: c1, exact").wait_for()
    visitor.see_nothing_wrong()

    visitor.open("/evals/head?label=1&base=base")
    page.get_by_text("3 to go").wait_for()
    assert visitor.asked == ["GET /admin/evals/head/queue?base=base"]
    visitor.see_nothing_wrong()
    chosen = []
    for key, left in (("1", "2 to go"), ("t", "1 to go"), ("2", "You have labelled everything")):
        of_base, of_head = [page.locator(".side-by-side section", has_text=text) for text in ("good", "other")]
        places = [side.get_by_role("heading").inner_text() for side in (of_base, of_head)]
        chosen.append("tie" if key == "t" else str(places.index(key) + 1))
        page.keyboard.press(key)
        page.get_by_text(left).wait_for()
    said = [json.loads(line)["label"] for line in (folder / "labels--base--head.jsonl").read_text().splitlines()]
    assert said == chosen
    visitor.see_nothing_wrong()


AS_SOON_AS_SHOWN = """() => {
  const keys = ["t", "2"];
  const status = document.querySelector("main p[role=status]");
  new MutationObserver(() => {
    const key = keys.shift();
    if (key) document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  }).observe(status, { subtree: true, characterData: true, childList: true });
  const held = () => document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "1", bubbles: true }));
  for (let times = 0; times < 3; times++) held();
}"""


def test_a_key_labels_what_is_shown_and_one_held_down_says_it_once(
    visitor: Visitor,
):
    assert visitor.house.folder is not None
    folder = visitor.house.folder / "data" / "evals"
    write(folder, "first", *[f"good {at}" for at in range(3)])
    write(folder, "second", *[f"other {at}" for at in range(3)])
    page = visitor.came("/evals/second?label=1&base=first")
    page.get_by_text("3 to go").wait_for()
    page.evaluate(AS_SOON_AS_SHOWN)
    page.get_by_text("You have labelled everything").wait_for()
    said = [json.loads(line) for line in (folder / "labels--first--second.jsonl").read_text().splitlines()]
    run = results.read(folder / "second.jsonl")
    shown_first = [queue.first(run, one["item"], one["labeller"]) for one in said]
    shown_second = ["2" if one == "1" else "1" for one in shown_first]
    assert [one["label"] for one in said] == [shown_first[0], "tie", shown_second[2]]
    assert len({one["item"] for one in said}) == 3
