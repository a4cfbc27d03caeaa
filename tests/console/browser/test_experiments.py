"""What is tried on whom: a worse canary from start to end, as somebody sees it who only looks at the console."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from tests.console.browser.visit import House, Visitor

CANARY = {
    "name": "worse",
    "route": "fast",
    "arms": [{"name": "new", "target": "worse/m"}],
    "guards": [{"metric": "error_rate", "margin": 0.01}],
    "ramp": [0.5],
    "tripwires": {"failures": 0, "burn": 0},
}
MOST_CALLS = 300  # forty are enough; of so many, the first of thirty looks sees ten, which tell nothing yet
SHOWN_WITHIN_MS = 2_000
WATCH_FOR_END = """
new MutationObserver(() => {
  if (!window.__ended && document.querySelector("main").innerText.includes("taken back")) window.__ended = Date.now();
}).observe(document.querySelector("main"), {childList: true, subtree: true, characterData: true});
"""


@contextmanager
def traffic(house: House) -> Iterator[None]:
    """Each user asks once."""
    enough = Event()

    def ask() -> None:
        for number in range(MOST_CALLS):
            if enough.is_set():
                return
            with suppress(urllib.error.HTTPError):
                house.ask(f"hi {number}", user=f"user-{number}")

    asking = Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        enough.set()
        asking.join()


def test_a_worse_canary_is_started_crosses_is_taken_back_and_all_of_it_is_seen(guest: Visitor) -> None:
    page = guest.came("/experiments")
    page.wait_for_selector("text=There is no experiment.")
    assert guest.asked == ["GET /v1/experiments"]
    page.get_by_text("A new experiment").click()
    page.get_by_label("What is tried").fill(json.dumps(CANARY))
    page.get_by_role("button", name="Make a draft").click()
    page.wait_for_url("**/experiments/worse")
    page.wait_for_selector("text=Nothing was decided yet")
    guest.see_nothing_wrong()

    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("text=running at stage 1 of 1")
    page.evaluate(WATCH_FOR_END)
    with traffic(guest.house):
        page.wait_for_selector("text=taken back: everybody has the control")
    decided = guest.house.call("/v1/experiments/worse/decisions")[-1]
    assert (decided["did"], decided["by"]) == ("rolled_back", "house")
    assert page.evaluate("window.__ended") - decided["at_ms"] <= SHOWN_WITHIN_MS
    assert "new is worse in error rate" in page.inner_text("main")
    guest.see_nothing_wrong()

    looks = guest.house.call("/v1/experiments/worse/report")["looks"]
    lows = [look["findings"][0]["low"] for look in looks]
    assert (lows[0] or 0) <= 0 < lows[-1], "the interval had nothing above the control, and has nothing else now"
    chart = page.get_by_role("figure").filter(has_text="error_rate of new over time")
    chart.get_by_text("As a table").click()
    assert chart.locator("tbody tr").count() == len(looks)

    page.get_by_role("button", name="Let each decision follow again").click()
    page.wait_for_selector("text=From what each was based on")
    guest.see_nothing_wrong()

    guest.open("/audit?what=experiment_rolled_back")
    page.get_by_role("row").filter(has_text="experiment_rolled_back").filter(has_text="house").wait_for()


def test_a_configuration_for_some_is_started_given_to_more_and_taken_back(guest: Visitor) -> None:
    page = guest.came("/experiments?canary=1")
    page.wait_for_selector("text=No configuration is tried")
    assert guest.asked == ["GET /admin/config/canary/live"]
    guest.see_nothing_wrong()
    page.get_by_text("Give it to some").click()
    page.get_by_label("Share", exact=True).fill("20%")
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("text=What this process has seen")
    page.get_by_label("Share, more than now").fill("40%")
    page.get_by_role("button", name="Give it to more").click()
    page.wait_for_selector(".tile strong:has-text('40 %')")
    guest.see_nothing_wrong()
    page.get_by_role("button", name="Take back").click()
    page.get_by_role("button", name="Take back").click()
    page.wait_for_selector("text=rolled_back")
    guest.see_nothing_wrong()


def test_a_viewer_is_offered_no_decision_on_a_small_screen(guest: Visitor) -> None:
    with suppress(urllib.error.HTTPError):
        guest.house.call("/v1/experiments", {**CANARY, "name": "watched"})
    key = guest.house.call("/admin/keys", {"name": "looker", "role": "viewer"})["key"]
    guest.page.set_viewport_size({"width": 360, "height": 700})
    guest.open("/experiments/watched")
    page = guest.log_in(key)
    page.wait_for_selector("text=a draft: nobody gets an arm")
    assert guest.asked == ["GET /v1/experiments/watched/live"]
    assert page.get_by_role("button", name="Start").count() == 0
    guest.see_nothing_wrong()
