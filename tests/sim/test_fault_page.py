"""docs/faults.md says what the catalogue says."""

from __future__ import annotations

import pytest

from tools.fault_page import PAGE, render


def test_the_table_of_the_page_is_that_of_the_catalogue() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert render(page) == page, "run: make docs"
    assert render(page.replace("motor_stall", "gremlin")).count("`motor_stall`") >= 1


def test_a_page_without_its_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 times"):
        render("nothing")
