"""The pump's ITP firmware: sealed frames in, sealed frames out, and between them calls on a wire-blind device.

Encoding, roles, tokens and transactions live here; the device knows nanolitres and milliseconds. Two times come in:
link milliseconds for the conversation, and the device's own therapy time, which its owner advances beforehand.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

from telemetry.errors import BadPayload, Refused
from telemetry.model import LogCode, OperationKind, Program, PumpMode, RefusalReason, Verdict
from telemetry.protocol import messages as wire
from telemetry.protocol.channel import AcceptFacts, CloseReason, PumpChannel, SessionInfo
from telemetry.protocol.codec import decode_record
from telemetry.protocol.roles import allows
from telemetry.protocol.wire import BY_NAME
from telemetry.sim import answers
from telemetry.sim.pump.ledger import Operation, Standing
from telemetry.sim.transaction import STAGEABLE, ReadyProposal, Transaction, commit_token, image_of, program_of
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from telemetry.protocol.credentials import PumpSecrets, Slot
    from telemetry.protocol.frame import Frame
    from telemetry.sim.pump.device import PumpDevice
    from telemetry.sim.pump.limits import Derived

    Handler = Callable[[SessionInfo, Any], wire.Message]
    Tap = Callable[[str, Frame, wire.Message | None], None]

_COUNTER_BYTES = 8
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
        self.verdict_pending = False
        self._link_ms = 0
        self._transaction: Transaction | None = None
        self._voided: RefusalReason = RefusalReason.NO_PROPOSAL
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

    def receive(self, frame: Frame, link_ms: int) -> list[bytes]:
        """A frame arrived over the near field; returns the frames to send back."""
        self._link_ms = link_ms
        return self.channel.receive(frame, link_ms)

    def tick(self, link_ms: int) -> None:
        """Let timers act."""
        self._link_ms = link_ms
        self.channel.tick(link_ms)
        if self._transaction is not None and link_ms >= self._transaction.expired_at_ms:
            self._void(RefusalReason.PROPOSAL_EXPIRED)

    def contact_lost(self) -> None:
        """The field was gone for five seconds: session and proposal are void (trust.md 4.7)."""
        self.channel.end_session(CloseReason.CONTACT_LOST)

    def time_jumped(self) -> None:
        """Therapy time jumped: session and proposal are void (architecture.md, idea 3)."""
        self.channel.end_session(CloseReason.CLOCK_JUMP)

    def _table(self) -> dict[type[wire.Message], Handler]:
        return {
            wire.ReadIdentity: lambda _s, _m: answers.identity(self.device.identity(), self.device.now_ms),
            wire.ReadStatus: lambda _s, _m: answers.status(self.device.status()),
            wire.ReadProgram: lambda _s, _m: answers.program(self.device.program_report()),
            wire.ReadAlarms: lambda _s, _m: answers.alarms(self.device.alarms()),
            wire.ReadLimits: lambda _s, _m: answers.limits(
                self.device.limits(), self.device.profile.max_silence_ms // MS_PER_SECOND
            ),
            wire.ReadLog: self._read_log,
            wire.ReadLedger: self._read_ledger,
            wire.SetRate: self._set_rate,
            wire.Begin: self._begin,
            wire.Write: self._write,
            wire.Verify: self._verify,
            wire.Commit: self._commit,
            wire.Query: self._query,
            wire.Abort: self._abort,
            wire.Stop: self._stop,
            wire.SilenceAlarms: self._silence,
            wire.AcknowledgeAlarm: self._acknowledge,
            wire.Close: lambda _s, _m: wire.Closed(),
        }

    def _serve(self, session: SessionInfo, request: wire.Message | BadPayload) -> wire.Message:
        """One request, opened and authentic, in; one answer out. Never raises for anything a peer can send."""
        answer = self._dispatch(session, request)
        return answers.with_alarm_sequence(answer, self.device.alarm_sequence)

    def _dispatch(self, session: SessionInfo, request: wire.Message | BadPayload) -> wire.Message:
        if isinstance(request, BadPayload):
            return _refusal_of_payload(request)
        spec = BY_NAME[type(request).__name__]
        handler = self._handlers.get(type(request))
        if handler is None:
            return answers.refusal(spec.opcode, RefusalReason.UNKNOWN_MESSAGE)
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

    # --- transactions ----------------------------------------------------------------------------------------

    def _set_rate(self, session: SessionInfo, message: wire.SetRate) -> wire.Message:
        self._void(RefusalReason.PROPOSAL_VOIDED)
        program = Program(
            mode=PumpMode.SIMPLE_CONTINUOUS,
            rate_nl_per_day=message.rate_nl_per_day,
            dose_ng_per_day=message.dose_ng_per_day,
            concentration_ng_per_ml=message.concentration_ng_per_ml,
            drug=message.drug,
            reservoir_generation=message.reservoir_generation,
        )
        image = image_of(program)
        operation = _operation(session, message.op_id, OperationKind.PROGRAM, hashlib.sha256(image).digest())
        known = self._admit(operation, message.acked_through, message.base_sequence, message.base_digest)
        if known is not None:
            return known
        transaction = Transaction(
            operation, message.base_sequence, message.base_digest, len(image), self._link_ms, bytearray(image)
        )
        self._make_ready(session, transaction)
        self._transaction = transaction
        return _ready(transaction).part(0)

    def _begin(self, session: SessionInfo, message: wire.Begin) -> wire.Message:
        self._void(RefusalReason.PROPOSAL_VOIDED)
        if message.kind not in STAGEABLE:
            raise Refused(RefusalReason.MODE_UNSUPPORTED, f"{message.kind} is not staged")
        operation = _operation(session, message.op_id, message.kind, message.image_digest)
        known = self._admit(operation, message.acked_through, message.base_sequence, message.base_digest)
        if known is not None:
            return known
        self._transaction = Transaction(
            operation, message.base_sequence, message.base_digest, message.total_length, self._link_ms
        )
        return wire.Begun()

    def _write(self, _session: SessionInfo, message: wire.Write) -> wire.Message:
        return wire.Written(next_offset=self._open_transaction().write(message.offset, message.data))

    def _verify(self, session: SessionInfo, message: wire.Verify) -> wire.Message:
        transaction = self._open_transaction()
        if transaction.proposal is None:
            self._make_ready(session, transaction)
        return _ready(transaction).part(message.part)

    def _commit(self, session: SessionInfo, message: wire.Commit) -> wire.Message:
        transaction = self._transaction
        if transaction is None or transaction.operation.op_id != message.op_id:
            record = self.device.query(session.slot, message.op_id)
            if record.verdict in {Verdict.APPLIED, Verdict.REFUSED}:
                return answers.verdict(record)
            raise Refused(self._voided if transaction is None else RefusalReason.NO_PROPOSAL)
        proposal = transaction.proposal
        operation = transaction.operation
        self._void(RefusalReason.TOKEN_WRONG)  # a token is good for one attempt
        if proposal is None:
            raise Refused(RefusalReason.IMAGE_INCOMPLETE)
        if not hmac.compare_digest(proposal.token, message.token) or message.image_digest != proposal.digest:
            raise Refused(RefusalReason.TOKEN_WRONG)
        if self._link_ms >= transaction.expired_at_ms:
            raise Refused(RefusalReason.PROPOSAL_EXPIRED)
        self.verdict_pending = True
        try:
            self._check_base(transaction.base_sequence, transaction.base_digest)
            if operation.kind is OperationKind.PROGRAM:
                record = self.device.commit(operation, message.accepted_warnings)
            else:
                record = self.device.resume(
                    operation, transaction.base_sequence, transaction.base_digest, message.accepted_warnings
                )
        except Refused as refused:
            record = self.device.record_refusal(operation, RefusalReason(refused.reason))
        return answers.verdict(record)

    def _query(self, session: SessionInfo, message: wire.Query) -> wire.Message:
        self._void(RefusalReason.PROPOSAL_VOIDED)
        return answers.verdict(self.device.query(session.slot, message.op_id))

    def _abort(self, _session: SessionInfo, _message: wire.Abort) -> wire.Message:
        self._void(RefusalReason.PROPOSAL_VOIDED)
        return wire.Aborted()

    def _stop(self, session: SessionInfo, message: wire.Stop) -> wire.Message:
        self._void(RefusalReason.PROPOSAL_VOIDED)
        operation = _operation(
            session, message.op_id, OperationKind.STOP, hashlib.sha256(message.reason.value.encode()).digest()
        )
        self.device.acknowledge_through(session.slot, message.acked_through)
        known = self._known(operation)
        if known is not None:
            return known
        self.verdict_pending = True
        return answers.verdict(self.device.stop(operation, message.reason))

    def _admit(
        self, operation: Operation, acked_through: int, base_sequence: int, base_digest: bytes
    ) -> wire.Message | None:
        """Whether new work may begin: a stored verdict for a known operation, None for a new one, else ``Refused``."""
        self.device.acknowledge_through(operation.slot, acked_through)
        known = self._known(operation)
        if known is not None:
            return known
        if self.device.unacknowledged >= self.device.ledger_capacity:
            raise Refused(
                RefusalReason.LEDGER_FULL,
                "too many verdicts wait to be acknowledged",
                value=self.device.unacknowledged,
                limit=self.device.ledger_capacity,
            )
        self._check_base(base_sequence, base_digest)
        return None

    def _known(self, operation: Operation) -> wire.Message | None:
        classified = self.device.classify(operation)
        if classified.standing is Standing.CONFLICT:
            raise Refused(RefusalReason.OPERATION_CONFLICT, "this operation number was used for something else")
        if classified.standing is Standing.FORGOTTEN:
            raise Refused(RefusalReason.OPERATION_FORGOTTEN, "this operation number is too old to be told about")
        return None if classified.record is None else answers.verdict(classified.record)

    def _check_base(self, sequence: int, digest: bytes) -> None:
        report = self.device.program_report()
        if (report.program_sequence, report.program_digest) != (sequence, digest):
            raise Refused(
                RefusalReason.BASE_CHANGED,
                "the program is not the one the operator was looking at",
                value=sequence,
                limit=report.program_sequence,
            )

    def _open_transaction(self) -> Transaction:
        if self._transaction is None:
            raise Refused(self._voided)
        return self._transaction

    def _make_ready(self, session: SessionInfo, transaction: Transaction) -> None:
        """Parse the image, stage it, read it back from the medium, and issue the token. Raises ``Refused``."""
        image = bytes(transaction.image)
        if len(image) != transaction.total_length:
            raise Refused(RefusalReason.IMAGE_INCOMPLETE, value=len(image), limit=transaction.total_length)
        operation = transaction.operation
        if hashlib.sha256(image).digest() != operation.digest:
            raise Refused(RefusalReason.IMAGE_DIGEST_MISMATCH)
        if operation.kind is OperationKind.RESUME:
            read_back, derived = self._ready_to_resume(image)
        else:
            program = _parse_program(image)
            derived = self.device.check(program)
            read_back = image_of(self.device.stage(program, operation.digest))
        digest = hashlib.sha256(read_back).digest()
        token = commit_token(session, operation.op_id, digest, derived.warnings)
        transaction.proposal = ReadyProposal(read_back, derived, digest, token)

    def _ready_to_resume(self, image: bytes) -> tuple[bytes, Derived]:
        try:
            wanted = decode_record("resume_image", image)
        except BadPayload as error:
            raise Refused(RefusalReason.BAD_LAYOUT, str(error)) from error
        return image, self.device.check_resume(wanted.program_sequence, wanted.program_digest)

    def _void(self, reason: RefusalReason) -> None:
        if self._transaction is not None:
            self._transaction = None
            self._voided = reason

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
        self._void(RefusalReason.PROPOSAL_VOIDED)

    def _authentication_failed(self, slot: int) -> None:
        """The gate was right and Noise was not: somebody holds half a credential (trust.md 4.6)."""
        self.device.log_event(LogCode.AUTHENTICATION_FAILED, slot=slot)


def _operation(session: SessionInfo, op_id: bytes, kind: OperationKind, digest: bytes) -> Operation:
    counter = int.from_bytes(op_id[:_COUNTER_BYTES], "little")
    return Operation(session.slot, counter, op_id, kind, digest)


def _refusal_of_payload(error: BadPayload) -> wire.Refusal:
    """Authentic, yet no message of ours: say which opcode is unknown, or which message was laid out wrongly."""
    if error.opcode is not None:
        return answers.refusal(error.opcode, RefusalReason.UNKNOWN_MESSAGE)
    spec = BY_NAME.get(error.message)
    return answers.refusal(0 if spec is None else spec.opcode, RefusalReason.BAD_LAYOUT)


def _ready(transaction: Transaction) -> ReadyProposal:
    if transaction.proposal is None:
        raise Refused(RefusalReason.IMAGE_INCOMPLETE)
    return transaction.proposal


def _parse_program(image: bytes) -> Program:
    try:
        parsed = decode_record("program_image", image)
    except BadPayload as error:
        raise Refused(RefusalReason.BAD_LAYOUT, str(error)) from error
    return program_of(parsed)
