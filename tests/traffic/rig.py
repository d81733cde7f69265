"""Calls of a driver as values, so that the same ones can be made at a pump and at its capture."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from telemetry.errors import TelemetryError
from telemetry.model import AlarmKind, StopReason
from telemetry.therapy import Therapy
from telemetry.units import DailyDose, Dose, Duration

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from telemetry.programmer.client import Programmer

    Call = tuple[str, int]

_CALLS: dict[str, Callable[[Programmer, int], Coroutine[object, object, object]]] = {
    "status": lambda programmer, _: programmer.read_status(),
    "identity": lambda programmer, _: programmer.read_identity(),
    "alarms": lambda programmer, _: programmer.read_alarms(),
    "log": lambda programmer, n: programmer.read_log(since=n % 4),
    "program": lambda programmer, _: programmer.read_program(),
    "delivery": lambda programmer, _: programmer.read_delivery(),
    "set_rate": lambda programmer, n: programmer.set_rate(
        DailyDose((300 + n) * 1_000), accept=("daily_dose_change",) if n % 2 else ()
    ),
    "schedule": lambda programmer, n: programmer.program(
        Therapy.flex({f"{hour:02d}:00": DailyDose((300 + n + hour) * 1_000) for hour in range(0, 24, 2)})
    ),
    "bolus": lambda programmer, n: programmer.bolus(Dose((n + 1) * 1_000), Duration.parse("5 min")),
    "stop": lambda programmer, _: programmer.stop(StopReason.CLINICAL),
    "resume": lambda programmer, _: programmer.resume(),
    "clock": lambda programmer, n: programmer.set_clock(zone_minutes=n),
    "silence": lambda programmer, n: programmer.silence_alarm((n + 1) * 1_000),
    "acknowledge": lambda programmer, _: programmer.acknowledge_alarm(AlarmKind.LOW_RESERVOIR),
    "release": lambda programmer, _: programmer.release(),
}
_OPERATION = re.compile("[0-9a-f]{32}")

calls = st.lists(st.tuples(st.sampled_from(sorted(_CALLS)), st.integers(0, 60)), min_size=1, max_size=8)
"""Any session of a driver: what it is asked for, one after the other."""


async def make(programmer: Programmer, wanted: Sequence[Call]) -> list[str]:
    """Make the calls; what each gave or raised, without the operation's number, which is drawn."""
    results = []
    for name, number in wanted:
        try:
            result: object = await _CALLS[name](programmer, number)
        except TelemetryError as error:
            result = f"{type(error).__name__}: {error}"
        results.append(_OPERATION.sub("an operation", f"{name}: {result!r}"))
    return results


async def turns(count: int = 8) -> None:
    """Let what is under way in memory arrive."""
    for _ in range(count):
        await asyncio.sleep(0)
