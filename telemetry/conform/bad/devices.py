"""Bad devices: our virtual pump with one fault each in its firmware, its channel or its telemeter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zlib import crc32

from telemetry.conform.bad.declaring import Bad
from telemetry.conform.device.kit import StationTarget
from telemetry.errors import BadPayload
from telemetry.model import AlarmPriority, AlarmSignal, LogCode, RefusalReason, Role, Verdict, Warn
from telemetry.protocol import messages as wire
from telemetry.protocol.codec import decode_record, encode, pad
from telemetry.protocol.credentials import test_pump_secrets, test_slots
from telemetry.protocol.frame import Frame, encode_frame
from telemetry.protocol.orders import decode_order, encode_order
from telemetry.protocol.pump_channel import PumpChannel
from telemetry.protocol.session import read_message
from telemetry.protocol.wire import COUNTER, FRAME_CRC, REASON_STATUS, FrameType, Plane
from telemetry.sim.connector import entropy_of
from telemetry.sim.firmware import PumpFirmware
from telemetry.sim.nearfield import NearField, NearFieldSettings
from telemetry.sim.station import Station
from telemetry.sim.telemeter import Telemeter
from telemetry.sim.transacting import Transactions
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.therapy import Program, Therapy
from telemetry.units import FlowRate

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.protocol.channel import SessionInfo
    from telemetry.transport.base import Receiver, Transport

# A bad device lives where the good one keeps its rules, so that its fault is a line and not another device.
# ruff: noqa: SLF001 - each overrides or reaches what is private to the part that it spoils

_LATE_MS = 400
"""Beyond the 300 ms of protocol.md 13, and soon enough for a programmer that repeats to get on."""


class BadFirmware(PumpFirmware):
    """Firmware whose transactions and answers a bad device may change."""

    transactions: type[Transactions] = Transactions
    channel_kind: type[PumpChannel] = PumpChannel

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - those of PumpFirmware
        super().__init__(*args, **kwargs)
        self._transactions = self.transactions(self.device)
        self._handlers = self._table()
        self.channel.__class__ = self.channel_kind

    def _dispatch(self, session: SessionInfo, request: wire.Message | BadPayload) -> wire.Message:
        return self.changed(super()._dispatch(session, request))

    def changed(self, answer: wire.Message) -> wire.Message:
        """The answer as this device gives it."""
        return answer


class BadStation(Station):
    """A station with firmware of another make."""

    kind: type[PumpFirmware] = BadFirmware

    def _new_firmware(self) -> PumpFirmware:
        device = self.pump.device
        return self.kind(
            device,
            secrets=test_pump_secrets(device.identity().pump_id),
            slots=test_slots(),
            entropy=self._entropy,
            tap=self._tap,
        )


def bad_device(
    seed: int, firmware: type[PumpFirmware] = BadFirmware, station: type[BadStation] = BadStation, **target: bool
) -> StationTarget:
    """A fresh pump with this firmware under a station of this make."""
    kind = type(station.__name__, (station,), {"kind": firmware})
    return StationTarget(kind(VirtualPump("itb-40", seed=seed), entropy=entropy_of(seed), seed=seed), **target)


# --- transactions ----------------------------------------------------------------------------------------------------


class _Twice(Transactions):
    """Applies a COMMIT again when it comes again as a new request."""

    def commit(self, session: SessionInfo, message: wire.Commit) -> wire.Message:
        """Commit, and do it once more for what is known already."""
        known = self._open is None
        answer = super().commit(session, message)
        if known and isinstance(answer, wire.VerdictReport) and answer.verdict is Verdict.APPLIED:
            program = self.device.program_report().program
            self.device.program(Therapy.simple_continuous(FlowRate(program.rate_nl_per_day)))
        return answer


class _AnyToken(Transactions):
    """Takes every token."""

    def commit(self, session: SessionInfo, message: wire.Commit) -> wire.Message:
        """Commit whatever is open."""
        if self._open is not None and self._open.proposal is not None:
            ready = self._open.proposal
            message = replace(message, token=ready.token, image_digest=ready.digest)
        return super().commit(session, message)


class _AcceptsForYou(Transactions):
    """Takes every warning for accepted."""

    def commit(self, session: SessionInfo, message: wire.Commit) -> wire.Message:
        """Commit with all warnings."""
        return super().commit(session, replace(message, accepted_warnings=tuple(Warn)))


class _NoFence(Transactions):
    """Reports an open proposal as never and keeps it open."""

    def query(self, session: SessionInfo, message: wire.Query) -> wire.Message:
        """Query without a fence."""
        held = self._open
        answer = super().query(session, message)
        if held is not None and held.proposal is not None:
            self.device.stage(decode_order(held.operation.kind, held.proposal.read_back), held.operation.digest)
            self._open = held
        return answer


class _NeverExpires(Transactions):
    """Lets a proposal live for ever."""

    def set_rate(self, session: SessionInfo, message: wire.SetRate) -> wire.Message:
        """Stage, for ever."""
        answer = super().set_rate(session, message)
        if self._open is not None:
            self._open.opened_link_ms = 1 << 50
        return answer


class _AnyBase(Transactions):
    """Does not look which program the operator was looking at."""

    def _check_base(self, sequence: int, digest: bytes) -> None:
        del sequence, digest


class _ReadsBackAnother(Transactions):
    """Reads back another rate than it has staged."""

    def set_rate(self, session: SessionInfo, message: wire.SetRate) -> wire.Message:
        """Stage the one and tell the other."""
        answer = super().set_rate(session, message)
        if isinstance(answer, wire.Staged) and self._open is not None:
            order = decode_order(self._open.operation.kind, answer.image)
            if isinstance(order, Program):
                return replace(answer, image=encode_order(replace(order, rate_nl_per_day=order.rate_nl_per_day + 1)))
        return answer


def with_transactions(transactions: type[Transactions]) -> type[PumpFirmware]:
    """Firmware with these transactions."""
    return type(transactions.__name__, (BadFirmware,), {"transactions": transactions})


# --- answers ---------------------------------------------------------------------------------------------------------


class _StaleStatus(BadFirmware):
    """Reports the status that it reported first."""

    first: wire.Status | None = None

    def changed(self, answer: wire.Message) -> wire.Message:
        if isinstance(answer, wire.Status):
            self.first = self.first or answer
            return self.first
        return answer


class _WrongReason(BadFirmware):
    """Says that a rate is too low when it is too high."""

    def changed(self, answer: wire.Message) -> wire.Message:
        if isinstance(answer, wire.Refusal) and answer.reason is RefusalReason.RATE_ABOVE_MAXIMUM:
            reason = RefusalReason.RATE_BELOW_MINIMUM
            return replace(answer, reason=reason, status=REASON_STATUS[reason])
        return answer


class _WrongUnit(BadFirmware):
    """Reports the dose in µg/day where ng/day belong."""

    def changed(self, answer: wire.Message) -> wire.Message:
        return (
            replace(answer, dose_ng_per_day=answer.dose_ng_per_day // 1_000)
            if isinstance(answer, wire.Status)
            else answer
        )


class _HourForDay(BadFirmware):
    """Refuses nothing, but derives the dose of an hour where 24 hours are asked."""

    def changed(self, answer: wire.Message) -> wire.Message:
        return replace(answer, dose_24h_ng=answer.dose_24h_ng // 24) if isinstance(answer, wire.Staged) else answer


class _AnyRole(BadFirmware):
    """Serves every role with everything."""

    def _dispatch(self, session: SessionInfo, request: wire.Message | BadPayload) -> wire.Message:
        session.role, mine = Role.CLINICIAN, session.role
        try:
            return super()._dispatch(session, request)
        finally:
            session.role = mine


class _ForgetsInLog(BadFirmware):
    """Leaves changes of the program out of its log."""

    def changed(self, answer: wire.Message) -> wire.Message:
        if isinstance(answer, wire.LogPage):
            kept = tuple(record for record in answer.records if record.code is not LogCode.PROGRAM_COMMITTED)
            return replace(answer, records=kept)
        return answer


class _SilencedIsGone(BadFirmware):
    """Leaves silenced alarms out of the list."""

    def changed(self, answer: wire.Message) -> wire.Message:
        if isinstance(answer, wire.AlarmReport):
            loud = tuple(alarm for alarm in answer.alarms if alarm.signal is not AlarmSignal.SILENCED)
            return replace(answer, alarms=loud)
        return answer


class _LowStop(BadFirmware):
    """Ranks every alarm low."""

    def changed(self, answer: wire.Message) -> wire.Message:
        if isinstance(answer, wire.AlarmReport):
            return replace(answer, alarms=tuple(replace(alarm, priority=AlarmPriority.LOW) for alarm in answer.alarms))
        return answer


class _NotMarked(BadFirmware):
    """Does not say that it is simulated."""

    def changed(self, answer: wire.Message) -> wire.Message:
        return replace(answer, simulated=False) if isinstance(answer, wire.Identity) else answer


# --- channel, telemeter, link ----------------------------------------------------------------------------------------


class _Replaying(PumpChannel):
    """Serves every counter that it can open, again and again."""

    def _repeat(self, frame: Frame, session: Any, counter: int) -> bytes | None:  # noqa: ANN401 - the channel's own record
        padded = session.sealed.open(counter, frame.body)
        if padded is None:
            return None
        answer = self._serve(session.info, read_message(padded, Plane.REQUEST))
        sealed = session.sealed._from_pump.seal(counter, pad(encode(answer)))
        return encode_frame(Frame(FrameType.RSP, 0, COUNTER.pack(counter) + sealed))


class _StuckChallenge(PumpChannel):
    """Gives the same challenge every time."""

    def _new_offer(self, probe: Any, body: bytes, now_ms: int) -> Any:  # noqa: ANN401 - the channel's own record
        self._wake_ctr = 0
        self._entropy = bytes
        return super()._new_offer(probe, body, now_ms)


class _RoleByRequest(PumpChannel):
    """Takes the role that a HELLO asks for as that of its slot."""

    def _hello(self, body: bytes, now_ms: int) -> bytes | None:
        try:
            hello = decode_record("hello", body)
        except BadPayload:
            return super()._hello(body, now_ms)
        slots, slot = self._slots, self._slots.get(hello.slot)
        if slot is not None:
            self._slots = {**slots, hello.slot: replace(slot, role=hello.want_role)}
        try:
            return super()._hello(body, now_ms)
        finally:
            self._slots = slots


def with_channel(kind: type[PumpChannel]) -> type[PumpFirmware]:
    """Firmware with this end of the secure channel."""
    return type(kind.__name__, (BadFirmware,), {"channel_kind": kind})


class _LateTelemeter(Telemeter):
    """Lets the pump answer late."""

    def _reach_pump(self, host: Any, frame: Frame) -> None:  # noqa: ANN401 - the telemeter's own record
        due_ms = self._clock.link_ms() + _LATE_MS
        self._clock.call_at(due_ms, lambda: super(_LateTelemeter, self)._reach_pump(host, frame))


class _Late(BadStation):
    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - those of Station
        super().__init__(*args, **kwargs)
        air = NearField(NearFieldSettings(), 0, self.pump.radio)
        self.telemeter = _LateTelemeter(self, air, self.clock, serial=self.telemeter.serial)


class _Mending:
    """A receiver that puts a right check sum on whatever comes."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def data_received(self, data: bytes) -> None:
        content = data[: -FRAME_CRC.size]
        self._receiver.data_received(content + FRAME_CRC.pack(crc32(content)))

    def connection_lost(self, reason: Any) -> None:  # noqa: ANN401 - passed on
        self._receiver.connection_lost(reason)


class _NoCrc(BadStation):
    def accept(self, transport: Transport) -> Receiver:
        return _Mending(super().accept(transport))


def by_firmware(kind: type[PumpFirmware]) -> Callable[[int], StationTarget]:
    """Makes devices with this firmware."""
    return lambda seed: bad_device(seed, kind)


def by_channel(kind: type[PumpChannel]) -> Callable[[int], StationTarget]:
    """Makes devices with this end of the secure channel."""
    return by_firmware(with_channel(kind))


def by_orders(kind: type[Transactions]) -> Callable[[int], StationTarget]:
    """Makes devices with these transactions."""
    return by_firmware(with_transactions(kind))


BAD_INSIDE: tuple[Bad[StationTarget], ...] = (
    Bad(
        "no check sum",
        "acts on frames whose CRC is wrong",
        "D-04",
        lambda s: bad_device(s, station=_NoCrc, datagrams=True),
    ),
    Bad("stuck challenge", "gives one challenge to everybody", "D-11", by_channel(_StuckChallenge)),
    Bad("role by request", "gives a session the role that it asks for", "D-14", by_channel(_RoleByRequest)),
    Bad("accepts replay", "carries out recorded requests", "D-31", by_channel(_Replaying)),
    Bad("answers late", f"answers after {_LATE_MS} ms", "D-39", lambda s: bad_device(s, station=_Late)),
    Bad("no roles", "serves every role with everything", "D-40", by_firmware(_AnyRole)),
    Bad("not marked", "does not say that it is simulated", "D-50", by_firmware(_NotMarked)),
    Bad("wrong unit", "reports its dose in µg where ng belong", "D-51", by_firmware(_WrongUnit)),
    Bad("wrong refusal", "says too low of a rate that is too high", "D-60", by_firmware(_WrongReason)),
    Bad("stale base", "takes orders for a program that is gone", "D-64", by_orders(_AnyBase)),
    Bad("another read-back", "reads back another rate than was staged", "D-70", by_orders(_ReadsBackAnother)),
    Bad("hour for day", "derives the dose of an hour for that of a day", "D-70", by_firmware(_HourForDay)),
    Bad("stale report", "reports the status of before a change", "D-72", by_firmware(_StaleStatus)),
    Bad("any token", "commits with every token", "D-73", by_orders(_AnyToken)),
    Bad("no expiry", "lets a proposal live for ever", "D-74", by_orders(_NeverExpires)),
    Bad("accepts warnings", "takes every warning for accepted", "D-76", by_orders(_AcceptsForYou)),
    Bad("applies twice", "carries a repeated COMMIT out again", "D-80", by_orders(_Twice)),
    Bad("no fence", "reports an operation as never and lets it happen", "D-82", by_orders(_NoFence)),
    Bad("low stop", "ranks a stopped therapy low", "D-86", by_firmware(_LowStop)),
    Bad("silenced is gone", "leaves silenced alarms out of its list", "D-87", by_firmware(_SilencedIsGone)),
    Bad("forgets in the log", "leaves changes out of its log", "D-89", by_firmware(_ForgetsInLog)),
)
"""Bad devices of the first file, with the step that must find each."""
