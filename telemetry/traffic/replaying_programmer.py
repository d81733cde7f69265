"""A capture played as the programmer: its requests sent again, in sessions of today, and every answer compared.

What a two-phase commit hands from one message to the next is taken from today's answers: the operation's number, the
token, the program that is replaced. A dose is never changed: if what the pump read back is not what was recorded, the
commit is not sent.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from telemetry.errors import BadPayload, LinkError, OutcomeUnknown, PeerError, UsageError
from telemetry.model import OperationKind, Verdict
from telemetry.protocol import messages as wire
from telemetry.protocol.codec import decode_record, encode_record
from telemetry.protocol.wire import BY_NAME
from telemetry.traffic.differing import Difference, What, differences, free_fields
from telemetry.traffic.replaying_carried import COUNTER_BYTES, op_id_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.clock import Clock
    from telemetry.protocol.messages import Message
    from telemetry.traffic.replaying_script import Exchange, Script
    from telemetry.traffic.replaying_talk import Talk

_NONCE_BYTES = 8
_OPENS_OPERATION = (wire.SetRate, wire.Begin, wire.Stop, wire.PatientBolus)
_MUST_AGREE = frozenset({"image", "image_digest", "warnings", "part", "parts"})
"""What of a read-back must be as recorded before its commit is sent; the pump judges the rest by itself."""


@dataclass(slots=True)
class Played:
    """What came of it."""

    asked: int = 0
    found: list[Difference] = field(default_factory=list)


class Player:
    """Plays a script against a telemeter.

    ``speed`` divides the recorded pauses; None: no pauses. ``strict`` ends at the first difference. ``exact`` compares
    instants and counts too, for a pump in the very state of the recorded one.
    """

    def __init__(
        self,
        script: Script,
        talk: Talk,
        clock: Clock,
        *,
        entropy: Callable[[int], bytes],
        speed: float | None = None,
        strict: bool = False,
        exact: bool = False,
        on_exchange: Callable[[Exchange, list[Difference]], None] | None = None,
    ) -> None:
        self.played = Played()
        self._script = script
        self._talk = talk
        self._clock = clock
        self._entropy = entropy
        self._speed = speed
        self._strict = strict
        self._on_exchange = on_exchange
        self._free = free_fields(exact=exact)
        self._carried = _Carried(script, entropy)
        self._blocked: set[bytes] = set()
        """Recorded operations whose commit is not sent."""

    async def play(self) -> Played:
        """Send everything; returns what differed.

        Raises ``LinkError`` or ``PeerError`` when there is no pump to talk to, ``OutcomeUnknown`` when a change was
        sent and the pump does not say what became of it, ``UsageError`` before any change for a device that does not
        call itself simulated.
        """
        await self._refuse_hardware()
        base_ms, session = self._clock.link_ms(), -1
        exchanges = self._script.exchanges
        for exchange in exchanges:
            await self._pause(base_ms, exchange.at_ms - exchanges[0].at_ms)
            if exchange.session != session or not self._talk.in_session:
                session = exchange.session
                accept = await self._talk.open(self._script.sessions[session].role)
                self._carried.counted(accept.last_operation_counter)
            told = await self._play(exchange)
            self.played.found += told
            if self._on_exchange is not None:
                self._on_exchange(exchange, told)
            if told and self._strict:
                rest = exchanges[exchange.number + 1 :]
                self.played.found += [Difference(What.MISSING, one.name, line=one.line) for one in rest]
                break
        return self.played

    async def _refuse_hardware(self) -> None:
        report = await self._talk.telemeter()
        if self._script.changes and not report.simulated:
            raise UsageError(
                f"{self._script.source}: it changes therapy ({len(self._script.changes)} times), and telemeter "
                f"{report.serial} does not say that it is simulated; a capture is never played at hardware"
            )

    async def _pause(self, base_ms: int, after_ms: int) -> None:
        if self._speed is None:
            return
        due_ms = base_ms + round(max(0, after_ms) / self._speed)
        if due_ms > self._clock.link_ms():
            await self._clock.sleep_until(due_ms)

    async def _play(self, exchange: Exchange) -> list[Difference]:
        held_back = self._held_back(exchange)
        if held_back:
            return [Difference(What.MISSING, exchange.name, line=exchange.line, note=held_back)]
        request = self._carried.to_now(exchange)
        self.played.asked += 1
        try:
            answer = await self._talk.ask(request)
        except (LinkError, PeerError) as error:
            return await self._unanswered(exchange, request, error)
        if exchange.answer is None:
            self._carried.learn(exchange, answer)
            return []  # nobody knows what the answer was: it was lost, then
        told = self._compared(exchange, request, answer)
        self._carried.learn(exchange, answer)
        return told

    def _held_back(self, exchange: Exchange) -> str:
        """Why a request is not sent, if so."""
        request = exchange.request
        op_id = op_id_of(request)
        if isinstance(request, wire.Commit):
            if op_id in self._blocked:
                return "not sent: the read-back is not the recorded one"
            if not self._carried.knows_token(request.token):
                return "not sent: nothing was staged for it here"
        if op_id and not isinstance(request, _OPENS_OPERATION) and not self._carried.knows(op_id):
            return "not sent: its operation began before the capture"
        return ""

    def _compared(self, exchange: Exchange, request: Message, answer: Message) -> list[Difference]:
        recorded = self._carried.expected(exchange)
        told = differences(What.ANSWER, recorded, answer, self._free, line=exchange.answer_line)
        op_id = op_id_of(answer)
        if op_id and op_id != op_id_of(request):
            told.append(
                Difference(
                    What.ANSWER,
                    type(answer).__name__,
                    "op_id",
                    op_id_of(request).hex(),
                    op_id.hex(),
                    exchange.answer_line,
                    "the answer is about another operation",
                )
            )
        if isinstance(recorded, wire.Staged | wire.ReadBack) and any(
            re.split(r"[.\[]", one.field)[0] in _MUST_AGREE or not one.field for one in told
        ):
            self._blocked.add(self._carried.staging)
        return told

    async def _unanswered(self, exchange: Exchange, request: Message, error: Exception) -> list[Difference]:
        told = [] if exchange.answer is None else [_no_answer(exchange, error)]
        if not BY_NAME[exchange.name].changes_therapy or not self._talk.sent:
            return told
        verdict = await self._ask_what_became(exchange, request, error)
        return [replace(one, note=f"{one.note}; the pump says: {verdict.value}") for one in told]

    async def _ask_what_became(self, exchange: Exchange, request: Message, error: Exception) -> Verdict:
        """A change that got no answer is asked for, never sent again."""
        op_id = op_id_of(request)
        try:
            await self._talk.open(self._script.sessions[exchange.session].role)
            report = await self._talk.ask(wire.Query(op_id=op_id))
        except (LinkError, PeerError):
            raise OutcomeUnknown(op_id.hex()) from error
        if not isinstance(report, wire.VerdictReport) or report.verdict is Verdict.FORGOTTEN:
            raise OutcomeUnknown(op_id.hex()) from error
        return report.verdict


class _Carried:
    """What today's answers give for what was recorded: operation ids, tokens, the program in force, images with it."""

    def __init__(self, script: Script, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._exchanges = script.exchanges
        self._counter = 0
        self._shift = 0
        self._op_ids: dict[bytes, bytes] = {}
        self._tokens: dict[bytes, bytes] = {}
        self._digests: dict[bytes, bytes] = {}
        self._programs: dict[tuple[int, bytes], tuple[int, bytes]] = {}
        self._image: tuple[bytes, bytes] = (b"", b"")
        self.staging = b""
        """The recorded operation that is being staged."""

    def counted(self, last_operation_counter: int) -> None:
        """How far the device has counted the operations of this slot, by its ACCEPT."""
        self._counter = max(self._counter, last_operation_counter)

    def knows(self, op_id: bytes) -> bool:
        """Whether a recorded operation was begun here."""
        return op_id in self._op_ids

    def knows_token(self, token: bytes) -> bool:
        """Whether a recorded token has one of today for it."""
        return token in self._tokens

    def to_now(self, exchange: Exchange) -> Message:
        """A recorded request as it must be sent today."""
        request = exchange.request
        if isinstance(request, _OPENS_OPERATION):
            op_id = self._operation(request.op_id)
            acked = max(0, request.acked_through + self._shift) if request.acked_through else 0
            request = replace(request, op_id=op_id, acked_through=acked)
        if isinstance(request, wire.SetRate | wire.Begin):
            self.staging = op_id_of(exchange.request)
            sequence, digest = self._program(request.base_sequence, request.base_digest)
            request = replace(request, base_sequence=sequence, base_digest=digest)
        if isinstance(request, wire.Begin):
            return self._begin(exchange, request)
        if isinstance(request, wire.Write):
            data = self._image[1][request.offset : request.offset + len(request.data)]
            return replace(request, data=data) if self._image[0] != self._image[1] else request
        if isinstance(request, wire.Commit):
            return replace(
                request,
                op_id=self._op_ids[request.op_id],
                token=self._tokens[request.token],
                image_digest=self._digests.get(request.image_digest, request.image_digest),
            )
        if isinstance(request, wire.Query | wire.Abort):
            return replace(request, op_id=self._op_ids[request.op_id])
        return request

    def expected(self, exchange: Exchange) -> Message:
        """The recorded answer as it would be with today's image."""
        answer = exchange.answer
        was, now = self._image
        if isinstance(answer, wire.Staged):
            image = now if answer.image == was and was else answer.image
            return replace(
                answer, image=image, image_digest=self._digests.get(answer.image_digest, answer.image_digest)
            )
        if isinstance(answer, wire.Status | wire.ProgramReport | wire.VerdictReport):
            key = (answer.program_sequence, answer.program_digest)
            sequence, digest = self._programs.get(key, key)
            return replace(answer, program_sequence=sequence, program_digest=digest)
        if answer is None:  # pragma: no cover - whoever compares has an answer
            raise AssertionError("nothing was recorded to compare with")
        return answer

    def learn(self, exchange: Exchange, answer: Message) -> None:
        """Take from today's answer what later requests need."""
        recorded = exchange.answer
        if isinstance(recorded, wire.Staged) and isinstance(answer, wire.Staged):
            self._tokens[recorded.token] = answer.token
        kinds = (wire.Status, wire.ProgramReport, wire.VerdictReport)
        if isinstance(recorded, kinds) and isinstance(answer, kinds):
            key = (recorded.program_sequence, recorded.program_digest)
            self._programs[key] = (answer.program_sequence, answer.program_digest)

    def _operation(self, recorded: bytes) -> bytes:
        if recorded not in self._op_ids:
            self._counter += 1
            self._shift = self._counter - int.from_bytes(recorded[:COUNTER_BYTES], "little")
            self._op_ids[recorded] = self._counter.to_bytes(COUNTER_BYTES, "little") + self._entropy(_NONCE_BYTES)
        return self._op_ids[recorded]

    def _program(self, sequence: int, digest: bytes) -> tuple[int, bytes]:
        return self._programs.get((sequence, digest), (sequence, digest))

    def _begin(self, exchange: Exchange, request: wire.Begin) -> wire.Begin:
        """A transaction whose image names the program in force (a resume) names today's."""
        was = b""
        for later in self._exchanges[exchange.number + 1 :]:
            if not isinstance(later.request, wire.Write):
                break
            was += later.request.data if later.request.offset == len(was) else b""
        now = was
        if request.kind is OperationKind.RESUME:
            try:
                image = decode_record("resume_image", was)
            except BadPayload:
                return request  # recorded as it is: the pump is to say what is wrong with it
            sequence, digest = self._program(image.program_sequence, image.program_digest)
            now = encode_record("resume_image", replace(image, program_sequence=sequence, program_digest=digest))
        self._image = (was, now)
        if now == was:
            return request
        self._digests[request.image_digest] = hashlib.sha256(now).digest()
        return replace(request, image_digest=self._digests[request.image_digest])


def _no_answer(exchange: Exchange, error: Exception) -> Difference:
    return Difference(
        What.ANSWER,
        type(exchange.answer).__name__,
        recorded="an answer",
        now="none",
        line=exchange.answer_line,
        note=" ".join(str(error).split()),
    )
