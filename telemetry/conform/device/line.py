"""A raw link to a device: frames and bytes as the step wants them, right or wrong, and whatever comes back.

Nothing here repeats, hides or mends anything; what a correct programmer would do stands in ``session.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from telemetry.conform.results import FrameSeen
from telemetry.conform.steps import Blocked
from telemetry.errors import LinkClosedError, LinkError, TelemetryError, UsageError
from telemetry.link import FrameLink, frame_in
from telemetry.protocol.codec import decode, encode
from telemetry.protocol.exchange import LinkPolicy
from telemetry.protocol.frame import Frame, encode_frame
from telemetry.protocol.messages import Message, ReadTelemeter, TelemeterReport
from telemetry.protocol.wire import FrameType

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.clock import Clock
    from telemetry.conform.recorder import Recorder
    from telemetry.transport.base import Receiver, Transport, TransportInfo

HOST_ALLOWANCE_MS = 250
"""What a real host link is given on top of the pump's time, as the driver gives it (protocol.md 13)."""
TELEMETER_TRIES = 4
_TO_PUMP, _FROM_PUMP = "to_pump", "from_pump"
_SHOWN_BYTES = 16


class Target(Protocol):
    """A device that can be linked to; also what ``telemetry.connect(pump=…)`` takes."""

    @property
    def fresh(self) -> bool:
        """Whether it was made for this step and is thrown away after it; any other is left as it was found."""
        ...

    @property
    def clock(self) -> Clock:
        """The clock of the conversation."""
        ...

    async def open_link(self, receiver: Receiver) -> Transport:
        """A link to it; raises ``LinkError``."""
        ...


class Line:
    """One link, open until ``close``. Everything sent and received is told to the recorder."""

    def __init__(self, target: Target, record: Recorder, now_ms: Callable[[], int]) -> None:
        self._target = target
        self._record = record
        self._now_ms = now_ms
        self.clock = target.clock
        self._transport: Transport | None = None
        self._link: FrameLink | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.frames: deque[Frame] = deque()
        """What arrived and was not taken yet."""
        self.lost: str | None = None
        self.peek: Callable[[Frame], Message | None] = lambda _frame: None
        """Opens a sealed frame for the record; a session puts itself here."""
        self._tag = 0
        self.telemeter: TelemeterReport | None = None

    async def open(self) -> None:
        """Open the link; raises ``Blocked`` saying why when it cannot be had."""
        link = FrameLink(on_frame=self._arrived, on_lost=self._went)
        try:
            transport = await self._target.open_link(link)
        except LinkError as error:
            raise Blocked(f"no link to the device: {error}") from error
        link.attach(transport)
        self._link, self._transport = link, transport

    async def close(self) -> None:
        """Close the link; never raises."""
        if self._link is not None:
            await self._link.close()

    @property
    def info(self) -> TransportInfo:
        """What carries the frames."""
        if self._transport is None:
            raise UsageError("the line is not open")
        return self._transport.info

    # --- sending -----------------------------------------------------------------------------------------------------

    def send(self, frame: bytes, fate: str = "") -> None:
        """Send one encoded frame (``encode_frame``), as it is, framed as the link wants it. Raises ``Blocked``."""
        self._show(_TO_PUMP, frame_in(frame) if not fate else None, frame, fate)
        self._write(frame, raw=False)

    def send_bytes(self, data: bytes, what: str = "") -> None:
        """Write bytes (on a datagram link: one datagram) as they are, without framing. Raises ``Blocked``."""
        if what:
            self._show(_TO_PUMP, None, data, what)
        self._write(data, raw=True)

    def _write(self, data: bytes, *, raw: bool) -> None:
        if self._link is None or self._transport is None:
            raise UsageError("the line is not open")
        try:
            if raw:
                self._transport.write(data)
            else:
                self._link.send(data)
        except LinkClosedError as error:
            raise Blocked(f"the link to the device ended: {error}") from error

    # --- receiving ---------------------------------------------------------------------------------------------------

    def _arrived(self, frame: Frame) -> None:
        self._show(_FROM_PUMP, frame, encode_frame(frame), "")
        self.frames.append(frame)
        self._wake()

    def _went(self, reason: LinkClosedError | None) -> None:
        self.lost = str(reason) if reason is not None else "closed"
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def frame(self, fits: Callable[[Frame], bool], within_ms: int) -> Frame | None:
        """The next frame that fits, others are left where they are; None when none comes in time.

        Raises ``Blocked`` when the link ends.
        """
        deadline_ms = self.clock.link_ms() + within_ms
        while True:
            for frame in self.frames:
                if fits(frame):
                    self.frames.remove(frame)
                    return frame
            if self.lost is not None:
                raise Blocked(f"the link to the device ended: {self.lost}")
            if not await self._wait(deadline_ms):
                return None

    async def rest(self, ms: int) -> None:
        """Let link time pass; what arrives meanwhile is kept. Raises ``Blocked`` when the link ends."""
        deadline_ms = self.clock.link_ms() + ms
        while self.clock.link_ms() < deadline_ms:
            if self.lost is not None:
                raise Blocked(f"the link to the device ended: {self.lost}")
            await self._wait(deadline_ms)

    def take(self) -> list[Frame]:
        """Everything that arrived and was not taken yet."""
        taken = list(self.frames)
        self.frames.clear()
        return taken

    async def _wait(self, deadline_ms: int) -> bool:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            return await self.clock.wait(self._waiter, deadline_ms)
        finally:
            self._waiter = None

    # --- the telemeter -----------------------------------------------------------------------------------------------

    @property
    def policy(self) -> LinkPolicy:
        """How long an answer may take on this link, by what the telemeter says of the air."""
        info, report = self.info, self.telemeter
        return LinkPolicy(
            air_bits_per_s=0 if report is None else report.air_bits_per_s,
            air_delay_ms=0 if report is None else report.air_delay_ms,
            host_allowance_ms=0 if info.in_process else HOST_ALLOWANCE_MS,
            host_bits_per_s=info.bits_per_s or 0,
        )

    @property
    def patience_ms(self) -> int:
        """How long to wait before saying that nothing comes: a whole answer's time."""
        return self.policy.deadline_ms(256)

    def telemeter_frame(self, message: Message) -> bytes:
        """A frame of the telemeter plane."""
        return encode_frame(Frame(FrameType.TELEMETER_REQ, 0, encode(message)))

    def next_tag(self) -> int:
        """A tag that no request of this line had."""
        self._tag = (self._tag + 1) % 0x10000
        return self._tag

    async def telemeter_answer(self, tag: int, within_ms: int | None = None) -> Message | None:
        """The telemeter's answer with this tag; None when none comes in time."""

        def fits(frame: Frame) -> bool:
            message = read_telemeter_frame(frame)
            return message is not None and getattr(message, "tag", None) == tag

        frame = await self.frame(fits, self.patience_ms if within_ms is None else within_ms)
        return None if frame is None else read_telemeter_frame(frame)

    async def ask_telemeter(self, *, tries: int = TELEMETER_TRIES) -> TelemeterReport | None:
        """The telemeter's report, asked for as a programmer does; None when it does not answer."""
        tag = self.next_tag()
        for _ in range(tries):
            self.send(self.telemeter_frame(ReadTelemeter(tag=tag)))
            answer = await self.telemeter_answer(tag)
            if isinstance(answer, TelemeterReport):
                self.telemeter = answer
                return answer
        return None

    # --- the record --------------------------------------------------------------------------------------------------

    def _show(self, direction: str, frame: Frame | None, data: bytes, fate: str) -> None:
        name, shown = "bytes", {"hex": data[:_SHOWN_BYTES].hex() + ("…" if len(data) > _SHOWN_BYTES else "")}
        if frame is not None:
            name, shown = frame.type.name, {}
            message = read_telemeter_frame(frame) or self.peek(frame)
            if message is not None:
                name, shown = type(message).__name__, plain_fields(message)
        self._record.frame(
            FrameSeen(at_ms=self._now_ms(), direction=direction, message=name, size=len(data), fields=shown, fate=fate)
        )


def read_telemeter_frame(frame: Frame) -> Message | None:
    """The message of a frame of the telemeter plane, or None."""
    if frame.type in {FrameType.TELEMETER_REQ, FrameType.TELEMETER_RSP, FrameType.TELEMETER_EVENT}:
        with contextlib.suppress(TelemetryError):
            return decode(frame.body)
    return None


def plain_fields(message: object) -> dict[str, str]:
    """The fields of a message as text for the record."""
    if not is_dataclass(message):
        return {}
    return {field.name: _plain(getattr(message, field.name)) for field in fields_of(message)}


def _plain(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return f"[{', '.join(_plain(item) for item in value)}]"
    if is_dataclass(value):
        return " ".join(f"{name}={text}" for name, text in plain_fields(value).items())
    return str(value)
