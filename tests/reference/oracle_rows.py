"""Rows of acts and spans for a pump and its reference, as Hypothesis draws and shrinks them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from telemetry.model import PumpMode
from telemetry.therapy import EVERY_DAY, PatientBolusRule, PeriodicBolus, ScheduleStep, Therapy, TitrationStep
from telemetry.units import Concentration, DailyDose, Dose, Duration, FlowRate, HourlyDose, Volume
from tests.reference.oracle_play import Player, Start

if TYPE_CHECKING:
    from collections import Counter

Row = tuple[Start, list[tuple[tuple[str, dict[str, object]], int]]]
MS_PER_HOUR = 3_600_000
MS_PER_DAY = 24 * MS_PER_HOUR


def seconds(least: int, most: int) -> st.SearchStrategy[Duration]:
    """Whole seconds."""
    return st.integers(least, most).map(lambda count: Duration(count * 1000))


def rates() -> st.SearchStrategy[FlowRate | DailyDose | HourlyDose]:
    """What most pumps accept."""
    return st.one_of(
        st.integers(100_000, 900_000).map(DailyDose),
        st.integers(4_000, 30_000).map(HourlyDose),
        st.integers(100_000, 400_000).map(FlowRate),
    )


def amounts() -> st.SearchStrategy[Volume | Dose]:
    """Boluses."""
    return st.one_of(st.integers(100, 40_000).map(Dose), st.integers(1, 20_000).map(Volume))


RULES = st.builds(PatientBolusRule, amounts(), seconds(1, 3_600), seconds(0, 20_000), st.integers(1, 5))


@st.composite
def therapies(draw: st.DrawFn, *, patient: bool) -> Therapy:
    """Any therapy that a pump may get."""
    mode = draw(st.sampled_from(["simple", "minimum", "flex", "weekday", "periodic", "titration"]))
    rule = draw(st.one_of(RULES, RULES, st.none())) if patient else None
    if mode == "minimum":
        return Therapy.minimum_rate()
    if mode in {"flex", "weekday"}:
        steps: list[ScheduleStep] = []
        for days in [EVERY_DAY] if mode == "flex" else [0x1F, 0x60]:
            minutes = draw(st.lists(st.integers(1, 1_439), max_size=4, unique=True))
            steps += [ScheduleStep(minute, draw(rates()), days) for minute in sorted({0, *minutes})]
        return Therapy(PumpMode(mode), steps=tuple(steps), patient_bolus=rule)
    if mode == "periodic":
        interval = draw(seconds(3_600, 90_000))
        bolus = PeriodicBolus(draw(amounts()), draw(seconds(1, 3_000)), interval, draw(seconds(0, 90_000)))
        return Therapy(PumpMode.PERIODIC_BOLUS, draw(rates()), bolus=bolus, patient_bolus=rule)
    if mode == "titration":
        ramp = draw(st.lists(st.builds(TitrationStep, st.integers(1, 6), rates()), min_size=1, max_size=4))
        return Therapy(PumpMode.TITRATION, ramp=tuple(ramp), patient_bolus=rule)
    return Therapy(PumpMode.SIMPLE_CONTINUOUS, draw(rates()), patient_bolus=rule)


STRENGTHS = st.sampled_from([500_000, 1_000_000, 2_000_000, 1_234_567]).map(Concentration)
VOLUMES = st.one_of(
    st.just(20_000_000),
    st.integers(10, 20).map(lambda ml: ml * 1_000_000),
    st.integers(1, 20_000_000),
    st.integers(1, 2_500_000),
).map(Volume)
SPANS = st.one_of(
    st.integers(0, 5_000),
    st.integers(0, 3 * MS_PER_HOUR),
    st.integers(0, 2 * MS_PER_DAY),
    st.builds(lambda days, ms: days * MS_PER_DAY + ms, st.integers(0, 60), st.integers(0, MS_PER_DAY - 1)),
    st.builds(lambda days, hours: days * MS_PER_DAY + hours * MS_PER_HOUR, st.integers(0, 9), st.integers(0, 23)),
    st.sampled_from([MS_PER_HOUR, 4 * MS_PER_HOUR, MS_PER_DAY]),
)
CATHETERS = st.sampled_from(["patent", "leaking", "disconnected", "tip_displaced", "partial", "kinked", "positional"])


@st.composite
def refills(draw: st.DrawFn, *, patient: bool) -> dict[str, object]:
    """The needle and the books, or the books alone; with a bridge or without."""
    strength = draw(st.none() | STRENGTHS)
    therapy = draw(therapies(patient=patient)) if strength is not None or draw(st.booleans()) else None
    bridge_nl = draw(st.sampled_from([0, 335_800, 100_000])) if therapy is not None else 0
    return {
        "volume": draw(VOLUMES),
        "concentration": strength,
        "therapy": therapy,
        "bridge_nl": bridge_nl,
        "bridge_rate": draw(st.integers(100_000, 800_000)),
        "needle": draw(st.booleans()),
    }


@st.composite
def acts(draw: st.DrawFn, *, patient: bool) -> tuple[str, dict[str, object]]:
    """One thing that somebody does to a pump."""
    name = draw(
        st.sampled_from(
            ["program", "program", "bolus", "bolus", "prime", "stop", "stop", "resume", "refill", "refill", "clock"]
            + ["withdraw", "fill", "catheter", "new_catheter"]
            + (["patient_bolus"] * 3 if patient else [])
        )
    )
    values: dict[str, object] = {}
    if name == "program":
        values = {"therapy": draw(therapies(patient=patient))}
    elif name == "bolus":
        values = {"amount": draw(amounts()), "duration": draw(seconds(1, 40_000))}
    elif name == "prime":
        volume = draw(st.none() | st.integers(1, 300_000).map(Volume))
        values = {"volume": volume, "rate": draw(st.none() | st.integers(100_000, 4_000_000).map(FlowRate))}
    elif name == "refill":
        values = draw(refills(patient=patient))
    elif name == "clock":
        shift = draw(st.sampled_from([0, 3_600, -3_600]) | st.integers(-60, 60).map(lambda hours: 3_600 * hours + 7))
        values = {"shift_s": shift, "zone_minutes": draw(st.sampled_from([0, 60, 345, -300]))}
    elif name == "withdraw":
        values = {"volume": draw(st.none() | VOLUMES)}
    elif name == "fill":
        into = draw(st.sampled_from(["reservoir", "reservoir", "pocket", "side_port"]))
        values = {"volume": draw(VOLUMES), "concentration": draw(STRENGTHS), "into": into}
    elif name == "catheter":
        period = draw(st.integers(MS_PER_HOUR, 3 * MS_PER_DAY))
        values = {
            "mode": draw(CATHETERS),
            "ppm": draw(st.integers(1, 999_999)),
            "period_ms": period,
            "kinked_ms": draw(st.integers(1, period - 1)),
        }
    elif name == "new_catheter":
        values = {"volume": draw(st.none() | st.integers(50_000, 300_000).map(Volume))}
    return name, values


@st.composite
def starts(draw: st.DrawFn) -> Start:
    """A pump of any kind that counts its volume, of any age, exact or not."""
    profile = draw(st.sampled_from(["itb-20", "itb-40", "valve-20"]))
    overrides: dict[str, object] = {}
    if draw(st.booleans()):
        overrides["rate_error_ppm"] = draw(st.integers(-145_000, 145_000))
    if draw(st.booleans()):
        cycle = draw(st.lists(st.integers(-90_000, 90_000), min_size=7, max_size=7))
        overrides |= {"stroke_cycle_ppm": (*cycle, -sum(cycle)), "strokes_per_revolution": 8}
    if profile != "valve-20" and draw(st.integers(0, 3)) == 0:  # valves have no tube that could take a set
        overrides["tube_set_error_ppm"] = draw(st.integers(0, 100_000))
    if draw(st.integers(0, 3)) == 0:
        overrides["clock_drift_ppm"] = draw(st.integers(-500, 500))
    return Start(profile, draw(VOLUMES).nl, draw(st.sampled_from([0, 0, 0, 1_500, 1_900, 2_400, 2_460])), overrides)


@st.composite
def rows(draw: st.DrawFn, longest: int = 8) -> Row:
    """A pump, and acts each followed by a span of time."""
    start = draw(starts())
    patient = start.profile == "valve-20"
    row = draw(st.lists(st.tuples(acts(patient=patient), SPANS), min_size=1, max_size=longest))
    if patient:  # a rule first, or its button does nothing
        rate, rule = draw(st.integers(30_000, 300_000).map(FlowRate)), draw(RULES)
        therapy = Therapy(PumpMode.SIMPLE_CONTINUOUS, rate, patient_bolus=rule)
        row.insert(0, (("program", {"therapy": therapy}), draw(SPANS)))
    return start, row


def play(row: Row, counts: Counter[str] | None = None) -> Player:
    """Play it; raises ``Differs``."""
    start, what = row
    player = Player(start, counts)
    for (name, values), span_ms in what:
        player.act(name, **values)
        player.live(span_ms)
    return player
