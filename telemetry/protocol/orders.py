"""Orders to images and back: what a transaction stages, as people's records and as the wire's bytes.

Pure translation between ``therapy.py`` and ``messages.py``, used at both ends; what an order may hold is the pump's
to judge. A part that a program may lack is ``None`` in the one and an empty list in the other.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar, cast

from telemetry.errors import UsageError
from telemetry.model import OperationKind, PumpLimits
from telemetry.protocol.messages import (
    AlarmSettingsImage,
    BolusImage,
    ClockImage,
    LimitsImage,
    PrimeImage,
    ProgramImage,
    RefillImage,
)
from telemetry.protocol.records import decode_record, encode_record
from telemetry.protocol.wire import IMAGE_SCHEMA
from telemetry.therapy import AlarmSettings, BolusOrder, ClockSetting, PrimeOrder, Program, RefillOrder

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.protocol.records import RecordName

Order = Program | BolusOrder | PrimeOrder | RefillOrder | PumpLimits | ClockSetting | AlarmSettings
"""Everything that is staged but a resume, which names a program instead of bringing one."""
Image = ProgramImage | BolusImage | PrimeImage | RefillImage | LimitsImage | ClockImage | AlarmSettingsImage
Part = TypeVar("Part")

KINDS: MappingProxyType[type[Order], OperationKind] = MappingProxyType(
    {
        Program: OperationKind.PROGRAM,
        BolusOrder: OperationKind.BOLUS,
        PrimeOrder: OperationKind.PRIME,
        RefillOrder: OperationKind.REFILL,
        PumpLimits: OperationKind.LIMITS,
        ClockSetting: OperationKind.CLOCK,
        AlarmSettings: OperationKind.ALARM_SETTINGS,
    }
)
"""The operation that each type of order belongs to."""
_NAMES: dict[OperationKind, RecordName] = {
    OperationKind.PROGRAM: "program_image",
    OperationKind.BOLUS: "bolus_image",
    OperationKind.PRIME: "prime_image",
    OperationKind.REFILL: "refill_image",
    OperationKind.LIMITS: "limits_image",
    OperationKind.CLOCK: "clock_image",
    OperationKind.ALARM_SETTINGS: "alarm_settings_image",
}


def kind_of(order: Order) -> OperationKind:
    """The operation that this order belongs to; raises ``UsageError`` for what is no order."""
    try:
        return KINDS[type(order)]
    except KeyError:
        known = ", ".join(kind.__name__ for kind in KINDS)
        raise UsageError(f"order: a {type(order).__name__} is none of {known}") from None


def encode_order(order: Order) -> bytes:
    """The one image that an order has; raises ``UsageError`` naming image, field, value and limit."""
    return encode_record(_NAMES[kind_of(order)], _TO_IMAGE[type(order)](order))


def decode_order(kind: OperationKind, data: bytes) -> Order:
    """The order in an image of this kind.

    Raises ``BadPayload`` for bytes that are no such image, ``UsageError`` for a kind that brings no order.
    """
    if kind not in _NAMES:
        raise UsageError(f"kind: {kind} brings no order; those that do are {', '.join(_NAMES)}")
    image = decode_record(_NAMES[kind], data)
    return _FROM_IMAGE[type(image)](image)


def image_of_program(program: Program) -> ProgramImage:
    """A program as its image."""
    return ProgramImage(
        schema=IMAGE_SCHEMA,
        mode=program.mode,
        drug=program.drug,
        concentration_ng_per_ml=program.concentration_ng_per_ml,
        reservoir_generation=program.reservoir_generation,
        rate_nl_per_day=program.rate_nl_per_day,
        dose_ng_per_day=program.dose_ng_per_day,
        steps=program.steps,
        bolus=_none_or_one(program.bolus),
        ramp=program.ramp,
        patient_bolus=_none_or_one(program.patient_bolus),
        bridge=_none_or_one(program.bridge),
    )


def program_of_image(image: ProgramImage | RefillImage) -> Program:
    """The program in an image of its own or in that of a refill."""
    return Program(
        mode=image.mode,
        rate_nl_per_day=image.rate_nl_per_day,
        dose_ng_per_day=image.dose_ng_per_day,
        concentration_ng_per_ml=image.concentration_ng_per_ml,
        drug=image.drug,
        reservoir_generation=image.reservoir_generation,
        steps=image.steps,
        bolus=_the_one(image.bolus),
        ramp=image.ramp,
        patient_bolus=_the_one(image.patient_bolus),
        bridge=_the_one(image.bridge),
    )


def _none_or_one(part: Part | None) -> tuple[Part, ...]:
    return () if part is None else (part,)


def _the_one(parts: tuple[Part, ...]) -> Part | None:
    return parts[0] if parts else None


def _image_of_refill(order: RefillOrder) -> RefillImage:
    program = image_of_program(order.program)
    return RefillImage(
        schema=IMAGE_SCHEMA,
        volume_nl=order.volume_nl,
        withdrawn_nl=order.withdrawn_nl,
        mode=program.mode,
        drug=program.drug,
        concentration_ng_per_ml=program.concentration_ng_per_ml,
        reservoir_generation=program.reservoir_generation,
        rate_nl_per_day=program.rate_nl_per_day,
        dose_ng_per_day=program.dose_ng_per_day,
        steps=program.steps,
        bolus=program.bolus,
        ramp=program.ramp,
        patient_bolus=program.patient_bolus,
        bridge=program.bridge,
    )


def _flat(kind: type, source: type) -> Callable[[object], object]:
    """How an order whose fields are those of its image, the schema apart, becomes that image."""
    names = tuple(cast("dict[str, object]", getattr(source, "__dataclass_fields__")))  # noqa: B009 - of any dataclass
    return lambda order: kind(IMAGE_SCHEMA, *(getattr(order, name) for name in names))


def _unflat(kind: type) -> Callable[[object], object]:
    names = tuple(cast("dict[str, object]", getattr(kind, "__dataclass_fields__")))  # noqa: B009 - as above
    return lambda image: kind(*(getattr(image, name) for name in names))


_TO_IMAGE: dict[type[Order], Callable[..., object]] = {
    Program: image_of_program,
    RefillOrder: _image_of_refill,
    BolusOrder: _flat(BolusImage, BolusOrder),
    PrimeOrder: _flat(PrimeImage, PrimeOrder),
    PumpLimits: _flat(LimitsImage, PumpLimits),
    ClockSetting: _flat(ClockImage, ClockSetting),
    AlarmSettings: _flat(AlarmSettingsImage, AlarmSettings),
}
_FROM_IMAGE: dict[type, Callable[..., Order]] = {
    ProgramImage: program_of_image,
    RefillImage: lambda image: RefillOrder(image.volume_nl, image.withdrawn_nl, program_of_image(image)),
    BolusImage: cast("Callable[..., Order]", _unflat(BolusOrder)),
    PrimeImage: cast("Callable[..., Order]", _unflat(PrimeOrder)),
    LimitsImage: cast("Callable[..., Order]", _unflat(PumpLimits)),
    ClockImage: cast("Callable[..., Order]", _unflat(ClockSetting)),
    AlarmSettingsImage: cast("Callable[..., Order]", _unflat(AlarmSettings)),
}
