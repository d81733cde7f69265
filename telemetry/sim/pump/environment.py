"""What surrounds the pump: the body's temperature and the pressure on it (domain.md 4, F25).

Both change the flow only where the profile says so. Pressure bends a reservoir for good below about 10 m of water.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sim.pump import state as st

if TYPE_CHECKING:
    from telemetry.sim.pump.profile import PumpProfile

BODY_DECIDEGREES = 370
SEA_LEVEL_HPA = 1013
COLDEST_DECIDEGREES, HOTTEST_DECIDEGREES = 100, 450
"""A pump that waits to be implanted, and more fever than anybody survives."""
LOWEST_HPA, HIGHEST_HPA = 100, 12_000
DEEPEST_DM = 1_000
HPA_PER_100_DM = 980
"""Ten metres of water: 1000 kg/m3 times 9.80665 m/s2 times 10 m, rounded down to 98 hPa a metre."""
ALTITUDES: tuple[tuple[int, int], ...] = (
    (0, 1013),
    (500, 955),
    (1000, 899),
    (1500, 846),
    (2000, 795),
    (2500, 747),
    (3000, 701),
    (4000, 616),
    (5000, 540),
    (6000, 472),
    (8000, 356),
    (10_000, 264),
    (12_000, 193),
)
"""Altitude in m to pressure in hPa: the standard atmosphere of ISO 2533 (1013.25 hPa, 15 C, -6.5 C/km to 11 km)."""


def pressure_at_depth_hpa(depth_dm: int) -> int:
    """Pressure under so many decimetres of water; raises ``UsageError`` outside 0 to 100 m."""
    if not 0 <= depth_dm <= DEEPEST_DM:
        raise UsageError(f"depth_dm: {depth_dm} is outside 0 to {DEEPEST_DM} (100 m of water)")
    return SEA_LEVEL_HPA + depth_dm * HPA_PER_100_DM // 100


def pressure_at_altitude_hpa(altitude_m: int) -> int:
    """Pressure so many metres up, between two lines of ``ALTITUDES`` linear; raises ``UsageError`` outside them."""
    for (low_m, low_hpa), (high_m, high_hpa) in pairwise(ALTITUDES):
        if low_m <= altitude_m <= high_m:
            return low_hpa - (low_hpa - high_hpa) * (altitude_m - low_m) // (high_m - low_m)
    raise UsageError(f"altitude_m: {altitude_m} is outside 0 to {ALTITUDES[-1][0]}")


class Environment:
    """Body temperature in tenths of a degree C, ambient pressure in hPa; ``flow_error_ppm`` is what they add."""

    KEYS = ("temperature_decidegrees", "pressure_hpa", "bent")

    def __init__(self, profile: PumpProfile) -> None:
        self._ppm_per_decidegree = profile.temperature_ppm_per_decidegree
        self._ppm_per_hpa = profile.pressure_ppm_per_hpa
        self._bend_hpa = profile.bend_pressure_hpa
        self._bend_ppm = profile.bend_error_ppm
        self.temperature_decidegrees = BODY_DECIDEGREES
        self.pressure_hpa = SEA_LEVEL_HPA
        self.bent = False
        self.flow_error_ppm = 0

    def set_temperature(self, decidegrees: int) -> None:
        """Be at this temperature from now on; raises ``UsageError`` outside 10.0 to 45.0 C."""
        if not COLDEST_DECIDEGREES <= decidegrees <= HOTTEST_DECIDEGREES:
            raise UsageError(
                f"temperature_decidegrees: {decidegrees} is outside {COLDEST_DECIDEGREES} to {HOTTEST_DECIDEGREES} "
                f"(tenths of a degree C; a body has {BODY_DECIDEGREES})"
            )
        self.temperature_decidegrees = decidegrees
        self._sum()

    def set_pressure(self, hpa: int) -> None:
        """Be under this pressure from now on, and bent for good where it is too much; raises ``UsageError``."""
        if not LOWEST_HPA <= hpa <= HIGHEST_HPA:
            raise UsageError(f"pressure_hpa: {hpa} is outside {LOWEST_HPA} to {HIGHEST_HPA} (sea level is 1013)")
        self.pressure_hpa = hpa
        self.bent = self.bent or hpa >= self._bend_hpa
        self._sum()

    def _sum(self) -> None:
        self.flow_error_ppm = (
            (self.temperature_decidegrees - BODY_DECIDEGREES) * self._ppm_per_decidegree
            + (self.pressure_hpa - SEA_LEVEL_HPA) * self._ppm_per_hpa
            + (self._bend_ppm if self.bent else 0)
        )

    def snapshot(self) -> st.State:
        """JSON-able state."""
        return {key: getattr(self, key) for key in self.KEYS}

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, self.KEYS)
        self.bent = st.flag(state, "bent", where)
        self.set_temperature(st.integer(state, "temperature_decidegrees", where))
        self.set_pressure(st.integer(state, "pressure_hpa", where))
