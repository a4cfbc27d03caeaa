"""What is said: prompts, their versions, and who edits them at the same time."""

from __future__ import annotations

from typing import Any

from tests.console.browser.visit import Visitor


def kept(visitor: Visitor, id: str, *texts: str, **more: Any) -> None:
    for text in texts:
        visitor.house.call("/v1/prompts", {"id": id, "messages": [{"role": "system", "content": text}], **more})


def test_a_prompt_is_made_here_and_rendered_while_one_types(visitor: Visitor) -> None:
    page = visitor.came("/prompts?new=1")
    assert visitor.asked == []
    page.get_by_label("Name", exact=True).fill("made.here")
    page.get_by_label("Message 1").fill("You greet {{who}}.")
    page.get_by_label("Value of who").fill("<b>Ann</b>")
    page.wait_for_selector("pre:has-text('You greet <b>Ann</b>.')")
    page.get_by_label("Label that points to it").fill("production")
    visitor.see_nothing_wrong()
    page.get_by_role("button", name="Keep as a new version").click()
    page.wait_for_url("**/prompts/made.here")
    assert visitor.house.call("/v1/prompts/made.here")["messages"][0]["content"] == "You greet {{who}}."


def test_two_who_edit_one_prompt_see_each_other_and_lose_nothing(visitor: Visitor) -> None:
    kept(visitor, "shared", "You are kind.")
    page = visitor.came("/prompts/shared?edit=1")
    assert visitor.asked == ["GET /v1/prompts/shared?version=1"]
    page.get_by_label("Message 1").fill("You are kind and brief.")
    kept(visitor, "shared", "You are stern.", note="their change")
    page.get_by_role("button", name="Keep as a new version").click()
    page.wait_for_selector("text=Meanwhile there is a version 2")
    page.wait_for_selector("section.notice pre:has-text('You are stern.')")
    page.wait_for_selector("section.notice pre:has-text('+You are kind and brief.')")
    assert "their change" in page.inner_text("section.notice")
    assert page.get_by_label("Message 1").input_value() == "You are kind and brief."
    visitor.wrong = [one for one in visitor.wrong if "409" not in one]
    visitor.see_nothing_wrong()
    page.get_by_role("button", name="Keep mine as version 3").click()
    page.wait_for_url("**/prompts/shared")
    assert visitor.house.call("/v1/prompts/shared?label=latest")["version"] == 3


def test_a_label_is_moved_after_asking_and_taken_back(visitor: Visitor) -> None:
    kept(visitor, "moved", "One.", labels=["production"])
    kept(visitor, "moved", "Two.")
    page = visitor.came("/prompts/moved")
    row = page.get_by_role("row").filter(has=page.get_by_role("combobox"))
    row.wait_for()
    assert visitor.asked == ["GET /v1/prompts/moved/summary"]
    row.get_by_role("button", name="Move").click()
    page.wait_for_selector("text=production goes from version 1 to 2")
    assert visitor.house.call("/v1/prompts/moved")["version"] == 1
    row.get_by_role("button", name="Move").click()
    row.get_by_role("button", name="Back to 1").click()
    row.get_by_role("button", name="Back to 1").click()
    page.wait_for_selector("td:has-text('taken back')")
    assert visitor.house.call("/v1/prompts/moved")["version"] == 1
    visitor.see_nothing_wrong()


def test_versions_are_read_and_compared_at_addresses_of_their_own(visitor: Visitor) -> None:
    kept(visitor, "read", "One {{a}}.")
    kept(visitor, "read", "Two {{a}}.")
    page = visitor.came("/prompts/read?base=1&head=2")
    page.wait_for_selector("pre:has-text('+Two {{a}}.')")
    assert visitor.asked == ["GET /v1/prompts/read/diff?base=1&head=2"]
    visitor.see_nothing_wrong()
    visitor.open("/prompts/read?version=1")
    page.wait_for_selector("pre:has-text('One {{a}}.')")
    assert visitor.asked == ["GET /v1/prompts/read?version=1"]
    visitor.see_nothing_wrong()


def test_a_member_reads_prompts_and_is_offered_no_change(visitor: Visitor) -> None:
    kept(visitor, "watched", "Hello.", labels=["production"])
    key = visitor.house.call("/admin/keys", {"name": "reader", "role": "member"})["key"]
    visitor.open("/prompts/watched")
    page = visitor.log_in(key)
    page.get_by_role("region", name="Labels", exact=True).wait_for()
    assert page.get_by_role("button", name="Move").count() == 0 and page.get_by_role("link", name="Edit").count() == 0
    visitor.see_nothing_wrong()


def test_it_works_on_a_small_screen(visitor: Visitor) -> None:
    kept(visitor, "small", "A long line of words, " * 30)
    visitor.page.set_viewport_size({"width": 360, "height": 700})
    page = visitor.came("/prompts")
    page.get_by_role("link", name="small").wait_for()
    visitor.see_nothing_wrong()
    for path in ("/prompts/small", "/prompts/small?edit=1", "/prompts?new=1"):
        visitor.open(path)
        page.wait_for_selector("h1")
        visitor.see_nothing_wrong()
