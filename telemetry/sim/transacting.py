"""What changes therapy over the wire: the open transaction, the ledger before it, and the two one-step commands.

Answers to SET_RATE, BEGIN, WRITE, VERIFY, COMMIT, QUERY, ABORT, STOP and PATIENT_BOLUS. Every kind of order takes the
same way: parse, check, stage, read back from the medium, token, commit (trust.md 5.2). ``Refused`` is the refusal.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from telemetry.errors import BadPayload, Refused
from telemetry.model import OperationKind, PumpMode, RefusalReason, Verdict
from telemetry.protocol import messages as wire
from telemetry.protocol.codec import decode_record
from telemetry.protocol.orders import Order, decode_order, encode_order
from telemetry.protocol.roles import STAGED, allows
from telemetry.sim import answers
from telemetry.sim.pump.ledger import Operation, Standing
from telemetry.sim.transaction import ReadyProposal, Transaction, commit_token
from telemetry.therapy import Program

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.protocol.channel import SessionInfo
    from telemetry.sim.pump.device import PumpDevice
    from telemetry.sim.pump.ledger import OperationRecord
    from telemetry.sim.pump.limits import Derived

_COUNTER_BYTES = 8
_PATIENT_BOLUS_DIGEST = hashlib.sha256(b"patient_bolus").digest()
"""What a patient's bolus would apply is in the program; the operation brings nothing of its own."""


class Transactions:
    """The transaction of one pump, of whichever session is open.

    ``verdict_pending`` is set whenever an answer rests on something the device just wrote; ``link_ms`` is set by the
    firmware with every frame.
    """

    def __init__(self, device: PumpDevice) -> None:
        self.device = device
        self.verdict_pending = False
        self.link_ms = 0
        self._open: Transaction | None = None
        self._voided: RefusalReason = RefusalReason.NO_PROPOSAL

    def tick(self) -> None:
        """Let the proposal expire."""
        if self._open is not None and self.link_ms >= self._open.expired_at_ms:
            self.void(RefusalReason.PROPOSAL_EXPIRED)

    def void(self, reason: RefusalReason) -> None:
        """Drop what is open, and remember why."""
        if self._open is not None:
            self._open = None
            self._voided = reason

    # --- stage -------------------------------------------------------------------------------------------------------

    def set_rate(self, session: SessionInfo, message: wire.SetRate) -> wire.Message:
        """Stage a simple continuous program in one message."""
        self.void(RefusalReason.PROPOSAL_VOIDED)
        image = encode_order(
            Program(
                mode=PumpMode.SIMPLE_CONTINUOUS,
                rate_nl_per_day=message.rate_nl_per_day,
                dose_ng_per_day=message.dose_ng_per_day,
                concentration_ng_per_ml=message.concentration_ng_per_ml,
                drug=message.drug,
                reservoir_generation=message.reservoir_generation,
            )
        )
        operation = _operation(session, message.op_id, OperationKind.PROGRAM, hashlib.sha256(image).digest())
        known = self._admit(operation, message.acked_through)
        if known is not None:
            return known
        self._check_base(message.base_sequence, message.base_digest)
        transaction = Transaction(
            operation, message.base_sequence, message.base_digest, len(image), self.link_ms, bytearray(image)
        )
        self._make_ready(session, transaction)
        self._open = transaction
        return transaction.ready.part(0)

    def begin(self, session: SessionInfo, message: wire.Begin) -> wire.Message:
        """Open a transaction; its kind needs its own row of the role table."""
        self.void(RefusalReason.PROPOSAL_VOIDED)
        row = STAGED.get(message.kind)
        if row is None:
            raise Refused(RefusalReason.MODE_UNSUPPORTED, f"kind: {message.kind} takes one step and is not staged")
        if not allows(session.role, row):
            raise Refused(RefusalReason.ROLE_FORBIDS, f"kind: {message.kind} is not for the role {session.role}")
        operation = _operation(session, message.op_id, message.kind, message.image_digest)
        known = self._admit(operation, message.acked_through)
        if known is not None:
            return known
        self._check_base(message.base_sequence, message.base_digest)
        self._open = Transaction(
            operation, message.base_sequence, message.base_digest, message.total_length, self.link_ms
        )
        return wire.Begun()

    def write(self, _session: SessionInfo, message: wire.Write) -> wire.Message:
        """Take a part of the image."""
        return wire.Written(next_offset=self._opened().write(message.offset, message.data))

    def verify(self, session: SessionInfo, message: wire.Verify) -> wire.Message:
        """Stage the image when it is whole, and read it back."""
        transaction = self._opened()
        if transaction.proposal is None:
            self._make_ready(session, transaction)
        return transaction.ready.part(message.part)

    def _make_ready(self, session: SessionInfo, transaction: Transaction) -> None:
        """Parse the image, stage it, read it back from the medium, and issue the token. Raises ``Refused``."""
        image, operation = transaction.whole_image(), transaction.operation
        if operation.kind is OperationKind.RESUME:
            read_back, derived = self._ready_to_resume(image)
        else:
            order = _parse(operation.kind, image)
            decided = self.device.ledger_sequence
            derived = self.device.check(order)
            read_back = encode_order(self.device.stage(order, operation.digest))
            if self.device.ledger_sequence != decided:  # a pump that stops while it is updated (domain.md 4, F12)
                self.verdict_pending = True
                derived = self.device.check(order)
        digest = hashlib.sha256(read_back).digest()
        token = commit_token(session, operation.op_id, digest, derived.warnings)
        transaction.proposal = ReadyProposal(read_back, derived, digest, token)

    def _ready_to_resume(self, image: bytes) -> tuple[bytes, Derived]:
        try:
            wanted = decode_record("resume_image", image)
        except BadPayload as error:
            raise Refused(RefusalReason.BAD_LAYOUT, str(error)) from error
        return image, self.device.check_resume(wanted.program_sequence, wanted.program_digest)

    # --- commit ------------------------------------------------------------------------------------------------------

    def commit(self, session: SessionInfo, message: wire.Commit) -> wire.Message:
        """Make the proposal the truth, or book why not."""
        transaction = self._open
        if transaction is None or transaction.operation.op_id != message.op_id:
            record = self.device.query(session.slot, message.op_id)
            if record.verdict in {Verdict.APPLIED, Verdict.REFUSED}:
                return answers.verdict(record)
            raise Refused(self._voided if transaction is None else RefusalReason.NO_PROPOSAL)
        self.void(RefusalReason.TOKEN_WRONG)  # a token is good for one attempt
        proposal = transaction.ready
        if not hmac.compare_digest(proposal.token, message.token) or message.image_digest != proposal.digest:
            raise Refused(RefusalReason.TOKEN_WRONG)
        if self.link_ms >= transaction.expired_at_ms:
            raise Refused(RefusalReason.PROPOSAL_EXPIRED)
        return self._decide(transaction.operation, lambda: self._committed(transaction, message))

    def _committed(self, transaction: Transaction, message: wire.Commit) -> OperationRecord:
        operation = transaction.operation
        self._check_base(transaction.base_sequence, transaction.base_digest)
        if operation.kind is OperationKind.RESUME:
            return self.device.resume(
                operation, transaction.base_sequence, transaction.base_digest, message.accepted_warnings
            )
        return self.device.commit(operation, message.accepted_warnings)

    def query(self, session: SessionInfo, message: wire.Query) -> wire.Message:
        """What became of an operation; what it reports as never can no longer happen."""
        self.void(RefusalReason.PROPOSAL_VOIDED)
        return answers.verdict(self.device.query(session.slot, message.op_id))

    def abort(self, _session: SessionInfo, _message: wire.Abort) -> wire.Message:
        """Drop what is open."""
        self.void(RefusalReason.PROPOSAL_VOIDED)
        return wire.Aborted()

    # --- in one step -------------------------------------------------------------------------------------------------

    def stop(self, session: SessionInfo, message: wire.Stop) -> wire.Message:
        """Stop delivery, also with a full ledger."""
        self.void(RefusalReason.PROPOSAL_VOIDED)
        digest = hashlib.sha256(message.reason.value.encode()).digest()
        operation = _operation(session, message.op_id, OperationKind.STOP, digest)
        self.device.acknowledge_through(session.slot, message.acked_through)
        known = self._known(operation)
        if known is not None:
            return known
        self.verdict_pending = True
        return answers.verdict(self.device.stop(operation, message.reason))

    def patient_bolus(self, session: SessionInfo, message: wire.PatientBolus) -> wire.Message:
        """Give the prescribed bolus if the pump grants it; a denial is booked, so that it stays one."""
        self.void(RefusalReason.PROPOSAL_VOIDED)
        operation = _operation(session, message.op_id, OperationKind.PATIENT_BOLUS, _PATIENT_BOLUS_DIGEST)
        known = self._admit(operation, message.acked_through)
        if known is not None:
            return known
        return self._decide(operation, lambda: self.device.patient_bolus(operation))

    # --- the ledger --------------------------------------------------------------------------------------------------

    def _decide(self, operation: Operation, act: Callable[[], OperationRecord]) -> wire.Message:
        """Act, or book the refusal; either is the verdict for good."""
        self.verdict_pending = True
        try:
            record = act()
        except Refused as refused:
            record = self.device.record_refusal(operation, RefusalReason(refused.reason))
        return answers.verdict(record)

    def _admit(self, operation: Operation, acked_through: int) -> wire.Message | None:
        """The stored verdict of a known operation, None for one that may begin, else ``Refused``."""
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

    def _opened(self) -> Transaction:
        if self._open is None:
            raise Refused(self._voided)
        return self._open


def _operation(session: SessionInfo, op_id: bytes, kind: OperationKind, digest: bytes) -> Operation:
    counter = int.from_bytes(op_id[:_COUNTER_BYTES], "little")
    return Operation(session.slot, counter, op_id, kind, digest)


def _parse(kind: OperationKind, image: bytes) -> Order:
    try:
        return decode_order(kind, image)
    except BadPayload as error:
        raise Refused(RefusalReason.BAD_LAYOUT, str(error)) from error
