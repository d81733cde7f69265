"""A slice of the campaign of ``tools/kill_campaign.py``: kill -9 at random moments of a change of three kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telemetry.model import Drug, OperationKind, PumpMode, PumpStatus, Verdict
from tools.kill_campaign import Seen, _agrees, _whole, campaign

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.real
@pytest.mark.timeout(180)
async def test_after_kill_9_the_driver_says_what_the_pump_did(tmp_path: Path) -> None:
    found = await campaign(6, seed=20, folder=tmp_path, timed=1)
    assert found["disagreements"] == []
    assert sum(found["said"].values()) == 6  # type: ignore[attr-defined]
    assert found["kinds"] == {"program": 2, "bolus": 2, "refill": 2}


@pytest.mark.parametrize(
    ("said", "found", "effects", "agrees"),
    [
        ("applied", [], 1, True),
        ("applied", [], 0, False),
        ("applied", [], 2, False),
        ("link_error", [], 0, True),
        ("link_error", [], 1, False),
        ("refused", [], 1, False),
        ("outcome_unknown", [Verdict.APPLIED], 1, True),
        ("outcome_unknown", [Verdict.APPLIED], 2, False),
        ("outcome_unknown", [Verdict.NEVER], 0, True),
        ("outcome_unknown", [Verdict.NEVER], 1, False),
        ("outcome_unknown", [Verdict.FORGOTTEN], 0, False),
        ("outcome_unknown", [], 1, False),
        ("applied", [Verdict.APPLIED], 1, False),
    ],
)
def test_the_campaign_sees_a_disagreement(said: str, found: list[Verdict], effects: int, agrees: bool) -> None:
    assert _agrees(said, found, effects=effects) is agrees


def _seen(
    *, refills: int, programs: int, bridges: int, sequence: int, generation: int, strength: int, volume_nl: int
) -> Seen:
    status = PumpStatus(
        mode=PumpMode.SIMPLE_CONTINUOUS,
        rate_nl_per_day=170_000,
        dose_ng_per_day=340_000,
        concentration_ng_per_ml=strength,
        drug=Drug.BACLOFEN,
        reservoir_nl=volume_nl,
        reservoir_generation=generation,
        battery_percent=99,
        replace_by_ms=0,
        low_reservoir_at_ms=None,
        alarms=(),
        program_sequence=sequence,
        program_digest=b"",
        boot_epoch=1,
        now_ms=0,
        clock_utc_s=0,
        stopped_since_ms=None,
    )
    effects = {OperationKind.PROGRAM: programs, OperationKind.BOLUS: 0, OperationKind.REFILL: refills}
    return Seen(effects, bridges, status)


BEFORE = {
    "refills": 0,
    "programs": 1,
    "bridges": 0,
    "sequence": 1,
    "generation": 1,
    "strength": 2_000_000,
    "volume_nl": 9_000_000,
}
WHOLE = BEFORE | {
    "refills": 1,
    "bridges": 1,
    "sequence": 2,
    "generation": 2,
    "strength": 1_000_000,
    "volume_nl": 18_000_000,
}


def test_the_campaign_sees_half_a_refill() -> None:
    before = _seen(**BEFORE)
    assert _whole(OperationKind.REFILL, before, before, times=0)
    assert _whole(OperationKind.REFILL, before, _seen(**WHOLE), times=1)
    for part in ("bridges", "sequence", "generation", "strength", "volume_nl"):
        half = _seen(**(WHOLE | {part: BEFORE[part]}))
        assert not _whole(OperationKind.REFILL, before, half, times=1), part
        some = _seen(**(BEFORE | {part: WHOLE[part]}))
        assert part in {"bridges", "volume_nl"} or not _whole(OperationKind.REFILL, before, some, times=0), part
    assert not _whole(OperationKind.REFILL, before, _seen(**(WHOLE | {"programs": 2})), times=1)
    assert not _whole(OperationKind.BOLUS, before, _seen(**WHOLE), times=0)
