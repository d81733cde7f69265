"""What is to be committed, of every kind: the order, its image, the therapy it makes, and the words for the journal."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING

from telemetry.model import OperationKind, PumpMode, TherapyState
from telemetry.programmer.records import therapy_state
from telemetry.protocol.codec import encode_record
from telemetry.protocol.messages import ResumeImage
from telemetry.protocol.orders import encode_order, image_of_program
from telemetry.protocol.wire import IMAGE_SCHEMA
from telemetry.units import DailyDose, Dose, Duration, FlowRate, Volume

if TYPE_CHECKING:
    from telemetry.model import PumpLimits
    from telemetry.protocol.messages import ProgramImage
    from telemetry.protocol.messages import Status as StatusMessage
    from telemetry.protocol.orders import Order
    from telemetry.therapy import (
        AlarmSettings,
        BolusOrder,
        ClockSetting,
        PrimeOrder,
        Program,
        ProgramReport,
        RefillOrder,
    )


@dataclass(frozen=True, slots=True)
class Intent:
    """What is to be committed.

    ``order`` is None for a resume, which names a program instead of bringing one. ``short`` says that the image may
    travel inside SET_RATE instead of BEGIN and WRITE. ``fresh_ms`` is how old the staged order may be at COMMIT
    (0: as old as the pump's token allows): a clock reading ages while a person reads.
    """

    kind: OperationKind
    order: Order | None
    image: bytes
    after: TherapyState
    words: str
    short: ProgramImage | None = None
    fresh_ms: int = 0


_CLOCK_FRESH_MS = 1_000
"""The unit in which a clock is set."""


def of_program(program: Program, words: str) -> Intent:
    """A program; a bare simple continuous one fits into SET_RATE."""
    image = image_of_program(program)
    bare = program.mode is PumpMode.SIMPLE_CONTINUOUS and program.patient_bolus is None and program.bridge is None
    return _intent(OperationKind.PROGRAM, program, state_of(program), words, image if bare else None)


def of_refill(order: RefillOrder) -> Intent:
    """A refill with its program, and the bridge inside it, as one prescription."""
    words = f"refill to {Volume(order.volume_nl)}, {order.program.mode.value}"
    if order.program.bridge is not None:
        words += f", bridge {Volume(order.program.bridge.volume_nl)}"
    return _intent(OperationKind.REFILL, order, state_of(order.program), words)


def of_bolus(order: BolusOrder, status: StatusMessage) -> Intent:
    """One bolus now."""
    words = f"bolus {Volume(order.volume_nl)} = {Dose(order.dose_ng)} over {Duration(order.duration_s * 1_000)}"
    return _intent(OperationKind.BOLUS, order, therapy_state(status), words)


def of_prime(order: PrimeOrder, status: StatusMessage) -> Intent:
    """A prime now."""
    words = f"prime {Volume(order.volume_nl)} at {FlowRate(order.rate_nl_per_day)}"
    return _intent(OperationKind.PRIME, order, therapy_state(status), words)


def of_limits(limits: PumpLimits, status: StatusMessage) -> Intent:
    """Therapy limits, all of them."""
    words = f"limits, daily dose at most {DailyDose(limits.daily_dose_hard_max_ng)}"
    return _intent(OperationKind.LIMITS, limits, therapy_state(status), words)


def of_alarm_settings(settings: AlarmSettings, status: StatusMessage) -> Intent:
    """Settings of the alarms."""
    words = f"alarm settings, low reservoir at {Volume(settings.low_reservoir_alarm_nl)}"
    return _intent(OperationKind.ALARM_SETTINGS, settings, therapy_state(status), words)


def of_clock(setting: ClockSetting, status: StatusMessage, *, ages: bool) -> Intent:
    """The wall clock; ``ages`` when the reading was taken from a clock that goes on meanwhile."""
    words = f"clock to {setting.utc_s} s UTC, zone {setting.zone_minutes} min"
    return _intent(OperationKind.CLOCK, setting, therapy_state(status), words, fresh_ms=_CLOCK_FRESH_MS if ages else 0)


def of_resume(report: ProgramReport) -> Intent:
    """The committed program again, exactly as it was seen."""
    image = encode_record(
        "resume_image",
        ResumeImage(
            schema=IMAGE_SCHEMA,
            reserved=0,
            program_sequence=report.program_sequence,
            program_digest=report.program_digest,
        ),
    )
    return Intent(OperationKind.RESUME, None, image, state_of(report.program), "resume")


def state_of(program: Program) -> TherapyState:
    """The side of a before/after comparison that a program is."""
    return TherapyState(program.mode, program.rate_nl_per_day, program.dose_ng_per_day, program.concentration_ng_per_ml)


def _intent(
    kind: OperationKind,
    order: Order,
    after: TherapyState,
    words: str,
    short: ProgramImage | None = None,
    *,
    fresh_ms: int = 0,
) -> Intent:
    return Intent(kind, order, encode_order(order), after, words, short, fresh_ms)


def differing_fields(wanted: object, found: object, path: str = "") -> list[str]:
    """Names of the fields in which two orders differ, parts of parts included; empty when they are the same."""
    if type(wanted) is not type(found):
        return [path or type(wanted).__name__]
    if isinstance(wanted, tuple) and isinstance(found, tuple):
        if len(wanted) != len(found):
            return [path]
        pairs = [(f"{path}[{index}]", one, other) for index, (one, other) in enumerate(zip(wanted, found, strict=True))]
    elif is_dataclass(wanted):
        names = [field.name for field in fields(wanted)]
        pairs = [(f"{path}.{name}".lstrip("."), getattr(wanted, name), getattr(found, name)) for name in names]
    else:
        return [] if wanted == found else [path]
    return [name for where, one, other in pairs for name in differing_fields(one, other, where)]
