"""A bare conversation with a telemeter and the pump under it: link, session, one request at a time, none repeated.

What the driver adds (journal, read-back, outcome) has no part here: a capture says what is asked, and when.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from telemetry.errors import LinkClosedError, LinkTimeout, TelemetryError
from telemetry.link import FrameLink
from telemetry.protocol.channel import Answered, Closed, Failed, LinkPolicy, Opened, ProgrammerChannel
from telemetry.protocol.codec import decode, encode
from telemetry.protocol.credentials import test_credential
from telemetry.protocol.frame import Frame, encode_frame
from telemetry.protocol.messages import ReadTelemeter, TelemeterReport
from telemetry.protocol.wire import FrameType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telemetry.clock import Clock
    from telemetry.model import Role
    from telemetry.protocol.channel import ChannelEvent
    from telemetry.protocol.messages import AcceptPayload, Message
    from telemetry.transport.base import Receiver, Transport

HOST_ALLOWANCE_MS = 250
"""As the driver's, on top of the pump's 300 ms (protocol.md, Decided 12)."""
_TELEMETER_TRIES = 4
_TAGS = 1 << 16


class Talk:
    """One link, and on it one session after the other. Close it when done.

    Every call raises ``LinkError`` or ``PeerError`` where no answer comes; ``sent`` then says whether the last request
    had left.
    """

    def __init__(
        self,
        opener: Callable[[Receiver], Awaitable[Transport]],
        *,
        clock: Clock,
        entropy: Callable[[int], bytes],
        utc_s: Callable[[], int],
    ) -> None:
        self.sent = False
        self._opener = opener
        self._clock = clock
        self._entropy = entropy
        self._utc_s = utc_s
        self._link: FrameLink | None = None
        self._lost: LinkClosedError | None = None
        self._channel: ProgrammerChannel | None = None
        self._reports: dict[int, TelemeterReport] = {}
        self._tag = 0
        self._waiter: asyncio.Future[None] | None = None

    @property
    def in_session(self) -> bool:
        """Whether a session was opened and has not failed or been closed."""
        return self._channel is not None

    async def telemeter(self) -> TelemeterReport:
        """What the telemeter says of itself; opens the link when there is none."""
        link = await self._linked()
        self._tag = (self._tag + 1) % _TAGS
        frame = encode_frame(Frame(FrameType.TELEMETER_REQ, 0, encode(ReadTelemeter(tag=self._tag))))
        allowed_ms = self._policy(None).deadline_ms(len(frame))
        for _ in range(_TELEMETER_TRIES):
            link.send(frame)
            deadline_ms = self._clock.link_ms() + allowed_ms
            while self._tag not in self._reports and await self._wait(deadline_ms):
                self._raise_if_lost()
            self._raise_if_lost()
            report = self._reports.pop(self._tag, None)
            if report is not None:
                return report
        raise LinkTimeout(f"no telemeter answered on {link.info.url} ({_TELEMETER_TRIES} tries)")

    async def open(self, role: Role) -> AcceptPayload:
        """Open a session with the test card's credential of a role; one that was open is left to the pump."""
        self._channel = None
        report = await self.telemeter()
        if not report.contact:
            raise LinkTimeout(f"telemeter {report.serial} is not over the pump; place it and try again")
        channel = ProgrammerChannel(
            test_credential(role),
            want_role=role,
            entropy=self._entropy,
            utc_s=self._utc_s(),
            emergency=role.value == "emergency",
            policy=self._policy(report),
        )
        self._channel = channel
        channel.open(self._clock.link_ms())
        event = await self._next(channel)
        if isinstance(event, Opened):
            return event.accept
        raise self._failed(event)

    async def ask(self, request: Message) -> Message:
        """Send a request in the open session and give its answer."""
        channel = self._channel
        self.sent = False
        if channel is None:
            raise LinkClosedError("no session is open")
        channel.request(request, self._clock.link_ms())
        event = await self._next(channel)
        if isinstance(event, Answered):
            self.sent = True
            return event.message
        self.sent = isinstance(event, Failed) and event.sent
        raise self._failed(event)

    async def close(self) -> None:
        """Close the link; idempotent, never raises."""
        self._channel = None
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def _failed(self, event: ChannelEvent) -> TelemetryError:
        self._channel = None
        return event.error if isinstance(event, Failed) else LinkClosedError("the pump ended the session")

    def _policy(self, report: TelemeterReport | None) -> LinkPolicy:
        info = None if self._link is None else self._link.info
        return LinkPolicy(
            air_bits_per_s=0 if report is None else report.air_bits_per_s,
            air_delay_ms=0 if report is None else report.air_delay_ms,
            host_allowance_ms=0 if info is not None and info.in_process else HOST_ALLOWANCE_MS,
            host_bits_per_s=0 if info is None or info.bits_per_s is None else info.bits_per_s,
        )

    async def _linked(self) -> FrameLink:
        if self._link is None:
            link = FrameLink(on_frame=self._frame, on_lost=self._on_lost)
            self._lost = None
            link.attach(await self._opener(link))
            self._raise_if_lost()
            self._link = link
        return self._link

    async def _next(self, channel: ProgrammerChannel) -> ChannelEvent:
        while True:
            for frame in channel.take_frames():
                if self._link is not None:
                    self._link.send(frame)
            events = channel.take_events()
            if events:
                return next((event for event in events if not isinstance(event, Closed)), events[0])
            if self._lost is not None:
                channel.link_lost(self._lost)
                continue
            deadline_ms = channel.next_deadline_ms()
            if deadline_ms is None:
                return Closed()
            await self._wait(deadline_ms)
            channel.tick(self._clock.link_ms())

    async def _wait(self, deadline_ms: int) -> bool:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            return await self._clock.wait(self._waiter, deadline_ms)
        finally:
            self._waiter = None

    def _frame(self, frame: Frame) -> None:
        if frame.type is FrameType.TELEMETER_RSP:
            self._telemeter_said(frame)
        elif frame.type is not FrameType.TELEMETER_EVENT and self._channel is not None:
            self._channel.receive(frame, self._clock.link_ms())
        self._wake()

    def _telemeter_said(self, frame: Frame) -> None:
        try:
            message = decode(frame.body)
        except TelemetryError:
            return  # noise with a good check sum: the request is repeated
        if isinstance(message, TelemeterReport):
            self._reports = {message.tag: message}

    def _on_lost(self, reason: LinkClosedError | None) -> None:
        self._lost = reason or LinkClosedError("the link was closed")
        self._link = None
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            raise self._lost
