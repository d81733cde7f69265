"""ITP/1 without link or device: messages to bytes and back, frames out of a stream.

::

    payload = encode(SetRate(...))            # plaintext of one message
    decode(payload)                           # an equal object, or BadPayload
    for item in StreamDecoder().feed(data):   # Frame or Garbage
        ...

Names load on first use, so that importing this package costs nothing and no vendor library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telemetry.protocol.codec import (
        decode,
        decode_record,
        encode,
        encode_record,
        pad,
        unpad,
    )
    from telemetry.protocol.frame import (
        Frame,
        FrameFault,
        Garbage,
        StreamDecoder,
        decode_frame,
        encode_frame,
        encode_stream,
    )
    from telemetry.protocol.messages import (
        Abort,
        Aborted,
        AcknowledgeAlarm,
        AlarmRecord,
        AlarmReport,
        AlarmSettingsImage,
        AlarmSettingsReport,
        Begin,
        Begun,
        BolusImage,
        ClockImage,
        Close,
        Closed,
        Commit,
        ContactEvent,
        Delivery,
        Identity,
        LedgerHead,
        Limits,
        LimitsImage,
        ListedConcentration,
        LogEntry,
        LogPage,
        Message,
        PatientBolus,
        PrimeImage,
        ProgramImage,
        ProgramReport,
        Query,
        ReadAlarms,
        ReadAlarmSettings,
        ReadBack,
        ReadDelivery,
        ReadIdentity,
        ReadLedger,
        ReadLimits,
        ReadLog,
        ReadProgram,
        ReadStatus,
        ReadTelemeter,
        RefillImage,
        Refusal,
        ResumeImage,
        SetRate,
        SilenceAlarms,
        Staged,
        Status,
        Stop,
        Subscribe,
        Subscribed,
        TelemeterReport,
        VerdictReport,
        Verify,
        Write,
        Written,
    )
    from telemetry.protocol.wire import FrameType

__all__ = [
    "Abort",
    "Aborted",
    "AcknowledgeAlarm",
    "AlarmRecord",
    "AlarmReport",
    "AlarmSettingsImage",
    "AlarmSettingsReport",
    "Begin",
    "Begun",
    "BolusImage",
    "ClockImage",
    "Close",
    "Closed",
    "Commit",
    "ContactEvent",
    "Delivery",
    "Frame",
    "FrameFault",
    "FrameType",
    "Garbage",
    "Identity",
    "LedgerHead",
    "Limits",
    "LimitsImage",
    "ListedConcentration",
    "LogEntry",
    "LogPage",
    "Message",
    "PatientBolus",
    "PrimeImage",
    "ProgramImage",
    "ProgramReport",
    "Query",
    "ReadAlarmSettings",
    "ReadAlarms",
    "ReadBack",
    "ReadDelivery",
    "ReadIdentity",
    "ReadLedger",
    "ReadLimits",
    "ReadLog",
    "ReadProgram",
    "ReadStatus",
    "ReadTelemeter",
    "RefillImage",
    "Refusal",
    "ResumeImage",
    "SetRate",
    "SilenceAlarms",
    "Staged",
    "Status",
    "Stop",
    "StreamDecoder",
    "Subscribe",
    "Subscribed",
    "TelemeterReport",
    "VerdictReport",
    "Verify",
    "Write",
    "Written",
    "decode",
    "decode_frame",
    "decode_record",
    "encode",
    "encode_frame",
    "encode_record",
    "encode_stream",
    "pad",
    "unpad",
]

_HOMES = {
    "decode": "codec",
    "decode_record": "codec",
    "encode": "codec",
    "encode_record": "codec",
    "pad": "codec",
    "unpad": "codec",
    "Frame": "frame",
    "FrameFault": "frame",
    "Garbage": "frame",
    "StreamDecoder": "frame",
    "decode_frame": "frame",
    "encode_frame": "frame",
    "encode_stream": "frame",
    "FrameType": "wire",
}
"""Names that are no message or record; those all live in ``messages``."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'messages')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__]
