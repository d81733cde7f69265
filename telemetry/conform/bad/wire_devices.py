"""More bad devices: framing, telemeter, handshake, session and orders that forget one rule."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zlib import crc32

from telemetry.conform.bad.declaring import Bad
from telemetry.conform.bad.devices import (
    BadFirmware,
    BadStation,
    bad_device,
    by_channel,
    by_firmware,
    by_orders,
)
from telemetry.errors import BadPayload
from telemetry.model import AlarmSignal, LogCode, RefusalReason
from telemetry.protocol import messages as wire
from telemetry.protocol.channel import CloseReason
from telemetry.protocol.pump_channel import PumpChannel
from telemetry.protocol.wire import FRAME_CRC, LAYOUT_FINGERPRINT, FrameType
from telemetry.sim import answers
from telemetry.sim.nearfield import NearField, NearFieldSettings
from telemetry.sim.telemeter import Telemeter
from telemetry.sim.transacting import Transactions

if TYPE_CHECKING:
    from telemetry.conform.device.kit import StationTarget
    from telemetry.protocol.channel import SessionInfo
    from telemetry.protocol.frame import Frame
    from telemetry.sim.pump.ledger import Operation
    from telemetry.transport.base import Receiver, Transport

# A bad device lives where the good one keeps its rules; each class says which rule it has forgotten. What it is handed
# are the part's own records, which have no names outside it.
# ruff: noqa: ANN401


# --- framing ---------------------------------------------------------------------------------------------------------


class _Filter:
    """A receiver that changes what comes."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def data_received(self, data: bytes) -> None:
        self._receiver.data_received(self.changed(data))

    def connection_lost(self, reason: Any) -> None:
        self._receiver.connection_lost(reason)

    def changed(self, data: bytes) -> bytes:
        return data


class _NoFirstZero(_Filter):
    def changed(self, data: bytes) -> bytes:
        return data.lstrip(b"\0") if len(data) > 1 else data


class _WholeWrites(_Filter):
    def changed(self, data: bytes) -> bytes:
        return data if data.startswith(b"\0") and data.endswith(b"\0") else b""


class _NoFlags(_Filter):
    def changed(self, data: bytes) -> bytes:
        if len(data) < 8 or not data[1] or crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
            return data
        content = data[:1] + b"\0" + data[2:-4]
        return content + FRAME_CRC.pack(crc32(content))


def _filtered(seed: int, kind: type[_Filter], *, datagrams: bool = False) -> StationTarget:
    class Filtered(BadStation):
        """A station behind the filter."""

        def accept(self, transport: Transport) -> Receiver:
            return kind(super().accept(transport))

    return bad_device(seed, station=Filtered, datagrams=datagrams)


# --- telemeter -------------------------------------------------------------------------------------------------------


class _AnswersAnything(Telemeter):
    """Answers malformed requests too."""

    def _answer_for_itself(self, host: Any, frame: Frame) -> None:
        before = self._sent
        super()._answer_for_itself(host, frame)
        if self._sent == before:
            self._send(host, FrameType.TELEMETER_RSP, self._report(0))

    _sent = 0

    def _send(self, host: Any, kind: FrameType, message: wire.Message) -> None:
        self._sent += 1
        super()._send(host, kind, message)


class _TellsUnasked(Telemeter):
    """Sends events to everybody."""

    def _answer_for_itself(self, host: Any, frame: Frame) -> None:
        super()._answer_for_itself(host, frame)
        self._send(host, FrameType.TELEMETER_EVENT, wire.ContactEvent(contact=True, coupling_bars=5))


def _under(seed: int, kind: type[Telemeter]) -> StationTarget:
    class Relayed(BadStation):
        """A station with this telemeter."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            air = NearField(NearFieldSettings(), 0, self.pump.radio)
            self.telemeter = kind(self, air, self.clock, serial=self.telemeter.serial)

    return bad_device(seed, station=Relayed)


# --- handshake and session -------------------------------------------------------------------------------------------


class _UsedAgain(PumpChannel):
    """Takes a challenge as often as it comes."""

    def _hello(self, body: bytes, now_ms: int) -> bytes | None:
        if self._offer is not None and self._offer.hello != body:
            self._offer.hello = b""
        return super()._hello(body, now_ms)


class _NeverStale(PumpChannel):
    """Lets a challenge live for ever."""

    def _hello(self, body: bytes, now_ms: int) -> bytes | None:
        if self._offer is not None:
            self._offer.issued_ms = now_ms
        return super()._hello(body, now_ms)


class _NewAnswer(PumpChannel):
    """Makes a new ACCEPT for the identical HELLO."""

    def _hello(self, body: bytes, now_ms: int) -> bytes | None:
        if self._offer is not None:
            self._offer.hello = b""
        return super()._hello(body, now_ms)


class _AnyDialect(PumpChannel):
    """Opens a session for every dialect."""

    def _accept(self, slot: Any, hello: Any, handshake: Any, payload: Any, offer: Any, now_ms: int) -> bytes:
        same = replace(payload, layout_fingerprint=LAYOUT_FINGERPRINT)
        return super()._accept(slot, hello, handshake, same, offer, now_ms)


class _LetsOthersIn(PumpChannel):
    """Ends a session when somebody else wants one."""

    def _hello(self, body: bytes, now_ms: int) -> bytes | None:
        session = self._session
        if session is not None and body[:1] != bytes([session.info.slot]):
            self._close(CloseReason.REPLACED)
        return super()._hello(body, now_ms)


class _EndlessGuesses(PumpChannel):
    """Bears any number of forgeries."""

    def _bad_tag(self, session: Any) -> None:
        del session


class _StaysOpen(PumpChannel):
    """Answers Close and goes on."""

    def _close(self, reason: str, *, keep: bool = False) -> None:
        if reason != CloseReason.CLOSED:
            super()._close(reason, keep=keep)


class _NeverIdle(PumpChannel):
    """Lets an idle session be."""

    def _expiry(self, info: SessionInfo) -> tuple[int, CloseReason]:
        ends_ms, reason = super()._expiry(info)
        return (ends_ms, reason) if reason is not CloseReason.IDLE else (info.opened_at_ms + 600_000, reason)


class _NoLimit(PumpChannel):
    """Lets a session last as long as it is used."""

    def _expiry(self, info: SessionInfo) -> tuple[int, CloseReason]:
        return info.last_activity_ms + 30_000, CloseReason.IDLE


class _OneReason(BadFirmware):
    """Calls everything that it cannot read an unknown message."""

    def _dispatch(self, session: SessionInfo, request: wire.Message | BadPayload) -> wire.Message:
        if isinstance(request, BadPayload):
            return answers.refusal(0, RefusalReason.UNKNOWN_MESSAGE)
        return super()._dispatch(session, request)


class _ReadingLogs(BadFirmware):
    """Writes a log line when it is read."""

    def _dispatch(self, session: SessionInfo, request: wire.Message | BadPayload) -> wire.Message:
        if isinstance(request, wire.ReadAlarms):
            self.device.log_event(LogCode.SESSION_OPENED, slot=session.slot)
        return super()._dispatch(session, request)


class _SilencesLong(BadFirmware):
    """Silences for as long as it may, whatever was asked."""

    def _silence(self, session: SessionInfo, message: wire.SilenceAlarms) -> wire.Message:
        longest_s = self.device.profile.max_silence_ms // 1_000
        return super()._silence(session, replace(message, duration_s=min(message.duration_s, longest_s)))


class _AcknowledgedIsOver(BadFirmware):
    """Leaves acknowledged alarms out of its list."""

    def changed(self, answer: wire.Message) -> wire.Message:
        if isinstance(answer, wire.AlarmReport):
            left = tuple(alarm for alarm in answer.alarms if alarm.signal is not AlarmSignal.ACKNOWLEDGED)
            return replace(answer, alarms=left)
        return answer


# --- orders ----------------------------------------------------------------------------------------------------------


class _AnyDose(Transactions):
    """Works the dose out by itself."""

    def set_rate(self, session: SessionInfo, message: wire.SetRate) -> wire.Message:
        dose = message.rate_nl_per_day * message.concentration_ng_per_ml // 1_000_000
        return super().set_rate(session, replace(message, dose_ng_per_day=dose))


class _AnyFilling(Transactions):
    """Does not look what an order was made for."""

    def set_rate(self, session: SessionInfo, message: wire.SetRate) -> wire.Message:
        now = self.device.status()
        bound = replace(message, drug=now.drug, reservoir_generation=now.reservoir_generation)
        return super().set_rate(session, bound)


class _NothingVoids(Transactions):
    """Keeps a proposal when it is asked to drop it."""

    def abort(self, session: SessionInfo, message: wire.Abort) -> wire.Message:
        held = self._open
        answer = super().abort(session, message)
        self._open = held
        return answer


class _NumbersAreNothing(Transactions):
    """Does not look whether a number was used for something else."""

    def _known(self, operation: Operation) -> wire.Message | None:
        from telemetry.errors import Refused  # noqa: PLC0415 - the one place

        try:
            return super()._known(operation)
        except Refused as refused:
            if refused.reason == RefusalReason.OPERATION_FORGOTTEN:
                return None
            raise


BAD_ON_THE_WIRE: tuple[Bad[StationTarget], ...] = (
    Bad("no first zero", "loses the frame behind noise", "D-02", lambda s: _filtered(s, _NoFirstZero)),
    Bad("whole writes", "takes frames in one piece only", "D-03", lambda s: _filtered(s, _WholeWrites)),
    Bad("no flags", "overlooks flags that it does not know", "D-05", lambda s: _filtered(s, _NoFlags, datagrams=True)),
    Bad("answers anything", "answers malformed telemeter requests", "D-07", lambda s: _under(s, _AnswersAnything)),
    Bad("tells unasked", "sends events to whoever did not subscribe", "D-08", lambda s: _under(s, _TellsUnasked)),
    Bad("used again", "takes a challenge twice", "D-15", by_channel(_UsedAgain)),
    Bad("never stale", "lets a challenge live for ever", "D-16", by_channel(_NeverStale)),
    Bad("new answer", "makes another ACCEPT for the same HELLO", "D-18", by_channel(_NewAnswer)),
    Bad("any dialect", "opens a session for every dialect", "D-20", by_channel(_AnyDialect)),
    Bad("lets others in", "ends a session for another slot", "D-21", by_channel(_LetsOthersIn)),
    Bad("endless guesses", "bears any number of forgeries", "D-33", by_channel(_EndlessGuesses)),
    Bad("stays open", "answers Close and goes on", "D-34", by_channel(_StaysOpen)),
    Bad("never idle", "lets an idle session be", "D-35", by_channel(_NeverIdle)),
    Bad("no limit", "lets a session last for ever", "D-36", by_channel(_NoLimit)),
    Bad("one reason", "gives one reason for every malformed request", "D-37", by_firmware(_OneReason)),
    Bad("reading logs", "writes a log line when it is read", "D-53", by_firmware(_ReadingLogs)),
    Bad("any dose", "works the dose out by itself", "D-62", by_orders(_AnyDose)),
    Bad("any filling", "takes orders for another drug or filling", "D-63", by_orders(_AnyFilling)),
    Bad("silences long", "cuts a silence that is too long", "D-68", by_firmware(_SilencesLong)),
    Bad("nothing voids", "keeps a proposal that was aborted", "D-75", by_orders(_NothingVoids)),
    Bad("old numbers", "takes operation numbers of long ago", "D-83", by_orders(_NumbersAreNothing)),
    Bad("acknowledged is over", "drops acknowledged alarms", "D-88", by_firmware(_AcknowledgedIsOver)),
)
"""Bad devices of this file, with the step that must find each."""
