"""The virtual balance's physics: what lies on it, what it shows of that, and what befalls it."""

from __future__ import annotations

import statistics
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.flow.lines import Outcome
from telemetry.flow.scale import (
    SETTLE_MS,
    Mishap,
    Scale,
    ScaleSettings,
    conventional_ng,
    drop_volume_nl,
    parse_mishap,
)
from telemetry.units import MS_PER_DAY, MS_PER_HOUR

MG = 1_000_000


def test_water_in_air_shows_a_thousandth_less() -> None:
    # (1 - 0.0012/0.9982) / (1 - 0.0012/8) = 0.998948: a gram of water shows as 998.95 mg.
    share = (1 - Fraction(12, 9_982)) / (1 - Fraction(12, 80_000))
    assert conventional_ng(1_000_000_000, 998_200, 1_200) == int(share * 1_000_000_000) == 998_947_678
    assert conventional_ng(1_000_000_000, 998_200, 0) == 1_000_000_000


def test_a_millilitre_is_its_density() -> None:
    scale = Scale(ScaleSettings(air_ug_per_ml=0))
    assert scale.load_ng(0, 1_000_000) - scale.load_ng(0, 0) == 998_200_000


def test_drops_fall_whole() -> None:
    scale = Scale(ScaleSettings(drop_nl=20_000, air_ug_per_ml=0))
    loads = [scale.load_ng(0, nl) - scale.load_ng(0, 0) for nl in (19_999, 20_000, 39_999, 40_000)]
    assert loads == [0, 19_964_000, 19_964_000, 39_928_000]
    assert scale.show(MS_PER_HOUR, 19_999).outcome is Outcome.STABLE
    assert scale.show(MS_PER_HOUR + 1, 20_000).outcome is Outcome.DYNAMIC
    assert scale.show(MS_PER_HOUR + 1 + SETTLE_MS, 20_001).outcome is Outcome.STABLE


def test_a_drop_by_tates_law() -> None:
    # 0.65 x pi x 1.4 mm x 72 mN/m / 9.80665 m/s2 = 20.99 mg; / 0.9982 = 21.03 µl.
    assert drop_volume_nl(1_400) == 21_027
    assert drop_volume_nl(700) == pytest.approx(drop_volume_nl(1_400) / 2, abs=1)
    with pytest.raises(UsageError, match=r"tip_um: 99 is outside"):
        drop_volume_nl(99)


def test_oil_keeps_the_water() -> None:
    free = ScaleSettings(evaporation_ng_per_h=MG, air_ug_per_ml=0)
    assert Scale(free).load_ng(10 * MS_PER_HOUR, 0) - Scale(free).load_ng(0, 0) == -10 * MG
    oiled = ScaleSettings(evaporation_ng_per_h=MG, air_ug_per_ml=0, oil=True)
    assert Scale(oiled).load_ng(10 * MS_PER_HOUR, 0) - Scale(oiled).load_ng(0, 0) == -200_000


def test_a_dry_beaker_loses_no_more() -> None:
    dry = ScaleSettings(evaporation_ng_per_h=MG, water_ng=5 * MG)
    assert Scale(dry).load_ng(100 * MS_PER_HOUR, 0) == dry.beaker_ng


def test_the_room_warms_and_cools_within_a_day() -> None:
    scale = Scale(ScaleSettings(temperature_mk=1_000, step_ng=1_000, water_ng=0, air_ug_per_ml=0))
    shown = [scale.show(hour * MS_PER_HOUR, 0).mass_ng - 30_000_000_000 for hour in (0, 6, 12, 18, 24)]
    # 30 g x 1.5 ppm/K x 1 K = 45 µg.
    assert shown == [0, 45_000, 0, -45_000, 0]


def test_noise_has_the_width_that_was_asked_for_and_the_seeds_own() -> None:
    scale = Scale(ScaleSettings(noise_ng=500_000, step_ng=1_000))
    shown = [scale.show(at * 100 + MS_PER_HOUR, 0).mass_ng for at in range(4_000)]
    assert statistics.stdev(shown) == pytest.approx(500_000, rel=0.05)
    assert statistics.fmean(shown) == pytest.approx(scale.load_ng(0, 0), abs=40_000)
    again = Scale(ScaleSettings(noise_ng=500_000, step_ng=1_000))
    assert [again.show(at * 100 + MS_PER_HOUR, 0).mass_ng for at in range(100)] == shown[:100]
    other = Scale(ScaleSettings(noise_ng=500_000, step_ng=1_000, seed=1))
    assert [other.show(at * 100 + MS_PER_HOUR, 0).mass_ng for at in range(100)] != shown[:100]


@given(st.lists(st.integers(0, 5 * MS_PER_DAY), max_size=20), st.integers(0, 5 * MS_PER_DAY))
def test_what_it_shows_does_not_depend_on_how_often_it_was_asked(looks: list[int], at_ms: int) -> None:
    settings = ScaleSettings(noise_ng=300_000, slams_per_day=12, drift_ng_per_h=1_000, temperature_mk=500, seed=4)
    asked, fresh = Scale(settings), Scale(settings)
    for look in sorted(one for one in looks if one < at_ms):
        asked.show(look, look // 1_000)
    assert asked.show(at_ms, at_ms // 1_000) == fresh.show(at_ms, at_ms // 1_000)


def test_doors_slam_as_often_as_asked() -> None:
    scale = Scale(ScaleSettings(slams_per_day=6, seed=2))
    shaken = [scale.show(at, 0).outcome is Outcome.DYNAMIC for at in range(0, 5 * MS_PER_DAY, 5_000)]
    assert 15 <= sum(shaken) <= 50  # 30 slams of 5 s are expected


def test_tare_makes_nothing_of_what_lies_there() -> None:
    scale = Scale(ScaleSettings(air_ug_per_ml=0))
    scale.tare(0, 0)
    assert scale.show(0, 0) == scale.show(1, 0)
    assert scale.show(0, 0).outcome is Outcome.DYNAMIC
    shown = scale.show(SETTLE_MS, 10_000)
    assert (shown.outcome, shown.mass_ng) == (Outcome.STABLE, 10_000_000)


@pytest.mark.parametrize(
    ("kind", "outcome"), [("overload", Outcome.OVERLOAD), ("load", Outcome.STABLE)], ids=["overload", "load"]
)
def test_what_is_laid_on_the_pan(kind: str, outcome: Outcome) -> None:
    scale = Scale(ScaleSettings(), mishaps=(Mishap(kind, MS_PER_HOUR, 1_000),))
    before = scale.show(MS_PER_HOUR - 1, 0).mass_ng
    found = scale.show(MS_PER_HOUR, 0)
    assert found.outcome is outcome
    if kind == "load":
        assert found.mass_ng - before == 5_000_000_000
    assert scale.show(MS_PER_HOUR + 1_000, 0).mass_ng == before


def test_too_much_is_an_overload_and_too_little_an_underload() -> None:
    assert Scale(ScaleSettings()).show(0, 190_000_000).outcome is Outcome.OVERLOAD
    drifting = Scale(ScaleSettings(beaker_ng=0, water_ng=0, drift_ng_per_h=-1_000_000))
    assert drifting.show(MS_PER_HOUR, 0).outcome is Outcome.UNDERLOAD


def test_a_mishap_is_written_as_people_say_it() -> None:
    assert parse_mishap("tare@6h") == Mishap("tare", 6 * MS_PER_HOUR)
    assert parse_mishap("silent@20h+90min") == Mishap("silent", 20 * MS_PER_HOUR, 90 * 60_000)
    for wrong in ("tare", "tare@6h+1h", "silent@6h", "flood@6h", "silent@x+1h", "@6h"):
        with pytest.raises(UsageError):
            parse_mishap(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"step_ng": 250_000},
        {"noise_ng": -1},
        {"slams_per_day": 25},
        {"density_ug_per_ml": 3_000_000},
        {"air_ug_per_ml": 3_000},
        {"beaker_ng": 300_000_000_000},
    ],
    ids=str,
)
def test_a_balance_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    told = {"step_ng": "--resolution: a last digit of 250000 ng"}
    field = next(iter(wrong))
    with pytest.raises(UsageError, match=told.get(field, field)):
        ScaleSettings(**wrong)  # type: ignore[arg-type]
