"""One visit: look at the pump, decide, program the next dose, say what happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry import DailyDose, OutcomeUnknown, PumpMode, Refused, TelemetryError

if TYPE_CHECKING:
    from telemetry import Programmer
    from titration_assistant.plan import TitrationPlan

MS_PER_DAY = 86_400_000
LEAST_DAYS_LEFT = 14
"""A pump that runs low before the next visit is refilled first: the refill changes what a dose is."""


class NotToday(Exception):
    """Nothing was changed, and why."""


class Uncertain(Exception):
    """The pump may or may not have the new dose; ``transaction`` is what to ask for when it is in reach again."""

    def __init__(self, transaction: str) -> None:
        self.transaction = transaction
        super().__init__(
            f"no word from the pump on operation {transaction}: do not repeat it; "
            f"bring the telemeter back over the pump and ask again"
        )


@dataclass(frozen=True)
class Visit:
    """What a visit changed. ``found_out``: the pump's answer was lost, and it was asked what became of it."""

    before: DailyDose
    after: DailyDose
    transaction: str
    found_out: bool = False

    def __str__(self) -> str:
        return f"{self.before} -> {self.after}" + (" (the answer was lost; asked again)" if self.found_out else "")


async def titrate(programmer: Programmer, plan: TitrationPlan) -> Visit:
    """Raise the dose by one step of the plan.

    Raises ``NotToday`` when nothing was changed and nothing will be, ``Uncertain`` when the pump did not say, and
    another ``telemetry.TelemetryError`` when the pump was not reached, or not ours, before anything was sent.
    """
    before = await _present_dose(programmer)
    wanted = plan.next_dose(before)
    if wanted is None:
        raise NotToday(f"the dose is {before}, and the plan ends at {plan.ceiling}")
    try:
        change = await programmer.set_rate(wanted)
    except Refused as refused:
        raise NotToday(f"the pump refused {wanted}: {refused}") from refused
    except OutcomeUnknown as unknown:
        if await _was_applied(programmer, unknown.transaction):
            return Visit(before, wanted, unknown.transaction, found_out=True)
        raise NotToday(f"{wanted} did not reach the pump; it still runs {before}") from unknown
    return Visit(before, DailyDose(change.after.dose_ng_per_day), change.transaction)


async def _present_dose(programmer: Programmer) -> DailyDose:
    """The dose a step starts from; raises ``NotToday`` where the pump needs something else first."""
    status = await programmer.read_status()
    if status.mode is not PumpMode.SIMPLE_CONTINUOUS:
        raise NotToday(f"the pump's mode is {status.mode.value}; a titration needs a continuous therapy")
    if status.alarms:
        raise NotToday(f"the pump has alarms, see to them first: {', '.join(status.alarms)}")
    if status.low_reservoir_at_ms is not None:
        days_left = (status.low_reservoir_at_ms - status.now_ms) // MS_PER_DAY
        if days_left < LEAST_DAYS_LEFT:
            raise NotToday(f"the reservoir is low in {days_left} days; refill first")
    return DailyDose(status.dose_ng_per_day)


async def _was_applied(programmer: Programmer, transaction: str) -> bool:
    """Ask the pump's ledger what became of an operation; raises ``Uncertain`` when it does not say."""
    try:
        outcome = await programmer.outcome(transaction)
    except TelemetryError as error:
        raise Uncertain(transaction) from error
    if not outcome.certain:
        raise Uncertain(transaction)
    return outcome.verdict == "applied"
