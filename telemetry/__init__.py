"""Telemetry programmer simulator and driver layer for implantable intrathecal drug pumps.

SIMULATED devices only; nothing here is for clinical use. The names below load on first use, so that
``import telemetry`` costs next to nothing and pulls in no vendor library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telemetry.clock import Clock, ManualClock, ScaledClock, SystemClock
    from telemetry.errors import (
        BadFrame,
        BadPayload,
        LinkClosedError,
        LinkError,
        LinkOpenError,
        LinkTimeout,
        NotAccepted,
        OutcomeUnknown,
        OutOfTurn,
        PeerError,
        Refused,
        SecurityError,
        TelemetryError,
        UnknownScheme,
        UsageError,
        WrongDialect,
    )
    from telemetry.model import (
        Alarm,
        AlarmKind,
        Change,
        DrugLedger,
        GroundTruth,
        Identity,
        LogRecord,
        PumpEvent,
        PumpLimits,
        PumpMode,
        PumpStatus,
        Role,
        TelemeterInfo,
        Warn,
    )
    from telemetry.programmer import BlockingProgrammer, Outcome, Programmer, Proposal, connect, connect_sync
    from telemetry.sim.virtual_pump import VirtualPump
    from telemetry.therapy import (
        AlarmSettings,
        PatientBolusRule,
        PeriodicBolus,
        Program,
        ScheduleStep,
        Therapy,
        TitrationStep,
    )
    from telemetry.units import (
        Charge,
        Concentration,
        DailyDose,
        Dose,
        Duration,
        FlowRate,
        HourlyDose,
        Volume,
    )

__version__ = "0.1.0"

_HOMES = {
    "telemetry.clock": ("Clock", "ManualClock", "ScaledClock", "SystemClock"),
    "telemetry.errors": (
        "BadFrame",
        "BadPayload",
        "LinkClosedError",
        "LinkError",
        "LinkOpenError",
        "LinkTimeout",
        "NotAccepted",
        "OutOfTurn",
        "OutcomeUnknown",
        "PeerError",
        "Refused",
        "SecurityError",
        "TelemetryError",
        "UnknownScheme",
        "UsageError",
        "WrongDialect",
    ),
    "telemetry.model": (
        "Alarm",
        "AlarmKind",
        "Change",
        "DrugLedger",
        "GroundTruth",
        "Identity",
        "LogRecord",
        "PumpEvent",
        "PumpLimits",
        "PumpMode",
        "PumpStatus",
        "Role",
        "TelemeterInfo",
        "Warn",
    ),
    "telemetry.programmer": (
        "BlockingProgrammer",
        "Outcome",
        "Programmer",
        "Proposal",
        "connect",
        "connect_sync",
    ),
    "telemetry.sim.virtual_pump": ("VirtualPump",),
    "telemetry.therapy": (
        "AlarmSettings",
        "PatientBolusRule",
        "PeriodicBolus",
        "Program",
        "ScheduleStep",
        "Therapy",
        "TitrationStep",
    ),
    "telemetry.units": (
        "Charge",
        "Concentration",
        "DailyDose",
        "Dose",
        "Duration",
        "FlowRate",
        "HourlyDose",
        "Volume",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Alarm",
    "AlarmKind",
    "AlarmSettings",
    "BadFrame",
    "BadPayload",
    "BlockingProgrammer",
    "Change",
    "Charge",
    "Clock",
    "Concentration",
    "DailyDose",
    "Dose",
    "DrugLedger",
    "Duration",
    "FlowRate",
    "GroundTruth",
    "HourlyDose",
    "Identity",
    "LinkClosedError",
    "LinkError",
    "LinkOpenError",
    "LinkTimeout",
    "LogRecord",
    "ManualClock",
    "NotAccepted",
    "OutOfTurn",
    "Outcome",
    "OutcomeUnknown",
    "PatientBolusRule",
    "PeerError",
    "PeriodicBolus",
    "Program",
    "Programmer",
    "Proposal",
    "PumpEvent",
    "PumpLimits",
    "PumpMode",
    "PumpStatus",
    "Refused",
    "Role",
    "ScaledClock",
    "ScheduleStep",
    "SecurityError",
    "SystemClock",
    "TelemeterInfo",
    "TelemetryError",
    "Therapy",
    "TitrationStep",
    "UnknownScheme",
    "UsageError",
    "VirtualPump",
    "Volume",
    "Warn",
    "WrongDialect",
    "__version__",
    "connect",
    "connect_sync",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
