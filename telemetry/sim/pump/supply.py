"""A battery with a film gives way under the peak of a stroke or a tone: when, and what then (F4, trust.md 5.10).

A reset is over at once, and the next peak is the next stroke or tone. The third within an hour enters the safe state;
a battery that gives way in that state too, within the hour, is at its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.sim.pump import recovery
from telemetry.sim.pump.quantities import ceil_div

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore


def next_peak_ms(core: PumpCore) -> int | None:
    """The first stroke or tone, later than now, that is too much for the battery; None when there is none."""
    if core.ended or core.exhausted:
        return None
    now_ms, drain, profile = core.now_ms, core.drain_pc_per_day, core.profile
    found: list[int] = []
    rate, rotor = core.rate_nl_per_day, core.reservoir.rotor
    weak_ms = core.battery.brownout_ms(now_ms, drain, profile.stroke_peak_ua)
    if rate and weak_ms is not None:
        strokes = max(1, ceil_div((weak_ms - now_ms) * rate + rotor.phase, rotor.stroke))
        found.append(now_ms + ceil_div(strokes * rotor.stroke - rotor.phase, rate))
    weak_ms = core.battery.brownout_ms(now_ms, drain, profile.tone_peak_ua)
    tone = None if weak_ms is None else core.alarms.next_tone_ms(max(weak_ms, now_ms + 1))
    if tone is not None:
        found.append(tone[0])
    return min(found, default=None)


def give_way(core: PumpCore) -> None:
    """The supply gives way now, if a stroke or a tone is still too much for it."""
    profile, battery = core.profile, core.battery
    loads = [profile.stroke_peak_ua] if core.rate_nl_per_day else []
    loads += [profile.tone_peak_ua] if core.alarms.drain_pc_per_day else []
    if not any(battery.browns_out(load) for load in loads):
        return
    if core.safe and recovery.resets_within_an_hour(core) >= recovery.MOST_RESETS:
        battery.spend(battery.remaining_pc + 1)
    else:
        recovery.low_battery_reset(core)
