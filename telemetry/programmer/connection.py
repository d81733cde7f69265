"""One programmer's conversation with one telemeter and the pump under it.

Bytes come in by callback and go to the sans-IO channel at once; this class only waits, on the clock it was given,
and opens what is not open. It never retries a request in a *new* session by itself: whether that is safe is the
caller's decision.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import LinkClosedError, LinkError, LinkTimeout, SecurityError, TelemetryError
from telemetry.link import FrameLink
from telemetry.protocol.channel import Answered, Closed, Failed, LinkPolicy, Opened, ProgrammerChannel
from telemetry.protocol.codec import decode, encode
from telemetry.protocol.frame import Frame, encode_frame
from telemetry.protocol.messages import Close, ContactEvent, Message, ReadTelemeter, Subscribe, TelemeterReport
from telemetry.protocol.wire import FrameType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telemetry.clock import Clock
    from telemetry.model import Role
    from telemetry.protocol.channel import ChannelEvent, SessionKeys
    from telemetry.protocol.credentials import Credential
    from telemetry.protocol.messages import AcceptPayload
    from telemetry.transport.base import Receiver, Transport

_TELEMETER_TRIES = 4
_HOST_ALLOWANCE_MS = 250
"""Scheduling, USB and radio latency of a real host link, on top of the pump's 300 ms (protocol.md, Decided 12)."""
_IDLE_MARGIN_MS = 2_000
_TAGS = 1 << 16


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer came. ``sent`` says whether the request may have reached the pump."""

    error: TelemetryError
    sent: bool


class PumpConnection:
    """Opens the link and the session as needed and carries one request at a time."""

    def __init__(
        self,
        opener: Callable[[Receiver], Awaitable[Transport]],
        *,
        clock: Clock,
        credential: Credential,
        want_role: Role,
        entropy: Callable[[int], bytes],
        utc_s: Callable[[], int],
        emergency: bool = False,
        tap: Callable[[str, Frame, Message | None], None] | None = None,
    ) -> None:
        self._opener = opener
        self._clock = clock
        self._credential = credential
        self._want_role = want_role
        self._entropy = entropy
        self._utc_s = utc_s
        self._emergency = emergency
        self._tap = tap
        self._link: FrameLink | None = None
        self._newest: FrameLink | None = None
        """The link opened last, whether or not it is still there: what an earlier one has to say is of no interest."""
        self._lost_reason: LinkClosedError | None = None
        self._channel: ProgrammerChannel | None = None
        self._session_used_ms = 0
        self._telemeter_answers: dict[int, Message] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._tag = 0
        self._busy = asyncio.Lock()
        self.telemeter: TelemeterReport | None = None
        self.accept: AcceptPayload | None = None
        self.on_contact: Callable[[ContactEvent], None] | None = None
        self._stop_listening: Callable[[], None] | None = None

    @property
    def slot(self) -> int:
        """The credential slot this programmer uses."""
        return self._credential.slot

    def peek(self, frame: Frame) -> Message | None:
        """Open a sealed frame on trial, without effect: for recorders and fault classifiers."""
        return self._channel.peek(frame) if self._channel is not None else None

    def session_keys(self) -> SessionKeys | None:
        """The keys of the session in force, for captures; None without a session and for devices that are no test."""
        if self._channel is None:
            return None
        try:
            return self._channel.export_keys()
        except SecurityError:
            return None

    def accepted(self) -> AcceptPayload | None:
        """What the pump said when the session in force opened; for captures."""
        return self._channel.accepted if self._channel is not None else None

    @property
    def session_open(self) -> bool:
        """Whether a session is open that the pump has not let go by its idle timer."""
        if self._channel is None or self.accept is None or self._link is None:
            return False
        idle_ms = self._clock.link_ms() - self._session_used_ms
        return idle_ms < self.accept.idle_s * 1_000 - _IDLE_MARGIN_MS

    async def open(self) -> AcceptPayload:
        """Open link and session; returns what the pump said of itself.

        Raises ``LinkError`` (no link, no contact, in use, no answer) or ``PeerError`` (not accepted, wrong dialect).
        """
        async with self._busy:
            return await self._open_session()

    async def exchange(self, message: Message) -> Message | Lost:
        """Send a request in the open session; a lost answer is a value here, since for COMMIT it decides much."""
        async with self._busy:
            channel = self._channel
            if channel is None or self._link is None:
                return Lost(self._lost_reason or LinkClosedError("no session is open"), sent=False)
            channel.request(message, self._clock.link_ms())
            event = await self._next_event(channel)
            if isinstance(event, Answered):
                self._session_used_ms = self._clock.link_ms()
                return event.message
            self._forget_session()
            if isinstance(event, Failed):
                return Lost(await self._explain(event.error), sent=event.sent)
            return Lost(LinkClosedError(f"the session ended: {type(event).__name__}"), sent=True)

    async def read_telemeter(self) -> TelemeterReport:
        """Ask the telemeter itself; needs no session and no contact. Raises ``LinkError``."""
        async with self._busy:
            return await self._read_telemeter()

    async def subscribe(self, on_contact: Callable[[ContactEvent], None]) -> None:
        """Have the telemeter report contact and coupling from now on; raises ``LinkError``."""
        async with self._busy:
            self.on_contact = on_contact
            await self._ask_telemeter(lambda tag: Subscribe(tag=tag, events=True))

    async def close_session(self) -> None:
        """Tell the pump that we are done (CLOSE), so that it is free for others; a lost answer changes nothing."""
        if self.session_open:
            await self.exchange(Close())
        self._forget_session()

    async def close(self) -> None:
        """Close session and link; idempotent, never raises for a link that is already gone."""
        with contextlib.suppress(LinkError):
            await self.close_session()
        await self._drop_link()
        if self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None

    async def _open_session(self) -> AcceptPayload:
        if self.session_open and self.accept is not None:
            return self.accept
        self._forget_session()
        report = await self._read_telemeter()
        if not report.contact:
            raise LinkTimeout(
                f"telemeter {report.serial} is not over the pump (coupling {report.coupling_bars} of 5): "
                f"place it on the skin over the pump and try again"
            )
        channel = ProgrammerChannel(
            self._credential,
            want_role=self._want_role,
            entropy=self._entropy,
            utc_s=self._utc_s(),
            emergency=self._emergency,
            policy=self._policy(report),
            tap=self._tap,
        )
        self._channel = channel
        channel.open(self._clock.link_ms())
        event = await self._next_event(channel)
        if isinstance(event, Opened):
            self._session_used_ms = self._clock.link_ms()
            self.accept = event.accept
            return event.accept
        self._forget_session()
        error = event.error if isinstance(event, Failed) else LinkClosedError("the pump ended the session at once")
        raise await self._explain(error)

    def _policy(self, report: TelemeterReport | None = None) -> LinkPolicy:
        """How long to wait on this link, for the pump or, without its ``report``, for the telemeter."""
        info = None if self._link is None else self._link.info
        return LinkPolicy(
            air_bits_per_s=0 if report is None else report.air_bits_per_s,
            air_delay_ms=0 if report is None else report.air_delay_ms,
            host_allowance_ms=0 if info is not None and info.in_process else _HOST_ALLOWANCE_MS,
            host_bits_per_s=0 if info is None or info.bits_per_s is None else info.bits_per_s,
        )

    async def _explain(self, error: TelemetryError) -> TelemetryError:
        """Say what the telemeter knows about a time-out: that it has no contact, or that it is silent too."""
        if not isinstance(error, LinkTimeout) or self._link is None:
            return error
        try:
            report = await self._read_telemeter()
        except LinkError as silent:
            return LinkTimeout(f"{error}; the telemeter does not answer either ({silent})")
        if not report.contact:
            return LinkTimeout(f"{error}: the telemeter lost the pump (coupling 0 of 5); place it over the pump again")
        return error

    async def _read_telemeter(self) -> TelemeterReport:
        report = await self._ask_telemeter(lambda tag: ReadTelemeter(tag=tag))
        if not isinstance(report, TelemeterReport):
            raise LinkClosedError(f"the telemeter answered {type(report).__name__} to a request for its report")
        self.telemeter = report
        return report

    async def _ask_telemeter(self, build: Callable[[int], Message]) -> Message:
        link = await self._open_link()
        self._tag = (self._tag + 1) % _TAGS
        tag = self._tag
        frame = encode_frame(Frame(FrameType.TELEMETER_REQ, 0, encode(build(tag))))
        allowed_ms = self._policy().deadline_ms(len(frame))
        for _ in range(_TELEMETER_TRIES):
            link.send(frame)
            deadline_ms = self._clock.link_ms() + allowed_ms
            while tag not in self._telemeter_answers:
                self._raise_if_lost()
                if not await self._wait(deadline_ms):
                    break
            answer = self._telemeter_answers.pop(tag, None)
            self._raise_if_lost()
            if answer is not None:
                self._telemeter_answers.clear()
                return answer
        raise LinkTimeout(
            f"no telemeter answered on {link.info.url} ({_TELEMETER_TRIES} tries): is it switched on, and is this "
            f"the right port?"
        )

    def _raise_if_lost(self) -> None:
        if self._link is None:
            raise self._lost_reason or LinkClosedError("the link was closed")

    async def _next_event(self, channel: ProgrammerChannel) -> ChannelEvent:
        """Run the channel until it has something to say."""
        try:
            while True:
                self._flush(channel)
                events = channel.take_events()
                if events:  # a session that ended tells so first, and then what became of the request
                    return next((event for event in events if not isinstance(event, Closed)), events[0])
                if self._link is None:
                    channel.link_lost(self._lost_reason or LinkClosedError("the link was closed"))
                    continue
                deadline_ms = channel.next_deadline_ms()
                if deadline_ms is None:
                    return Closed()
                await self._wait(deadline_ms)
                channel.tick(self._clock.link_ms())
        except asyncio.CancelledError:
            self._forget_session()  # a request is outstanding: its session is of no further use
            raise

    async def _wait(self, deadline_ms: int) -> bool:
        """Wait until something arrives or the deadline passes; True when something arrived."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            return await self._clock.wait(self._waiter, deadline_ms)
        finally:
            self._waiter = None

    def _flush(self, channel: ProgrammerChannel) -> None:
        for frame in channel.take_frames():
            if self._link is None:
                return
            try:
                self._link.send(frame)
            except LinkClosedError as error:
                self._lost(self._link, error)
                return

    async def _open_link(self) -> FrameLink:
        if self._link is None:
            link = FrameLink(on_frame=self._frame_arrived, on_lost=lambda reason: self._lost(link, reason))
            self._newest, self._lost_reason = link, None
            link.attach(await self._opener(link))
            self._raise_if_lost_while_opening()
            self._link = link
            if self._stop_listening is None:  # from the first link to the close: an unused programmer leaves nothing
                self._stop_listening = self._clock.on_jump(self._forget_session)
        return self._link

    def _raise_if_lost_while_opening(self) -> None:
        if self._lost_reason is not None:
            raise self._lost_reason

    async def _drop_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def _frame_arrived(self, frame: Frame) -> None:
        if frame.type is FrameType.TELEMETER_RSP or frame.type is FrameType.TELEMETER_EVENT:
            self._telemeter_said(frame)
        elif self._channel is not None:
            self._channel.receive(frame, self._clock.link_ms())
        self._wake()

    def _telemeter_said(self, frame: Frame) -> None:
        try:
            message = decode(frame.body)
        except TelemetryError:
            return  # counted by the link as any other noise: the request will be repeated
        if isinstance(message, ContactEvent):
            if self.on_contact is not None:
                self.on_contact(message)
            return
        tag = getattr(message, "tag", None)
        if tag is not None:
            self._telemeter_answers[tag] = message

    def _lost(self, link: FrameLink, reason: LinkClosedError | None) -> None:
        if link is not self._newest:
            return  # releasing it took longer than opening the next one
        self._link = None
        self._lost_reason = reason or LinkClosedError("the link was closed")
        self._wake()

    def _forget_session(self) -> None:
        self._channel = None
        self.accept = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
