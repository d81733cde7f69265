"""The pump's ITP firmware: sealed frames in, sealed frames out, and between them calls on a wire-blind device.

Encoding, roles, tokens and transactions live here; the device knows nanolitres and milliseconds. Two times come in:
link milliseconds for the conversation, and the device's own therapy time, which its owner advances beforehand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telemetry.errors import BadPayload, Refused
from telemetry.model import LogCode, RefusalReason
from telemetry.protocol import messages as wire
from telemetry.protocol.channel import AcceptFacts, CloseReason, PumpChannel, SessionInfo
from telemetry.protocol.roles import allows
from telemetry.protocol.wire import BY_NAME
from telemetry.sim import answers
from telemetry.sim.transacting import Transactions
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from telemetry.protocol.credentials import PumpSecrets, Slot
    from telemetry.protocol.frame import Frame
    from telemetry.sim.pump.device import PumpDevice

    Handler = Callable[[SessionInfo, Any], wire.Message]
    Tap = Callable[[str, Frame, wire.Message | None], None]

_LARGEST_16 = 0xFFFF


class PumpFirmware:
    """Answers one session at a time for one device.

    ``verdict_pending`` is set whenever an answer rests on something the device just wrote: whoever sends the
    answers must make the device's state durable first, and then clear it.
    """

    def __init__(
        self,
        device: PumpDevice,
        *,
        secrets: PumpSecrets,
        slots: Iterable[Slot],
        entropy: Callable[[int], bytes],
        test_device: bool = True,
        tap: Tap | None = None,
    ) -> None:
        self.device = device
        self.boot_epoch = device.boot_epoch
        self._transactions = Transactions(device)
        self._interrogated = b""
        self._handlers = self._table()
        self.channel = PumpChannel(
            secrets,
            slots,
            entropy,
            facts=self._facts,
            serve=self._serve,
            boot_epoch=device.boot_epoch,
            test_device=test_device,
            on_session_closed=self._session_closed,
            on_authentication_failed=self._authentication_failed,
            tap=tap,
        )

    @property
    def verdict_pending(self) -> bool:
        """Whether an answer rests on something that is not durable yet."""
        return self._transactions.verdict_pending

    @verdict_pending.setter
    def verdict_pending(self, pending: bool) -> None:
        self._transactions.verdict_pending = pending

    def receive(self, frame: Frame, link_ms: int) -> list[bytes]:
        """A frame arrived over the near field; returns the frames to send back."""
        self._transactions.link_ms = link_ms
        return self.channel.receive(frame, link_ms)

    def tick(self, link_ms: int) -> None:
        """Let timers act."""
        self._transactions.link_ms = link_ms
        self.channel.tick(link_ms)
        self._transactions.tick()

    def contact_lost(self) -> None:
        """The field was gone for five seconds: session and proposal are void (trust.md 4.7)."""
        self.channel.end_session(CloseReason.CONTACT_LOST)

    def time_jumped(self) -> None:
        """Therapy time jumped: session and proposal are void (architecture.md, idea 3)."""
        self.channel.end_session(CloseReason.CLOCK_JUMP)

    def _table(self) -> dict[type[wire.Message], Handler]:
        transactions = self._transactions
        return {
            wire.ReadIdentity: lambda _s, _m: answers.identity(self.device.identity(), self.device.now_ms),
            wire.ReadStatus: lambda _s, _m: answers.status(self.device.status()),
            wire.ReadProgram: lambda _s, message: answers.program(self.device.program_report(), message.part),
            wire.ReadAlarms: lambda _s, _m: answers.alarms(self.device.alarms()),
            wire.ReadLimits: lambda _s, _m: answers.limits(self.device.limits(), self.device.profile),
            wire.ReadLog: self._read_log,
            wire.ReadLedger: self._read_ledger,
            wire.ReadDelivery: lambda _s, _m: answers.delivery(self.device.delivery()),
            wire.ReadAlarmSettings: lambda _s, _m: answers.alarm_settings(self.device.alarm_settings()),
            wire.SetRate: transactions.set_rate,
            wire.Begin: transactions.begin,
            wire.Write: transactions.write,
            wire.Verify: transactions.verify,
            wire.Commit: transactions.commit,
            wire.Query: transactions.query,
            wire.Abort: transactions.abort,
            wire.Stop: transactions.stop,
            wire.PatientBolus: transactions.patient_bolus,
            wire.SilenceAlarms: self._silence,
            wire.AcknowledgeAlarm: self._acknowledge,
            wire.Close: lambda _s, _m: wire.Closed(),
        }

    def _serve(self, session: SessionInfo, request: wire.Message | BadPayload) -> wire.Message:
        """One request, opened and authentic, in; one answer out. Never raises for anything a peer can send."""
        self._interrogate(session)
        answer = self._dispatch(session, request)
        return answers.with_alarm_sequence(answer, self.device.alarm_sequence)

    def _interrogate(self, session: SessionInfo) -> None:
        """Tell the device, once a session, that it is being interrogated: some states end only then (domain.md 2.6)."""
        if self._interrogated == session.handshake_hash:
            return
        self._interrogated = session.handshake_hash
        before = self.device.log_head()
        self.device.interrogated()
        self.verdict_pending = self.verdict_pending or self.device.log_head() != before

    def _dispatch(self, session: SessionInfo, request: wire.Message | BadPayload) -> wire.Message:
        if isinstance(request, BadPayload):
            return _refusal_of_payload(request)
        spec = BY_NAME[type(request).__name__]
        handler = self._handlers.get(type(request))
        if handler is None:
            return answers.refusal(spec.opcode, RefusalReason.UNKNOWN_MESSAGE)
        if isinstance(request, wire.PatientBolus) and not self.device.profile.patient_bolus_allowed:
            # The drug forbids it to everybody, which says more than that the role does (domain.md 2.8).
            return answers.refusal(spec.opcode, RefusalReason.PATIENT_BOLUS_FORBIDDEN)
        if not allows(session.role, spec.operation):
            return answers.refusal(spec.opcode, RefusalReason.ROLE_FORBIDS)
        try:
            return handler(session, request)
        except Refused as refused:
            return answers.refusal_of(spec.opcode, refused)

    def _facts(self, slot: int) -> AcceptFacts:
        device = self.device
        report = device.program_report()
        log_sequence, log_head = device.log_head()
        return AcceptFacts(
            firmware=device.profile.firmware,
            now_s=device.now_ms // MS_PER_SECOND,
            program_sequence=report.program_sequence,
            program_digest=report.program_digest,
            ledger_sequence=device.ledger_sequence,
            last_operation_counter=device.last_operation_counter(slot),
            log_sequence=log_sequence,
            log_head=log_head,
            alarm_sequence=device.alarm_sequence,
            active_alarms=len(device.alarms()),
            failed_attempts=min(self.channel.counters.gate_failures, _LARGEST_16),
        )

    # --- reading ---------------------------------------------------------------------------------------------

    def _read_log(self, _session: SessionInfo, message: wire.ReadLog) -> wire.Message:
        return answers.log_page(self.device.log(message.from_sequence, message.max_records))

    def _read_ledger(self, session: SessionInfo, _message: wire.ReadLedger) -> wire.Message:
        device = self.device
        return wire.LedgerHead(
            ledger_sequence=device.ledger_sequence,
            last_operation_counter=device.last_operation_counter(session.slot),
            unacknowledged=device.unacknowledged,
            capacity=device.ledger_capacity,
        )

    # --- alarms ----------------------------------------------------------------------------------------------

    def _silence(self, _session: SessionInfo, message: wire.SilenceAlarms) -> wire.Message:
        self.device.silence_alarms(message.duration_s * MS_PER_SECOND)
        self.verdict_pending = True
        return answers.alarms(self.device.alarms())

    def _acknowledge(self, _session: SessionInfo, message: wire.AcknowledgeAlarm) -> wire.Message:
        self.device.acknowledge_alarm(message.kind)
        self.verdict_pending = True
        return answers.alarms(self.device.alarms())

    # --- sessions --------------------------------------------------------------------------------------------

    def _session_closed(self, _session: SessionInfo, _reason: str) -> None:
        self._transactions.void(RefusalReason.PROPOSAL_VOIDED)

    def _authentication_failed(self, slot: int) -> None:
        """The gate was right and Noise was not: somebody holds half a credential (trust.md 4.6)."""
        self.device.log_event(LogCode.AUTHENTICATION_FAILED, slot=slot)


def _refusal_of_payload(error: BadPayload) -> wire.Refusal:
    """Authentic, yet no message of ours: say which opcode is unknown, or which message was laid out wrongly."""
    if error.opcode is not None:
        return answers.refusal(error.opcode, RefusalReason.UNKNOWN_MESSAGE)
    spec = BY_NAME.get(error.message)
    return answers.refusal(0 if spec is None else spec.opcode, RefusalReason.BAD_LAYOUT)
