"""What a device step works on: a target, lines to it, sessions over them, and requests with everything right to spoil.

Each step has a bench of its own: a fresh device in process, or the one behind a URL, let go of by every session before.
A step that changed the therapy of a device behind a URL leaves it as it was found.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, TypeVar

from telemetry.conform.device.line import Line, Target
from telemetry.conform.device.session import (
    Greeting,
    Offer,
    RawSession,
    ask_beacon,
    greet,
    probe_body,
)
from telemetry.conform.results import EvidenceKind
from telemetry.conform.steps import Blocked, StepEnd
from telemetry.errors import BadPayload
from telemetry.model import OperationKind, PumpMode, RefusalReason, Role, StopReason
from telemetry.protocol import messages as wire
from telemetry.protocol.codec import encode_record
from telemetry.protocol.credentials import Credential, test_credential
from telemetry.protocol.handshake import PROBE_ID_SIZE
from telemetry.protocol.orders import decode_order, encode_order
from telemetry.protocol.wire import IMAGE_SCHEMA, MAX_IMAGE, MAX_READ_BACK_PART, MAX_WRITE, REASON_STATUS
from telemetry.therapy import BolusOrder, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from telemetry.conform.recorder import Recorder
    from telemetry.protocol.messages import Beacon, Message
    from telemetry.protocol.orders import Order

AnswerT = TypeVar("AnswerT", bound=wire.Message)
MOST_PARTS = 1 + -(-MAX_IMAGE // MAX_READ_BACK_PART)
NL_PER_ML = 1_000_000
AS_EXPECTED = "as expected"
HARMLESS_PPM = 50_000
"""By how much a step changes a rate where it does not matter by how much: 5 %, below every soft limit in use."""


class Bench:
    """One step's device, its lines, and its sessions."""

    def __init__(
        self,
        target: Target,
        record: Recorder,
        now_ms: Callable[[], int],
        *,
        entropy: Callable[[int], bytes],
        utc_s: int,
        credentials: Mapping[Role, Credential] | None = None,
    ) -> None:
        self.target = target
        self.record = record
        self.clock = target.clock
        self.entropy = entropy
        self.utc_s = utc_s
        self._now_ms = now_ms
        self._credentials = credentials
        self._lines: list[Line] = []
        self._sessions: list[RawSession] = []
        self._found: wire.ProgramReport | None = None
        self._found_image = b""
        self._found_stopped = False

    # --- lines and sessions ------------------------------------------------------------------------------------------

    async def line(self, *, placed: bool = True) -> Line:
        """A new link; with ``placed`` the telemeter has answered and has contact. Raises ``Blocked``."""
        line = Line(self.target, self.record, self._now_ms)
        await line.open()
        self._lines.append(line)
        if placed:
            report = await line.ask_telemeter()
            if report is None:
                raise Blocked("no telemeter answers on this link")
            if not report.contact:
                raise Blocked("the telemeter has no contact to a pump: place it over the pump and run again")
        return line

    def credential(self, role: Role) -> Credential:
        """The credential of a role; raises ``Blocked`` without one."""
        if self._credentials is None:
            return test_credential(role)
        try:
            return self._credentials[role]
        except KeyError:
            raise Blocked(f"no credential of the role {role} was given") from None

    async def offer(self, line: Line) -> Offer:
        """A PROBE answered; raises ``Blocked`` when nothing answers."""
        offer = await ask_beacon(line, probe_body(self.entropy(PROBE_ID_SIZE)))
        if offer is None:
            raise Blocked("the pump does not answer PROBE")
        return offer

    def greeting(
        self, offer: Offer, role: Role = Role.CLINICIAN, *, credential: Credential | None = None, **changes: int
    ) -> Greeting:
        """A right HELLO for an offer, to spoil."""
        held = self.credential(role) if credential is None else credential
        return Greeting(offer, held, role, self.entropy, utc_s=self.utc_s, **changes)

    async def try_session(self, line: Line, role: Role = Role.CLINICIAN) -> RawSession | Beacon | None:
        """The handshake done right: a session, a BEACON that holds us off, or None for silence."""
        opened = await greet(line, self.greeting(await self.offer(line), role))
        if isinstance(opened, RawSession):
            self._sessions.append(opened)
        return opened

    async def session(self, line: Line | None = None, role: Role = Role.CLINICIAN) -> RawSession:
        """An open session; raises ``Blocked`` when it cannot be had."""
        opened = await self.try_session(line or await self.line(), role)
        if isinstance(opened, RawSession):
            return opened
        raise Blocked(
            "the pump does not accept the credential"
            if opened is None
            else f"the pump is in use or saves its battery; free in at most {opened.wait_s} s"
        )

    # --- asking ------------------------------------------------------------------------------------------------------

    async def ask(self, session: RawSession, message: Message, kind: type[AnswerT]) -> AnswerT:
        """Ask, and demand an answer of this kind."""
        answer = await session.ask(message)
        if isinstance(answer, kind):
            return answer
        self.record.demand(held=False, expected=f"{kind.__name__} to {type(message).__name__}", observed=told(answer))
        raise AssertionError("demand raised")  # pragma: no cover - it always does

    def expect(self, held: bool, expected: str, otherwise: str) -> bool:  # noqa: FBT001 - the one thing it is about
        """An expectation of which there is nothing to tell when it holds; ``otherwise`` says what was seen instead."""
        return self.record.expect(held, expected, AS_EXPECTED if held else otherwise)

    def demand(self, held: bool, expected: str, otherwise: str) -> None:  # noqa: FBT001 - as above
        """The same, without which the rest makes no sense."""
        self.record.demand(held, expected, AS_EXPECTED if held else otherwise)

    def expect_refusal(
        self, answer: Message | None, reason: RefusalReason, to: str, *, limit: int | None = None
    ) -> bool:
        """Expect a ``Refusal`` with this reason, and the status that belongs to it."""
        status = REASON_STATUS[reason]
        words = f"{to}: Refusal {status.value}, {reason.value}" + (f", limit {limit}" if limit is not None else "")
        held = (
            isinstance(answer, wire.Refusal)
            and (answer.reason, answer.status) == (reason, status)
            and (limit is None or answer.limit == limit)
        )
        return self.record.expect(held, words, told(answer))

    async def status(self, session: RawSession) -> wire.Status:
        """What the pump says of itself."""
        return await self.ask(session, wire.ReadStatus(), wire.Status)

    async def ledger(self, session: RawSession) -> wire.LedgerHead:
        """The ledger's head."""
        return await self.ask(session, wire.ReadLedger(), wire.LedgerHead)

    async def log(self, session: RawSession, start: int = 0) -> list[wire.LogEntry]:
        """The log from a sequence number on."""
        records: list[wire.LogEntry] = []
        while True:
            page = await self.ask(session, wire.ReadLog(from_sequence=start, max_records=8), wire.LogPage)
            records += page.records
            if not page.records or page.records[-1].sequence >= page.newest_sequence:
                return records
            start = page.records[-1].sequence + 1

    async def program(self, session: RawSession) -> tuple[wire.ProgramReport, Program]:
        """The committed program; raises ``Failed`` for one that cannot be read."""
        report, image = await self._program_image(session)
        return report, self.read_order(OperationKind.PROGRAM, image, Program)

    async def _program_image(self, session: RawSession) -> tuple[wire.ProgramReport, bytes]:
        first = await self.ask(session, wire.ReadProgram(part=0), wire.ProgramReport)
        image, part = first.image, 1
        while part < min(first.parts, MOST_PARTS):
            image += (await self.ask(session, wire.ReadProgram(part=part), wire.ProgramReport)).image
            part += 1
        return first, image

    def read_order(self, kind: OperationKind, image: bytes, wanted: type[AnyOrder]) -> AnyOrder:
        """The order in an image; raises ``Failed`` when it is none."""
        try:
            order = decode_order(kind, image)
        except BadPayload as error:
            self.record.demand(held=False, expected=f"an image of a {kind}", observed=str(error))
            raise AssertionError("demand raised") from error  # pragma: no cover - it always does
        assert isinstance(order, wanted)  # noqa: S101 - of this kind by construction
        return order

    # --- changes, everything right -----------------------------------------------------------------------------------

    def set_rate(
        self, session: RawSession, status: wire.Status, rate_nl_per_day: int, **changes: object
    ) -> wire.SetRate:
        """A SET_RATE that a pump accepts, to spoil one thing of."""
        fields: dict[str, object] = {
            "op_id": session.new_op_id() if "op_id" not in changes else b"",
            "acked_through": session.counter - 1 if session.counter else 0,
            "base_sequence": status.program_sequence,
            "base_digest": status.program_digest,
            "drug": status.drug,
            "concentration_ng_per_ml": status.concentration_ng_per_ml,
            "reservoir_generation": status.reservoir_generation,
            "rate_nl_per_day": rate_nl_per_day,
            "dose_ng_per_day": dose_of(rate_nl_per_day, status.concentration_ng_per_ml),
        }
        return wire.SetRate(**(fields | changes))  # type: ignore[arg-type]

    def begin(
        self, session: RawSession, status: wire.Status, image: bytes, kind: OperationKind, **changes: object
    ) -> wire.Begin:
        """A BEGIN for an image."""
        fields: dict[str, object] = {
            "op_id": session.new_op_id() if "op_id" not in changes else b"",
            "acked_through": session.counter - 1 if session.counter else 0,
            "base_sequence": status.program_sequence,
            "base_digest": status.program_digest,
            "kind": kind,
            "schema": IMAGE_SCHEMA,
            "total_length": len(image),
            "image_digest": hashlib.sha256(image).digest(),
        }
        return wire.Begin(**(fields | changes))  # type: ignore[arg-type]

    async def write_all(self, session: RawSession, image: bytes) -> None:
        """Write the whole image."""
        for offset in range(0, len(image), MAX_WRITE):
            data = image[offset : offset + MAX_WRITE]
            await self.ask(session, wire.Write(offset=offset, data=data), wire.Written)

    async def read_back(self, session: RawSession) -> tuple[wire.Staged, bytes]:
        """VERIFY part by part: the last one, and the whole image."""
        image, answer = b"", None
        for part in range(MOST_PARTS):
            answer = await session.ask(wire.Verify(part=part))
            if isinstance(answer, wire.ReadBack):
                image += answer.image
            elif isinstance(answer, wire.Staged):
                return answer, image + answer.image
            else:
                break
        self.record.demand(held=False, expected="ReadBack or Staged to Verify", observed=told(answer))
        raise AssertionError("demand raised")  # pragma: no cover - it always does

    async def stage_order(
        self, session: RawSession, status: wire.Status, order: Order, kind: OperationKind
    ) -> tuple[bytes, wire.Staged, bytes]:
        """Stage an order the long way: operation id, the last part, the whole read-back."""
        image = encode_order(order)
        begin = self.begin(session, status, image, kind)
        await self.ask(session, begin, wire.Begun)
        await self.write_all(session, image)
        staged, image = await self.read_back(session)
        return begin.op_id, staged, image

    async def stage_rate(
        self, session: RawSession, status: wire.Status, rate_nl_per_day: int
    ) -> tuple[wire.SetRate, wire.Staged]:
        """Stage a rate the short way."""
        message = self.set_rate(session, status, rate_nl_per_day)
        return message, await self.ask(session, message, wire.Staged)

    def commit(self, op_id: bytes, staged: wire.Staged, **changes: object) -> wire.Commit:
        """The COMMIT of what was staged, its warnings accepted."""
        fields: dict[str, object] = {
            "op_id": op_id,
            "token": staged.token,
            "image_digest": staged.image_digest,
            "accepted_warnings": staged.warnings,
        }
        return wire.Commit(**(fields | changes))  # type: ignore[arg-type]

    async def running(self, session: RawSession) -> wire.Status:
        """A pump that delivers a constant rate with room to change it; raises ``Blocked`` for another."""
        await self.keep(session)
        status = await self.status(session)
        if status.mode is not PumpMode.SIMPLE_CONTINUOUS or status.activity.value != "none":
            raise Blocked(f"the pump is {status.mode.value}, {status.activity.value}; it has to run a constant rate")
        return status

    def bolus(self, status: wire.Status, limits: wire.Limits) -> BolusOrder:
        """A small bolus that the limits allow: a tenth of the day's dose, over a quarter of an hour."""
        dose = min(status.dose_ng_per_day // 10, limits.bolus_dose_soft_max_ng)
        volume = dose * NL_PER_ML // status.concentration_ng_per_ml
        dose = dose_of(volume, status.concentration_ng_per_ml)
        return BolusOrder(volume, dose, 900, status.concentration_ng_per_ml, status.reservoir_generation)

    # --- leaving it as it was ----------------------------------------------------------------------------------------

    async def keep(self, session: RawSession) -> None:
        """Remember the program in force, to leave it in force at the end of the step."""
        if self._found is None:
            self._found, self._found_image = await self._program_image(session)
            self._found_stopped = self._found.stopped

    async def close(self) -> None:
        """Put back what was found, let go of the pump, close every line."""
        try:
            if self._found is not None and not self.target.fresh:
                await self._put_back()
        finally:
            if not self.target.fresh:
                await self._let_go()
            for line in self._lines:
                await line.close()

    async def _let_go(self) -> None:
        """CLOSE every session that may still be in force, so that the next step finds the pump free."""
        for session in self._sessions:
            if session.line.lost is None:
                with contextlib.suppress(StepEnd):
                    await session.ask(wire.Close(), tries=1)

    async def _put_back(self) -> None:
        found = self._found
        assert found is not None  # noqa: S101 - asked before
        try:
            session = await self.session()
            status = await self.status(session)
            if status.activity.value != "none":
                stop = wire.Stop(session.new_op_id(), 0, StopReason.BENCH)
                await self.ask(session, stop, wire.VerdictReport)
                status = await self.status(session)
            report, image = await self._program_image(session)
            if image != self._found_image or (report.stopped and not self._found_stopped):
                op_id, staged, _ = await self.stage_order(
                    session,
                    status,
                    self.read_order(OperationKind.PROGRAM, self._found_image, Program),
                    OperationKind.PROGRAM,
                )
                await self.ask(session, self.commit(op_id, staged), wire.VerdictReport)
            for kind in (await self.status(session)).alarms:
                await session.ask(wire.AcknowledgeAlarm(kind=kind))
        except StepEnd as end:
            self.record.tell(EvidenceKind.NOTE, "the program that was found could not be put back", end.reason)
        else:
            self.record.tell(EvidenceKind.NOTE, "the program that was found is in force again")


AnyOrder = TypeVar("AnyOrder", Program, BolusOrder)


def dose_of(volume_nl: int, concentration_ng_per_ml: int) -> int:
    """The dose in a volume, in ng, rounded towards less."""
    return volume_nl * concentration_ng_per_ml // NL_PER_ML


def told(answer: Message | None) -> str:
    """An answer in a few words, for the report."""
    if answer is None:
        return "no answer"
    if isinstance(answer, wire.Refusal):
        reason = answer.reason.value if answer.reason is not None else "no reason"
        limit = f", value {answer.value}, limit {answer.limit}" if answer.value or answer.limit else ""
        warned = f", warnings {', '.join(answer.warnings)}" if answer.warnings else ""
        return f"Refusal {answer.status.value}, {reason}{limit}{warned}"
    if isinstance(answer, wire.VerdictReport):
        reason = f", {answer.reason.value}" if answer.reason is not None else ""
        return f"VerdictReport {answer.verdict.value}{reason}, program {answer.program_sequence}"
    return type(answer).__name__


def resume_image(report: wire.ProgramReport) -> bytes:
    """The image that resumes the program in force."""
    return encode_record(
        "resume_image",
        wire.ResumeImage(
            schema=IMAGE_SCHEMA,
            reserved=0,
            program_sequence=report.program_sequence,
            program_digest=report.program_digest,
        ),
    )
