"""An MRI scan as one order: what the field does to this kind of pump, and what comes with it (F15 to F17)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.model import Drive
from telemetry.sim.faults.injection import Injection, Trigger, TriggerKind
from telemetry.sim.pump import mishaps
from telemetry.units import MS_PER_HOUR, MS_PER_MINUTE, Duration

if TYPE_CHECKING:
    from telemetry.sim.faults.armed import Armed
    from telemetry.sim.virtual_pump import VirtualPump

DEFAULT_FIELD = "1.5 T"
DEFAULT_LASTS_MS = 30 * MS_PER_MINUTE
WEAKEST_CT, STRONGEST_CT = 20, 1_050
"""Fields in hundredths of a tesla: what is sold as an MRI scanner, and the strongest that people were scanned in."""
LABELLED_CT = 300
"""No pump is labelled for more than 3 T (domain.md 8)."""
LONGEST_BINDING_MS = 24 * MS_PER_HOUR
"""The longest delay on record (domain.md 2.6): what we assume beyond the labelled field."""
_FIELD = re.compile(r"(?P<whole>\d{1,2})(?:\.(?P<part>\d{1,2}))?\s*T?")


def scan(
    pump: VirtualPump,
    *,
    field: str = DEFAULT_FIELD,
    lasts: Duration | str | None = None,
    binds: Duration | str | None = None,
    interference: bool = False,
    reprograms_ppm: int = 0,
) -> tuple[Armed, ...]:
    """Put the pump into a scanner now; returns the orders that this is made of.

    A rotor stands for as long as the scan ``lasts`` and its gears ``binds`` (by default as the profile says, 24 h
    beyond 3 T); valves may open. ``interference``: a pump that sounds an alarm, now or during the scan, latches in
    telemetry mode. ``reprograms_ppm``: the field changes the rate for good, in silence. Raises ``UsageError`` for a
    field outside 0.2 to 10.5 T and for a pump to which a scanner does nothing; nothing is done then.
    """
    field_ct = _field_ct(field)
    profile, now_ms = pump.device.profile, pump.now_ms
    lasts_ms = DEFAULT_LASTS_MS if lasts is None else _span("lasts", lasts)
    orders: list[Injection] = []
    if reprograms_ppm:
        orders.append(Injection("memory_corruption", "silent", {"rate_ppm": reprograms_ppm}))
    if profile.drive is Drive.MOTOR:
        if binds is None:
            binds_ms = profile.mri_restart_ms if field_ct <= LABELLED_CT else LONGEST_BINDING_MS
        else:
            binds_ms = _span("binds", binds)
        orders.append(Injection("mri_stall", values={"lasts_ms": lasts_ms, "binds_ms": binds_ms}))
    elif profile.mri_valve_dump:
        orders.append(Injection("mri_reservoir_dump"))
    if interference:
        waiting = Trigger(TriggerKind.EVENT, event="alarm_raised", until_ms=now_ms + lasts_ms)
        at_once = mishaps.can_latch(pump.device.core)
        orders.append(Injection("mri_telemetry_latch", trigger=Trigger() if at_once else waiting))
    if not orders:
        raise UsageError(
            f"mri: nothing on record happens to a pump like {profile.name} in a scanner (domain.md 2.1); ask for "
            "interference, or inject a fault of its own"
        )
    return tuple(pump.inject(order) for order in orders)


def _field_ct(text: str) -> int:
    match = _FIELD.fullmatch(str(text).strip())
    field_ct = int(match["whole"] + (match["part"] or "").ljust(2, "0")) if match else 0
    if not WEAKEST_CT <= field_ct <= STRONGEST_CT:
        raise UsageError(f"field: {text!r} is no scanner's field; write 0.2 T to 10.5 T, as in 1.5 T")
    return field_ct


def _span(name: str, said: Duration | str) -> int:
    if isinstance(said, Duration):
        return said.ms
    try:
        return Duration.parse(said).ms
    except UsageError as error:
        raise UsageError(f"mri {name}: {error}") from error
