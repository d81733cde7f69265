"""How a titration goes on: by which step, up to which dose."""

from __future__ import annotations

from dataclasses import dataclass

from telemetry import DailyDose

NG_PER_UG = 1_000
LARGEST_STEP_PERCENT = 20
"""What the pump takes without a warning: its soft limit on a change of dose."""


@dataclass(frozen=True)
class TitrationPlan:
    """Raise by ``step_percent`` of the present dose a visit, never beyond ``ceiling``.

    Raises ``ValueError`` for a step that is not in 1 to ``LARGEST_STEP_PERCENT``.
    """

    step_percent: int
    ceiling: DailyDose

    def __post_init__(self) -> None:
        if not 1 <= self.step_percent <= LARGEST_STEP_PERCENT:
            raise ValueError(
                f"step_percent: {self.step_percent} is not in 1 to {LARGEST_STEP_PERCENT}; a pump warns of larger steps"
            )

    def next_dose(self, present: DailyDose) -> DailyDose | None:
        """The dose after this one, in whole µg/day, rounded down; None when the ceiling is reached."""
        if present >= self.ceiling:
            return None
        raised_ug = present.ng_per_day * (100 + self.step_percent) // (100 * NG_PER_UG)
        # A step of less than a microgram would round to no step at all, visit after visit.
        raised = DailyDose(max(raised_ug, present.ng_per_day // NG_PER_UG + 1) * NG_PER_UG)
        return min(raised, self.ceiling)
