"""Looks at virtual pumps, as the views are given them, and pumps to which anything may have happened."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

import telemetry
from telemetry import Concentration, DailyDose, Duration, FlowRate, Therapy, VirtualPump, Volume
from telemetry.errors import Refused, UsageError
from telemetry.interrogation import Interrogation

POLL_MS = 5_000
UG = 1_000


async def look(pump: VirtualPump, *, read_utc_ms: int | None = None, since: int = 0) -> Interrogation:
    """One reading through the driver, stamped with the pump's own calendar unless told otherwise."""
    async with telemetry.connect(pump=pump, role="observer") as programmer:
        epoch_ms = (await programmer.read_identity()).epoch_utc_s * 1_000
        stamp = epoch_ms + pump.now_ms if read_utc_ms is None else read_utc_ms
        async for sighting in programmer.follow(POLL_MS, since=since, utc_ms=lambda: stamp):
            assert isinstance(sighting, Interrogation), sighting
            return sighting
    raise AssertionError("follow ended by itself")


THERAPIES = st.one_of(
    st.builds(lambda nl: Therapy.simple_continuous(FlowRate(nl)), st.integers(60_000, 900_000)),
    st.builds(lambda ng: Therapy.simple_continuous(DailyDose(ng * UG)), st.integers(120, 900)),
    st.just(Therapy.minimum_rate()),
    st.builds(
        lambda low, high: Therapy.flex({"00:00": FlowRate(low), "08:00": FlowRate(high)}),
        st.integers(60_000, 200_000),
        st.integers(60_000, 200_000),
    ),
    st.builds(
        lambda nl, hours: Therapy.periodic_bolus(
            FlowRate(nl), Volume(9_000), Duration.parse("20 min"), Duration.parse(f"{hours} h")
        ),
        st.integers(60_000, 200_000),
        st.integers(3, 12),
    ),
    st.builds(
        lambda nl: Therapy.titration([(2, FlowRate(nl)), (3, FlowRate(nl + 10_000))]), st.integers(60_000, 200_000)
    ),
)
HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("program"), THERAPIES),
        st.tuples(st.just("hours"), st.integers(1, 200)),
        st.tuples(st.just("fault"), st.sampled_from(["motor_stall", "power_cut"])),
        st.tuples(st.just("refill"), st.sampled_from(["500 ug/ml", "2000 ug/ml"])),
    ),
    max_size=6,
)


def pump_after(happenings: list[Any], seed: int) -> VirtualPump:
    """A pump to which all that has happened, as far as it let it."""
    pump = VirtualPump(seed=seed)
    for what, given in happenings:
        try:
            happen(pump, what, given)
        except (Refused, UsageError):
            continue  # a pump at its end takes no program, a full one no filling
    return pump


def happen(pump: VirtualPump, what: str, given: Any) -> None:  # noqa: ANN401 - one of several kinds
    if what == "program":
        pump.program(given)
    elif what == "hours":
        pump.advance(hours=given)
    elif what == "fault":
        pump.inject(given)
    else:
        pump.refill(
            concentration=Concentration.parse(given),
            therapy=Therapy.simple_continuous(DailyDose.parse("300 ug/day")),
        )
