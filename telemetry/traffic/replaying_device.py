"""A capture played as the device: a telemeter and a pump that say what was recorded, through a secure channel of today.

The pump's side of every handshake is carried out with the published test card, so that keys are new and the caller is
any driver with the test credential. A request is matched with the recorded ones, its answer is sealed afresh. Nothing
is computed: what was not recorded is refused, and whatever differs is told.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING

from telemetry.errors import BadPayload, LinkClosedError
from telemetry.link import FrameLink
from telemetry.model import RefusalReason
from telemetry.protocol import messages as wire
from telemetry.protocol.channel import AcceptFacts, PumpChannel
from telemetry.protocol.codec import decode, encode
from telemetry.protocol.credentials import test_pump_secrets, test_slots
from telemetry.protocol.frame import Frame, encode_frame
from telemetry.protocol.wire import BY_NAME, REASON_STATUS, FrameType
from telemetry.traffic.differing import Difference, What, differences, free_fields
from telemetry.traffic.replaying_carried import COUNTER_BYTES, Carried, op_id_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.clock import Clock
    from telemetry.protocol.channel import SessionInfo
    from telemetry.protocol.messages import Message
    from telemetry.traffic.replaying_script import Exchange, Script, Session
    from telemetry.transport.base import Receiver, Transport

_OPENS_OPERATION = (wire.SetRate, wire.Begin, wire.Stop, wire.PatientBolus)
MOST_DIFFERENCES = 1_000
"""Differences that are kept; the rest is counted."""


class ReplayedPump:
    """The pump of a script, with its telemeter.

    ``speed`` divides the recorded answering times; None: as fast as can be. With ``strict`` the first difference ends
    it: that request and all after it are refused. ``entropy`` is for keys and challenges.
    """

    def __init__(
        self,
        script: Script,
        clock: Clock,
        *,
        entropy: Callable[[int], bytes],
        speed: float | None = None,
        strict: bool = False,
        on_difference: Callable[[Difference], None] | None = None,
    ) -> None:
        self.script = script
        self.played = 0
        """Requests answered with a recorded answer, repetitions included."""
        self.ended = False
        """Whether a difference ended it (``strict``)."""
        self.found: list[Difference] = []
        self.differing = 0
        self.finished = asyncio.Event()
        """Set when everything was asked for, or a difference ended it, and the last client has gone."""
        self._clock = clock
        self._speed = speed
        self._strict = strict
        self._on_difference = on_difference
        self._next = 0
        self._told_events = 0
        self._reports = 0
        self._compared: set[int] = set()
        self._carried = Carried()
        self._free = free_fields(exact=True)
        self._withhold = 0
        self._answered: Exchange | None = None
        self._links: dict[FrameLink, bool] = {}
        self._timers: set[Callable[[], None]] = set()
        self.channel = PumpChannel(
            test_pump_secrets(script.pump_id), test_slots(), entropy, facts=self._facts, serve=self._serve
        )

    @property
    def done(self) -> bool:
        """Whether everything recorded was asked for."""
        return self._next >= len(self.script.exchanges)

    def missing(self) -> list[Difference]:
        """What is recorded behind the last request that was answered, and was not asked for."""
        return [_missing(one) for one in self.script.exchanges[self._next :]]

    def accept(self, transport: Transport) -> Receiver:
        """A client opened a link to the telemeter."""
        link = FrameLink(on_frame=lambda frame: self._frame(link, frame), on_lost=lambda _reason: self._lost(link))
        link.attach(transport)
        self._links[link] = False
        return link

    async def close(self) -> None:
        """Close every link and drop every answer that waits."""
        for cancel in tuple(self._timers):
            cancel()
        self._timers.clear()
        for link in tuple(self._links):
            await link.close()
        self._links.clear()

    # --- frames ------------------------------------------------------------------------------------------------------

    def _lost(self, link: FrameLink) -> None:
        self._links.pop(link, None)
        if not self._links and (self.done or self.ended):
            self.finished.set()

    def _frame(self, link: FrameLink, frame: Frame) -> None:
        if frame.type is FrameType.TELEMETER_REQ:
            self._telemeter(link, frame)
            return
        if frame.type not in (FrameType.PROBE, FrameType.HELLO, FrameType.REQ):
            return
        answers = self.channel.receive(frame, self._clock.link_ms())
        if frame.type is not FrameType.REQ or not answers:
            for answer in answers:
                self._send(link, answer)
            return
        if self._withhold:
            self._withhold -= 1
            return  # this answer did not arrive when it was recorded
        answered = self._answered
        took_ms = 0 if answered is None or self._speed is None else round(answered.took_ms / self._speed)
        for answer in answers:
            self._later(took_ms, partial(self._send, link, answer))
        self._later(took_ms, self._tell_events)

    def _later(self, delay_ms: int, act: Callable[[], None]) -> None:
        if not delay_ms:
            act()
            return

        def run() -> None:
            self._timers.discard(cancel)
            act()

        cancel = self._clock.call_at(self._clock.link_ms() + delay_ms, run)
        self._timers.add(cancel)

    def _send(self, link: FrameLink, data: bytes) -> None:
        if link in self._links:
            with suppress(LinkClosedError):  # the client is gone; it will ask again when it is back
                link.send(data)

    # --- the telemeter -----------------------------------------------------------------------------------------------

    def _telemeter(self, link: FrameLink, frame: Frame) -> None:
        try:
            request = decode(frame.body)
        except BadPayload:
            return  # noise with a good check sum: the client will repeat what it meant
        if isinstance(request, wire.ReadTelemeter):
            answer: Message = replace(self._report(), tag=request.tag)
        elif isinstance(request, wire.Subscribe):
            self._links[link] = request.events
            answer = wire.Subscribed(tag=request.tag, events=request.events)
        else:
            return
        self._send(link, encode_frame(Frame(FrameType.TELEMETER_RSP, 0, encode(answer))))
        if not self._next:
            self._tell_events()

    def _report(self) -> wire.TelemeterReport:
        """The next recorded report, the last one again when they are all told. It always says simulated."""
        reports = self.script.telemeter
        if not reports:
            return wire.TelemeterReport(
                tag=0,
                serial="REPLAY",
                firmware=0,
                battery_percent=100,
                coupling_bars=5,
                contact=True,
                air_bits_per_s=0,
                air_delay_ms=0,
                frames_to_pump=0,
                frames_from_pump=0,
                frames_lost=0,
                simulated=True,
            )
        report = reports[min(self._reports, len(reports) - 1)]
        self._reports += 1
        return replace(report, simulated=True)

    def _tell_events(self) -> None:
        events = self.script.events
        while self._told_events < len(events) and events[self._told_events][0] < self._next:
            event = events[self._told_events][1]
            self._told_events += 1
            for link, wanted in tuple(self._links.items()):
                if wanted:
                    self._send(link, encode_frame(Frame(FrameType.TELEMETER_EVENT, 0, encode(event))))

    # --- the pump ----------------------------------------------------------------------------------------------------

    def _session(self) -> Session | None:
        """The recorded session that the next request belongs to."""
        exchanges, sessions = self.script.exchanges, self.script.sessions
        if self._next < len(exchanges):
            return sessions[exchanges[self._next].session]
        return sessions[-1] if sessions else None

    def _facts(self, _slot: int) -> AcceptFacts:
        session = self._session()
        if session is not None and session.accept is not None:
            return AcceptFacts(**{one.name: getattr(session.accept, one.name) for one in fields(AcceptFacts)})
        return self._gathered()

    def _gathered(self) -> AcceptFacts:
        """What ACCEPT must have said, by what was asked and answered after it; zero where nothing tells."""
        later = self.script.exchanges[self._next :]
        status = next((one.answer for one in later if isinstance(one.answer, wire.Status)), None)
        counters = [int.from_bytes(one.request.op_id[:COUNTER_BYTES], "little") for one in later if _opens(one)]  # type: ignore[attr-defined]
        return AcceptFacts(
            firmware=0,
            now_s=0 if status is None else status.now_s,
            program_sequence=0 if status is None else status.program_sequence,
            program_digest=bytes(8) if status is None else status.program_digest,
            ledger_sequence=0,
            last_operation_counter=max(0, counters[0] - 1) if counters else 0,
            log_sequence=0,
            log_head=bytes(8),
            alarm_sequence=0 if status is None else status.alarm_sequence,
            active_alarms=0 if status is None else len(status.alarms),
            failed_attempts=0,
        )

    def _serve(self, info: SessionInfo, request: Message | BadPayload) -> Message:
        self._withhold, self._answered = 0, None
        if isinstance(request, BadPayload):
            self._tell([Difference(What.EXTRA, request.message or "a request", note=str(request))])
            return _refusal(0, RefusalReason.BAD_LAYOUT)
        opcode = BY_NAME[type(request).__name__].opcode
        if self.ended:
            return _refusal(opcode, RefusalReason.UNKNOWN_MESSAGE)
        exchange, told = self._match(request)
        if exchange is not None and exchange.session not in self._compared:
            self._compared.add(exchange.session)
            told = self._held_against(self.script.sessions[exchange.session], info, exchange.line) + told
        self._tell(told)
        if self._strict and self.differing:
            self.ended = True
            return _refusal(opcode, RefusalReason.UNKNOWN_MESSAGE)
        if exchange is None:
            return _refusal(opcode, RefusalReason.UNKNOWN_MESSAGE)
        self.played += 1
        self._carried.bind(exchange.request, request)
        self._answered = exchange
        if exchange.answer is None:
            self._withhold = max(1, exchange.lost + 1)
            return _refusal(opcode, RefusalReason.UNKNOWN_MESSAGE)  # never sent: no answer was recorded either
        self._withhold = exchange.lost
        return self._carried.to_now(exchange.answer)

    def _held_against(self, session: Session, info: SessionInfo, line: int) -> list[Difference]:
        if session.role is info.role:
            return []
        return [Difference(What.SESSION, "HELLO", "want_role", session.role.value, info.role.value, line)]

    def _tell(self, told: list[Difference]) -> None:
        self.differing += len(told)
        self.found += told[: max(0, MOST_DIFFERENCES - len(self.found))]
        if self._on_difference is not None:
            for one in told:
                self._on_difference(one)

    # --- which recorded request is this? -----------------------------------------------------------------------------

    def _match(self, request: Message) -> tuple[Exchange | None, list[Difference]]:
        """The recorded exchange for a request, and what differs; moves on behind it."""
        exchanges = self.script.exchanges
        if self._next < len(exchanges) and not self._unlike(exchanges[self._next], request):
            self._next += 1
            return exchanges[self._next - 1], []
        if self._strict:
            return None, self._first_difference(request)
        ahead = self._ahead(request)
        if ahead is not None:
            skipped = [_missing(one) for one in exchanges[self._next : ahead.number]]
            self._next = ahead.number + 1
            return ahead, skipped
        before = next((one for one in reversed(exchanges[: self._next]) if not self._unlike(one, request)), None)
        if before is not None and before.harmless and before.answer is not None:
            return before, [Difference(What.EXTRA, before.name, line=before.line, note="answered as it was before")]
        nearest = next((one for one in exchanges[self._next :] if type(one.request) is type(request)), None)
        if nearest is None:
            return None, [Difference(What.EXTRA, type(request).__name__, note="refused: nothing like it is recorded")]
        told = [_missing(one) for one in exchanges[self._next : nearest.number]] + self._unlike(nearest, request)
        self._next = nearest.number + 1
        return nearest, told

    def _ahead(self, request: Message) -> Exchange | None:
        """A later exchange with this request. A reading does not jump over a change: rather it is told again."""
        for one in self.script.exchanges[self._next :]:
            if not self._unlike(one, request):
                return one
            if not one.harmless and BY_NAME[type(request).__name__].name.startswith("Read"):
                return None
        return None

    def _first_difference(self, request: Message) -> list[Difference]:
        if self.done:
            return [Difference(What.EXTRA, type(request).__name__, note="everything recorded was asked for before")]
        return self._unlike(self.script.exchanges[self._next], request)

    def _unlike(self, exchange: Exchange, request: Message) -> list[Difference]:
        expected = self._carried.expected(exchange.request, request)
        found = differences(What.REQUEST, expected, request, self._free, line=exchange.line)
        if not found and not self._carried.fits(exchange.request, request):
            found = [
                Difference(
                    What.REQUEST,
                    exchange.name,
                    "op_id",
                    op_id_of(exchange.request).hex(),
                    op_id_of(request).hex(),
                    exchange.line,
                    "another operation than the one that it stands for",
                )
            ]
        return found


def _opens(exchange: Exchange) -> bool:
    return isinstance(exchange.request, _OPENS_OPERATION)


def _missing(exchange: Exchange) -> Difference:
    return Difference(What.MISSING, exchange.name, line=exchange.line)


def _refusal(opcode: int, reason: RefusalReason) -> wire.Refusal:
    return wire.Refusal(REASON_STATUS[reason], opcode, reason, 0, 0, ())
