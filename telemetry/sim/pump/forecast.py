"""How long a volume lasts at a plan: exact, in whole periods where there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.model import PumpMode
from telemetry.sim.pump.plan import WEEK_MS
from telemetry.sim.pump.quantities import COMMANDED_PER_NL, ceil_div

if TYPE_CHECKING:
    from telemetry.sim.pump.plan import Plan
    from telemetry.sim.pump.rtc import WallClock


def ms_until(
    plan: Plan, now_ms: int, clock: WallClock, volume: int, *, extra_nl_per_day: int = 0, due_now: bool = False
) -> int | None:
    """How many ms until the plan has commanded ``volume`` (nl / 86 400 000); None: it never will.

    ``extra_nl_per_day`` flows besides. A periodic bolus that is due at this very instant counts with ``due_now``
    only: without it, it has begun already and is its caller's to subtract.
    """
    if volume <= 0:
        return 0
    due_ms = plan.next_bolus_ms(now_ms - 1 if due_now else now_ms)
    if due_ms is not None:
        return _with_boluses(plan, due_ms - now_ms, volume, plan.lowest_nl_per_day + extra_nl_per_day)
    if plan.lowest_nl_per_day == plan.peak_nl_per_day:
        rate = plan.peak_nl_per_day + extra_nl_per_day
        return ceil_div(volume, rate) if rate else None
    return _walk(plan, now_ms, clock, volume, extra_nl_per_day)


def lasts_ms(plan: Plan, now_ms: int, clock: WallClock, volume: int, *, extra_nl_per_day: int = 0) -> int | None:
    """How many whole ms a volume lasts from a plan's start on, rounded down; None: it is never used up.

    A periodic bolus that is due now counts.
    """
    reached = ms_until(plan, now_ms, clock, volume, extra_nl_per_day=extra_nl_per_day, due_now=True)
    beyond = ms_until(plan, now_ms, clock, volume + 1, extra_nl_per_day=extra_nl_per_day, due_now=True)
    # Reached in the middle of a millisecond, the volume is used up in the later one and lasts for the earlier one.
    return reached if reached is None or beyond is None else min(reached, beyond - 1)


def _with_boluses(plan: Plan, first_ms: int, volume: int, rate: int) -> int:
    if rate * first_ms >= volume:
        return ceil_div(volume, rate)
    volume -= rate * first_ms
    fast, amount, interval_ms = plan.bolus_nl_per_day, plan.bolus_volume_nl * COMMANDED_PER_NL, plan.bolus_interval_ms
    whole = (volume - 1) // (rate * interval_ms + amount)
    volume -= whole * (rate * interval_ms + amount)
    within_ms = ceil_div(volume, rate + fast)
    if fast * within_ms > amount and volume > amount:
        within_ms = max(within_ms, ceil_div(volume - amount, rate))
    return first_ms + whole * interval_ms + within_ms


def _walk(plan: Plan, now_ms: int, clock: WallClock, volume: int, extra: int) -> int | None:
    last_rate = plan.program.ramp[-1].rate_nl_per_day if plan.program.mode is PumpMode.TITRATION else None
    if extra == 0 and last_rate is None and plan.mean_nl_per_day == 0:
        return None
    at_ms, skipped_ms = now_ms, 0
    if last_rate is None and clock.drift_ppm == 0 and not clock.holds(now_ms):
        # Without drift every week is the same, from whichever instant it is counted.
        a_week = sum((end - start) * (rate + extra) for start, end, rate, _ in plan.week())
        whole = (volume - 1) // a_week
        volume -= whole * a_week
        skipped_ms = whole * WEEK_MS
    while True:
        rate, _, change_ms = plan.segment(at_ms, clock)
        rate += extra
        if change_ms is None or rate * (change_ms - at_ms) >= volume:
            return skipped_ms + at_ms - now_ms + ceil_div(volume, rate) if rate else None
        volume -= rate * (change_ms - at_ms)
        at_ms = change_ms
