"""The arithmetic of a plan; no pump is needed, and none is made."""

from __future__ import annotations

import pytest

from telemetry import DailyDose
from titration_assistant import TitrationPlan

PLAN = TitrationPlan(step_percent=10, ceiling=DailyDose.parse("600 ug/day"))


@pytest.mark.parametrize(
    ("present", "then"),
    [
        ("100 ug/day", "110 ug/day"),
        ("345 ug/day", "379 ug/day"),
        ("590 ug/day", "600 ug/day"),
        ("5 ug/day", "6 ug/day"),
    ],
)
def test_a_step(present: str, then: str) -> None:
    assert PLAN.next_dose(DailyDose.parse(present)) == DailyDose.parse(then)


def test_the_ceiling_is_the_end() -> None:
    assert PLAN.next_dose(DailyDose.parse("600 ug/day")) is None


@pytest.mark.parametrize("percent", [0, 21])
def test_a_step_that_the_pump_would_warn_of_is_no_plan(percent: int) -> None:
    with pytest.raises(ValueError, match=f"{percent} is not in 1 to 20"):
        TitrationPlan(percent, PLAN.ceiling)
