"""A slice of the campaign of ``tools/kill_campaign.py``: kill -9 at random moments of a set-rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telemetry.model import Verdict
from tools.kill_campaign import _agrees, campaign

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.real
@pytest.mark.timeout(180)
async def test_after_kill_9_the_driver_says_what_the_pump_did(tmp_path: Path) -> None:
    found = await campaign(10, seed=20, folder=tmp_path)
    assert found["disagreements"] == []
    assert sum(found["said"].values()) == 10  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("said", "found", "applied", "agrees"),
    [
        ("applied", [], True, True),
        ("applied", [], False, False),
        ("link_error", [], False, True),
        ("link_error", [], True, False),
        ("refused", [], True, False),
        ("outcome_unknown", [Verdict.APPLIED], True, True),
        ("outcome_unknown", [Verdict.NEVER], False, True),
        ("outcome_unknown", [Verdict.NEVER], True, False),
        ("outcome_unknown", [Verdict.FORGOTTEN], False, False),
        ("outcome_unknown", [], True, False),
        ("applied", [Verdict.APPLIED], True, False),
    ],
)
def test_the_campaign_sees_a_disagreement(said: str, found: list[Verdict], applied: bool, agrees: bool) -> None:
    assert _agrees(said, found, applied=applied) is agrees
