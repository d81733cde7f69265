"""The exact integers that the pump counts in.

=================  ===================================  =========================================================
count              unit                                 why
=================  ===================================  =========================================================
commanded volume   nl / 86 400 000                      a rate in nl/day times a span in ms is a whole number
true volume        nl / (86 400 000 * 10^6)             the same, times (10^6 + rate error in ppm)
mass               (true volume unit) * ng/ml           a true volume times a concentration
charge             pC / 86 400 000                      a drain in pC/day times a span in ms
=================  ===================================  =========================================================
"""

from __future__ import annotations

from telemetry.units import MS_PER_DAY, NL_PER_ML

PPM = 1_000_000
COMMANDED_PER_NL = MS_PER_DAY
TRUE_PER_COMMANDED = PPM
TRUE_PER_NL = COMMANDED_PER_NL * TRUE_PER_COMMANDED
MASS_PER_NG = TRUE_PER_NL * NL_PER_ML
CHARGE_PER_PC = MS_PER_DAY


def ceil_div(amount: int, divisor: int) -> int:
    """The smallest whole number not below ``amount`` over ``divisor``."""
    return -(-amount // divisor)


def daily_dose_ng(rate_nl_per_day: int, concentration_ng_per_ml: int) -> int:
    """The drug per day that a rate carries, rounded towards less drug (trust.md 5.8)."""
    return rate_nl_per_day * concentration_ng_per_ml // NL_PER_ML
