"""Mixing at the tip against the table of domain.md 2.7, and that a blur moves drug in time but makes none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.sim.mixing import Bore, MixedTip, early_dose_ng
from telemetry.units import MS_PER_DAY, MS_PER_HOUR

CATHETER_NL = 195_800
"""89 cm of 0.0022 ml/cm."""
TUBING_NL = 140_000
PATH_NL = TUBING_NL + CATHETER_NL
PRIME_NL_PER_DAY = 24_000_000


def transit(nl_per_day: int) -> tuple[int, float]:
    return nl_per_day, CATHETER_NL / nl_per_day * MS_PER_DAY


@pytest.mark.parametrize(
    ("ml_per_day", "hours", "spread", "sigma_cm", "sigma_ml"),
    [
        ("0.1", 47, 1.1, 1.5, 0.0033),
        ("0.3", 15.7, 2.0, 1.2, 0.0026),
        ("1.0", 4.7, 12, 1.6, 0.0035),
        ("24", 0.20, 6460, 7.4, 0.0163),
    ],
)
def test_the_table_of_the_study(ml_per_day: str, hours: float, spread: float, sigma_cm: float, sigma_ml: float) -> None:
    bore = Bore()
    rate, span_ms = transit(round(float(ml_per_day) * 1_000_000))
    assert span_ms / MS_PER_HOUR == pytest.approx(hours, rel=0.03)
    assert bore.spread(rate) == pytest.approx(spread, rel=0.02)
    assert bore.sigma_cm([(rate, span_ms)]) == pytest.approx(sigma_cm, rel=0.04)
    assert bore.sigma_nl([(rate, span_ms)]) / 1e6 == pytest.approx(sigma_ml, rel=0.02)


def test_the_bores_of_the_study() -> None:
    assert 2000 * Bore(0.0022).radius_m == pytest.approx(0.53, abs=0.005)
    assert 2000 * Bore(0.0026).radius_m == pytest.approx(0.58, abs=0.005)


def test_an_exact_prime_lets_13_ug_out_early() -> None:
    sigma_nl = Bore().sigma_nl([transit(PRIME_NL_PER_DAY)])
    assert early_dose_ng(sigma_nl, 2_000_000) / 1000 == pytest.approx(13, abs=0.1)


def slugs_after(moved_nl: float) -> list[tuple[float, float]]:
    """Saline in the catheter, drug behind it, after so much has left the tip."""
    left = CATHETER_NL - moved_nl
    return [(left, 0), (PATH_NL - left, 2_000_000)] if left > 0 else [(PATH_NL, 2_000_000)]


def primed(looks: int) -> tuple[MixedTip, float]:
    """A catheter primed in so many equal looks; the drug that left early, by the trapezium rule."""
    tip = MixedTip(slugs_after(0), catheter_nl=CATHETER_NL)
    _, span_ms = transit(PRIME_NL_PER_DAY)
    given_ng, before = 0.0, tip.ng_per_ml
    for number in range(1, looks + 1):
        part = CATHETER_NL / looks
        now = tip.look(slugs_after(part * number), moved_nl=part, span_ms=round(span_ms / looks))
        given_ng += (before + now) / 2 * part / 1e6
        before = now
    return tip, given_ng


def test_the_tip_of_a_primed_catheter_gives_that_dose() -> None:
    tip, given_ng = primed(700)
    # A little less than the vector: the border is still widening while its first half comes through.
    assert given_ng / 1000 == pytest.approx(13, rel=0.06)
    assert tip.ng_per_ml == pytest.approx(1_000_000, rel=0.01)


def test_what_came_early_is_missing_afterwards() -> None:
    tip, early_ng = primed(400)
    missing_ng, part = 0.0, 200.0
    for _ in range(600):
        missing_ng += (2_000_000 - tip.ng_per_ml) * part / 1e6
        tip.look(slugs_after(CATHETER_NL), moved_nl=part, span_ms=1000)
    assert tip.ng_per_ml == pytest.approx(2_000_000)
    assert missing_ng == pytest.approx(early_ng, rel=0.07)


@given(st.lists(st.integers(1, 60_000), min_size=1, max_size=12))
def test_how_often_one_looks_does_not_widen_a_border(parts: list[int]) -> None:
    total = min(sum(parts), CATHETER_NL - 1)
    rate = 300_000
    span_ms = total * MS_PER_DAY // rate
    once = MixedTip(slugs_after(0), catheter_nl=CATHETER_NL)
    once.look(slugs_after(total), moved_nl=total, span_ms=span_ms)
    often = MixedTip(slugs_after(0), catheter_nl=CATHETER_NL)
    done = 0
    for part in parts:
        moved = min(part, total - done)
        if not moved:
            break
        done += moved
        often.look(slugs_after(done), moved_nl=moved, span_ms=moved * MS_PER_DAY // rate)
    assert often.ng_per_ml == pytest.approx(once.ng_per_ml, rel=1e-3, abs=1e-3)


def test_the_tubing_of_the_pump_widens_nothing() -> None:
    rate = 300_000
    tip = MixedTip([(PATH_NL, 500_000)], catheter_nl=CATHETER_NL)
    tip.look([(PATH_NL - 100_000, 500_000), (100_000, 2_000_000)], moved_nl=100_000, span_ms=8 * MS_PER_HOUR)
    tip.look([(1, 500_000), (PATH_NL - 1, 2_000_000)], moved_nl=PATH_NL - 100_001, span_ms=19 * MS_PER_HOUR)
    sharp_ahead = tip.ng_per_ml
    assert sharp_ahead == pytest.approx(1_250_000, rel=0.01)
    sigma_nl = Bore().sigma_nl([transit(rate)])
    tip.look([(PATH_NL, 2_000_000)], moved_nl=1 + sigma_nl, span_ms=MS_PER_HOUR)
    assert tip.ng_per_ml == pytest.approx(500_000 + 1_500_000 * 0.841, rel=0.02)


def test_one_push_through_the_whole_path_is_seen() -> None:
    tip = MixedTip([(PATH_NL, 0)], catheter_nl=CATHETER_NL)
    assert tip.look([(PATH_NL, 2_000_000)], moved_nl=PATH_NL, span_ms=20 * 60_000) == pytest.approx(1_000_000)
    assert tip.look([(PATH_NL, 2_000_000)], moved_nl=PATH_NL, span_ms=20 * 60_000) == pytest.approx(2_000_000)


def test_standing_still_a_border_widens_by_diffusion_alone() -> None:
    ahead = 3_000.0
    slugs = [(ahead, 0.0), (PATH_NL - ahead, 2_000_000.0)]
    tip = MixedTip(slugs, catheter_nl=CATHETER_NL)
    assert tip.ng_per_ml == 0
    weeks_ms = 14 * MS_PER_DAY
    sigma_nl = Bore().sigma_nl([(0, weeks_ms)])
    expected = 1_000_000 * math.erfc(ahead / sigma_nl / math.sqrt(2))
    assert tip.look(slugs, moved_nl=0, span_ms=weeks_ms) == pytest.approx(expected)
    assert 0 < expected < 1_000_000


def test_another_catheter_starts_afresh() -> None:
    tip, _ = primed(10)
    assert tip.look([(CATHETER_NL, 0), (TUBING_NL, 2_000_000)], moved_nl=0, span_ms=1) == 0


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "x", None])
@pytest.mark.parametrize("name", ["ml_per_cm", "diffusivity_m2_per_s"])
def test_a_bore_that_cannot_be_is_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"bore {name}: .* is no number above 0"):
        Bore(**{name: value})


def test_a_path_without_slugs_is_refused() -> None:
    with pytest.raises(UsageError, match="a path is always full"):
        MixedTip([], catheter_nl=CATHETER_NL)
