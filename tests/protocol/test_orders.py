"""Orders and their images: one to one, each kind its own, nothing lost on the way."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import BadPayload, UsageError
from telemetry.model import Drug, OperationKind, PumpLimits, PumpMode
from telemetry.protocol.codec import decode_record, encode_record
from telemetry.protocol.orders import (
    KINDS,
    Order,
    decode_order,
    encode_order,
    image_of_program,
    kind_of,
    program_of_image,
)
from telemetry.protocol.wire import IMAGE_SCHEMA, IMAGES, MAX_IMAGE, MAX_RAMP_STEPS, MAX_STEPS
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

WORDS = st.integers(0, 0xFFFF_FFFF)
LONGS = st.integers(0, (1 << 64) - 1)
SECONDS = st.integers(1, 0xFFFF_FFFF)
STEPS = st.builds(ProgramStep, st.integers(1, 127), st.integers(0, 1439), WORDS, LONGS)
PROGRAMS = st.builds(
    Program,
    mode=st.sampled_from(PumpMode),
    rate_nl_per_day=WORDS,
    dose_ng_per_day=LONGS,
    concentration_ng_per_ml=WORDS,
    drug=st.sampled_from(Drug),
    reservoir_generation=WORDS,
    steps=st.lists(STEPS, max_size=9).map(tuple),
    bolus=st.none() | st.builds(ProgramBolus, WORDS, LONGS, SECONDS, SECONDS, WORDS),
    ramp=st.lists(st.builds(ProgramRampStep, st.integers(1, 0xFFFF), WORDS, LONGS), max_size=5).map(tuple),
    patient_bolus=st.none() | st.builds(ProgramPatientBolus, WORDS, LONGS, SECONDS, WORDS, st.integers(1, 255)),
    bridge=st.none() | st.builds(ProgramBridge, WORDS, WORDS, LONGS, WORDS),
)
ORDERS: st.SearchStrategy[Order] = st.one_of(
    PROGRAMS,
    st.builds(RefillOrder, WORDS, WORDS, PROGRAMS),
    st.builds(BolusOrder, WORDS, LONGS, SECONDS, WORDS, WORDS),
    st.builds(PrimeOrder, WORDS, WORDS, WORDS, WORDS),
    st.builds(PumpLimits, WORDS, WORDS, WORDS, WORDS, LONGS, LONGS, LONGS, LONGS, WORDS, WORDS, LONGS, LONGS),
    st.builds(ClockSetting, WORDS, st.integers(-1440, 1440)),
    st.builds(AlarmSettings, WORDS, st.booleans(), st.booleans()),
)
SIMPLE = Program(PumpMode.SIMPLE_CONTINUOUS, 150_000, 300_000, 2_000_000, Drug.BACLOFEN, 1)
ONE_OF_EACH: tuple[Order, ...] = (
    SIMPLE,
    RefillOrder(38_000_000, 3_100_000, SIMPLE),
    BolusOrder(25_000, 50_000, 300, 2_000_000, 1),
    PrimeOrder(195_800, 24_000_000, 2_000_000, 1),
    PumpLimits(*range(1, 13)),
    ClockSetting(1_795_305_600, -300),
    AlarmSettings(2_000_000, low_reservoir_enabled=True, elective_replacement_enabled=False),
)


@pytest.mark.inv(40)
@given(ORDERS)
def test_inv_40_an_order_has_one_image_and_an_image_one_order(order: Order) -> None:
    image = encode_order(order)
    assert decode_order(kind_of(order), image) == order
    assert encode_order(decode_order(kind_of(order), image)) == image
    assert len(image) <= MAX_IMAGE


@pytest.mark.inv(40)
@given(PROGRAMS, PROGRAMS)
def test_inv_40_two_programs_have_two_images(one: Program, other: Program) -> None:
    assert (encode_order(one) == encode_order(other)) == (one == other)


@pytest.mark.parametrize("order", ONE_OF_EACH, ids=lambda order: type(order).__name__)
def test_every_field_of_an_order_is_in_its_image(order: Order) -> None:
    """A field that its image left out would come back as another's value, or not at all."""
    kind = kind_of(order)
    image = encode_order(order)
    for field in fields(order):
        if field.name in {"bolus", "patient_bolus", "bridge", "steps", "ramp", "program"}:
            continue  # the laws above draw them
        value = getattr(order, field.name)
        other = {
            bool: not value,
            PumpMode: PumpMode.MINIMUM_RATE,
            Drug: Drug.MORPHINE,
        }.get(type(value), value + 1 if isinstance(value, int) else value)
        changed = cast("Order", replace(cast("Any", order), **{field.name: other}))
        assert encode_order(changed) != image, field.name
        assert decode_order(kind, encode_order(changed)) == changed, field.name


def test_the_program_of_a_refill_lies_in_it_as_on_its_own() -> None:
    bridged = replace(SIMPLE, bridge=ProgramBridge(335_800, 600_000, 300_000, 500_000))
    alone = encode_order(bridged)
    refill = encode_order(RefillOrder(38_000_000, 3_100_000, bridged))
    assert refill == alone[:1] + (38_000_000).to_bytes(4, "little") + (3_100_000).to_bytes(4, "little") + alone[1:]


def test_the_longest_orders_fit_a_transaction() -> None:
    longest = replace(
        SIMPLE,
        steps=tuple(ProgramStep(1 << day, 60 * hour, 1, 1) for day in range(7) for hour in range(24)),
        bolus=ProgramBolus(1, 1, 1, 1, 1),
        ramp=(ProgramRampStep(1, 1, 1),) * MAX_RAMP_STEPS,
        patient_bolus=ProgramPatientBolus(1, 1, 1, 1, 1),
        bridge=ProgramBridge(1, 1, 1, 1),
    )
    assert len(longest.steps) == MAX_STEPS
    image = encode_order(RefillOrder(1, 1, longest))
    assert len(image) == 3518 <= MAX_IMAGE
    assert decode_order(OperationKind.REFILL, image) == RefillOrder(1, 1, longest)
    with pytest.raises(UsageError, match=r"program_image\.steps: 169 records, at most 168 fit"):
        encode_order(replace(longest, steps=(*longest.steps, longest.steps[0])))


def test_every_kind_but_those_without_an_order_has_one() -> None:
    without = {OperationKind.RESUME, OperationKind.STOP, OperationKind.PATIENT_BOLUS}
    assert set(KINDS.values()) == set(OperationKind) - without
    assert {f"{kind}_image" for kind in KINDS.values()} == set(IMAGES) - {"resume_image"}
    for kind in without:
        with pytest.raises(UsageError, match=f"kind: {kind} brings no order; those that do are program, bolus"):
            decode_order(kind, b"")
    with pytest.raises(UsageError, match="order: a str is none of Program, BolusOrder"):
        encode_order("stop")  # type: ignore[arg-type]


@pytest.mark.parametrize("order", ONE_OF_EACH, ids=lambda order: type(order).__name__)
def test_an_image_of_one_kind_is_not_taken_for_another_of_its_size(order: Order) -> None:
    image = encode_order(order)
    for kind in set(KINDS.values()) - {kind_of(order)}:
        with pytest.raises(BadPayload):
            decode_order(kind, image)


@pytest.mark.inv(42)
@pytest.mark.parametrize(
    ("order", "message"),
    [
        (ClockSetting(1, 1_441), r"clock_image\.zone_minutes: 1441 is outside -1440 to 1440 min east of UTC"),
        (ClockSetting(1 << 32, 0), r"clock_image\.utc_s: 4294967296 is outside 0 to 4294967295"),
        (BolusOrder(1, 1, 0, 1, 1), r"bolus_image\.duration_s: 0 is outside 1 to"),
        (BolusOrder(1 << 32, 1, 1, 1, 1), r"bolus_image\.volume_nl: 4294967296 is outside 0 to 4294967295 nl"),
        (
            replace(SIMPLE, steps=(ProgramStep(127, 1_440, 1, 1),)),
            r"program_image\.steps\[0\]\.start_minute: 1440 is outside 0 to 1439",
        ),
        (
            replace(SIMPLE, bridge=ProgramBridge(1, 1 << 32, 1, 1)),
            r"program_image\.bridge\[0\]\.rate_nl_per_day: 4294967296 is outside",
        ),
    ],
)
def test_inv_42_what_does_not_fit_is_named_and_refused(order: Order, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        encode_order(order)


def test_zones_west_of_greenwich_lie_below_the_bias() -> None:
    assert encode_order(ClockSetting(0, -300))[-2:] == (1_440 - 300).to_bytes(2, "little")
    assert encode_order(ClockSetting(0, 0))[-2:] == (1_440).to_bytes(2, "little")


def test_a_part_of_one_is_a_list_of_one() -> None:
    image = image_of_program(replace(SIMPLE, bridge=ProgramBridge(1, 2, 3, 4)))
    assert (image.schema, image.bridge, image.bolus) == (IMAGE_SCHEMA, (ProgramBridge(1, 2, 3, 4),), ())
    assert program_of_image(decode_record("program_image", encode_record("program_image", image))).bridge is not None
