"""Who answers, and who is set aside."""

from __future__ import annotations

from tests.console.browser.visit import Visitor


def test_a_target_is_set_aside_only_after_asking_again(visitor: Visitor) -> None:
    page = visitor.came("/targets")
    assert visitor.asked == ["GET /admin/targets"]
    row = page.get_by_role("row").filter(has_text="spare/m")
    row.get_by_role("button", name="Set aside").click()
    assert "forced" not in row.inner_text()
    row.get_by_role("button", name="Set aside").click()
    row.get_by_text("open (forced)").wait_for()
    row.get_by_role("button", name="Reset").click()
    row.get_by_text("closed").wait_for()
    visitor.see_nothing_wrong()
