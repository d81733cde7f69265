"""Whatever an authentic programmer stages, the pump answers, and nothing changes before a commit."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.model import Activity, Drug, OperationKind, PumpLimits, PumpMode
from telemetry.protocol import messages as wire
from telemetry.protocol.orders import Order, encode_order, kind_of
from telemetry.protocol.roles import STAGED
from telemetry.protocol.wire import MAX_WRITE
from telemetry.therapy import (
    AlarmSettings,
    BolusOrder,
    ClockSetting,
    PrimeOrder,
    Program,
    ProgramBolus,
    ProgramBridge,
    ProgramPatientBolus,
    ProgramRampStep,
    ProgramStep,
    RefillOrder,
)
from telemetry.units import NL_PER_ML
from tests.support.orders import everything, orders, simple, visit
from tests.support.talk import Rig

ORDINARY = st.integers(0, 2_000_000) | st.sampled_from([0, 1, 0xFFFF_FFFF])
DOSES = st.integers(0, 4_000_000) | st.sampled_from([0, 1, (1 << 64) - 1])
SECONDS = st.integers(1, 200_000) | st.sampled_from([1, 0xFFFF_FFFF])
BOLUSES = st.builds(ProgramBolus, ORDINARY, DOSES, SECONDS, SECONDS, SECONDS)
DAY_STEPS = st.builds(
    ProgramStep, st.sampled_from([0x7F, 0x1F, 0x60, 1]), st.sampled_from([0, 0, 720]), ORDINARY, DOSES
)
RAMPS = st.builds(ProgramRampStep, st.sampled_from([1, 7, 0xFFFF]), ORDINARY, DOSES)
RULES = st.builds(ProgramPatientBolus, ORDINARY, DOSES, SECONDS, SECONDS, st.integers(1, 255))
BRIDGES = st.builds(ProgramBridge, ORDINARY, ORDINARY, DOSES, st.sampled_from([0, 1, 500_000, 2_000_000, 10_000_000]))
ANY_PROGRAM = st.builds(
    Program,
    mode=st.sampled_from(PumpMode),
    rate_nl_per_day=ORDINARY,
    dose_ng_per_day=DOSES,
    concentration_ng_per_ml=st.sampled_from([0, 1, 500_000, 2_000_000, 0xFFFF_FFFF]),
    drug=st.sampled_from(Drug),
    reservoir_generation=st.integers(0, 3),
    steps=st.lists(DAY_STEPS, max_size=3).map(tuple),
    bolus=st.none() | BOLUSES,
    ramp=st.lists(RAMPS, max_size=3).map(tuple),
    patient_bolus=st.none() | RULES,
    bridge=st.none() | BRIDGES,
)
ANY_ORDER: st.SearchStrategy[Order] = st.one_of(
    ANY_PROGRAM,
    st.builds(RefillOrder, ORDINARY, ORDINARY, ANY_PROGRAM),
    st.builds(BolusOrder, ORDINARY, DOSES, SECONDS, ORDINARY, ORDINARY),
    st.builds(PrimeOrder, ORDINARY, ORDINARY, ORDINARY, ORDINARY),
    st.builds(PumpLimits, *[ORDINARY] * 4, *[DOSES] * 4, ORDINARY, ORDINARY, DOSES, DOSES),
    st.builds(ClockSetting, st.sampled_from([0, 1, 1_767_225_600, 0xFFFF_FFFF]), st.integers(-1_440, 1_440)),
    st.builds(AlarmSettings, ORDINARY, st.booleans(), st.booleans()),
)


@pytest.mark.inv(59)
@given(st.sampled_from(sorted(STAGED)), st.binary(min_size=1, max_size=60), st.data())
def test_inv_59_no_image_whatever_gets_past_the_parser(kind: OperationKind, noise: bytes, data: st.DataObject) -> None:
    rig = RIGS.setdefault("hostile", Rig())
    talker = rig.open()
    before = everything(rig)
    image = noise
    if data.draw(st.booleans()) and kind is not OperationKind.RESUME:
        good = bytearray(encode_order(orders(rig)[kind]))
        good[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        image = bytes(good)
    assert isinstance(talker.ask(talker.begin(image, kind)), wire.Begun)
    talker.ask(wire.Write(offset=0, data=image[:MAX_WRITE]))
    answer = talker.ask(wire.Verify(part=0))
    assert isinstance(answer, wire.Refusal | wire.Staged)
    if isinstance(answer, wire.Staged):  # a flipped bit may make another good order; it is shown as what it is
        assert hashlib.sha256(image).digest() == answer.image_digest
    assert everything(rig) == before


RIGS: dict[str, Rig] = {}


@pytest.mark.inv(59)
@pytest.mark.parametrize("profile", ["itb-40", "valve-20", "sensor-40"])
@pytest.mark.parametrize("state", ["running", "stopped", "bolus", "bridge"])
@given(order=ANY_ORDER, bound=st.booleans())
def test_inv_59_any_order_is_staged_or_refused_and_nothing_else_happens(
    profile: str, state: str, order: Order, bound: bool
) -> None:
    rig = RIGS.setdefault(f"{profile} {state}", in_state(profile, state))
    talker = visit(rig)
    if bound:
        order = rebound(rig, order)
    before = everything(rig)
    image = encode_order(order)
    assert isinstance(talker.ask(talker.begin(image, kind_of(order))), wire.Begun)
    for offset in range(0, len(image), MAX_WRITE):
        talker.ask(wire.Write(offset=offset, data=image[offset : offset + MAX_WRITE]))
    answer = talker.ask(wire.Verify(part=0))
    assert isinstance(answer, wire.Refusal | wire.ReadBack | wire.Staged)
    assert everything(rig) == before


def in_state(profile: str, state: str) -> Rig:
    rig = Rig(profile=profile)
    if state == "stopped":
        rig.pump.stop()
    elif state == "bolus":
        rig.open().apply(orders(rig)[OperationKind.BOLUS])
    elif state == "bridge":
        status = rig.device.status()
        strength, rate = status.concentration_ng_per_ml, status.rate_nl_per_day
        bridge = ProgramBridge(300_000, rate, rate * strength // NL_PER_ML, strength)
        program = simple(
            rig,
            rate * 4 // 5,
            concentration_ng_per_ml=strength * 5 // 4,
            dose_ng_per_day=rate * strength // NL_PER_ML,
            reservoir_generation=status.reservoir_generation + 1,
            bridge=bridge,
        )
        rig.open().apply(RefillOrder(status.reservoir_nl, status.reservoir_nl, program))
        assert rig.device.status().activity is Activity.BRIDGE
    return rig


def rebound(rig: Rig, order: Order) -> Order:
    """The order bound to what is in the pump, so that it gets past the first check."""
    status = rig.device.status()
    here: dict[str, Any] = {
        "concentration_ng_per_ml": status.concentration_ng_per_ml,
        "reservoir_generation": status.reservoir_generation,
    }
    if isinstance(order, Program):
        return replace(order, drug=status.drug, **here)
    if isinstance(order, RefillOrder):
        here["reservoir_generation"] += 1
        return replace(order, program=replace(order.program, drug=status.drug, **here))
    if isinstance(order, BolusOrder | PrimeOrder):
        return replace(order, **here)
    return order
