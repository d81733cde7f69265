"""Makes the stages of a programmer's run: in process on a ``ManualClock``, or behind a listener on the host's clock."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Self

from telemetry.clock import Clock, ManualClock, SystemClock, host_utc_s
from telemetry.conform.bedside import Bedside
from telemetry.conform.own import Tablet
from telemetry.conform.programmer.bench import Bench
from telemetry.conform.steps import Blocked
from telemetry.errors import LinkClosedError
from telemetry.protocol.plain import describe
from telemetry.transport.capture import Annotation
from telemetry.transport.registry import listen
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from telemetry.conform.manifest import Manifest
    from telemetry.conform.operator import Operator
    from telemetry.conform.recorder import Recorder
    from telemetry.conform.steps import Step
    from telemetry.transport.base import Listener, Receiver, Transport

IN_PROCESS = "in process"


class ProgrammerKit:
    """The kit around one operator. It is itself the place that equipment in process connects to (``LinkedPump``)."""

    def __init__(self, manifest: Manifest, *, seed: int, clock: Clock) -> None:
        self.manifest = manifest
        self.seed = seed
        self.clock = clock
        self.operator: Operator
        self._bench: Bench | None = None

    @property
    def link(self) -> str:
        """Where the equipment is met."""
        return IN_PROCESS

    def now_ms(self) -> int:
        """Link time."""
        return self.clock.link_ms()

    @contextlib.asynccontextmanager
    async def stage(self, step: Step[Bench], record: Recorder) -> AsyncIterator[Bench]:
        """A fresh pump for one step; its serial number names the step."""

        def make(settings: dict[str, Any]) -> Bedside:
            if not isinstance(self.clock, ManualClock):
                settings = {"epoch_utc_s": host_utc_s() - self.clock.therapy_ms() // MS_PER_SECOND, **settings}
            return Bedside(self.clock, record, seed=self.seed, serial=f"SIM-{step.number}", **settings)

        self._bench = bench = Bench(record, self.operator, self.manifest, make)
        verdict = "blocked"
        try:
            await self.operator.begin(step.number, step.title)
            yield bench
            if not record.frames_seen:
                raise Blocked(f"nothing came from the equipment in this step: is it connected to {self.link}?")
            verdict = "fail" if record.findings else "pass"
        finally:
            self._bench = None
            try:
                await self.operator.end(step.number, verdict)
            finally:
                await bench.close()

    async def open_link(self, receiver: Receiver) -> Transport:
        """A link for equipment in process; raises ``LinkClosedError`` between two steps."""
        if self._bench is None:
            raise LinkClosedError("conform: no step is running, so that there is no pump")
        return await self._bench.bedside.open_link(receiver)

    def accept(self, transport: Transport) -> Receiver:
        """A link from a listener: it meets the pump of the step that runs."""
        return self._meet(transport) or _Waiting(transport, self._meet)

    def _meet(self, transport: Transport) -> Receiver | None:
        return None if self._bench is None else self._bench.bedside.accept(transport)


class OwnKit(ProgrammerKit):
    """Our own tablet, or another ``Tablet``, in process: the whole run takes seconds and is the same for its seed."""

    def __init__(
        self, manifest: Manifest, *, seed: int = 0, tablet: Callable[..., Tablet] = Tablet, clock: Clock | None = None
    ) -> None:
        super().__init__(manifest, seed=seed, clock=ManualClock() if clock is None else clock)
        self.operator = tablet(self, seed=seed)


class ServedKit(ProgrammerKit):
    """Equipment that connects to a listener; an asynchronous context manager that offers it.

    Entering raises ``UsageError`` or ``LinkOpenError`` for the listener's URL.
    """

    def __init__(self, manifest: Manifest, url: str, operator: Operator, *, seed: int = 0) -> None:
        super().__init__(manifest, seed=seed, clock=SystemClock())
        self.operator = operator
        self.url = url
        self._listener: Listener | None = None

    @property
    def link(self) -> str:
        """The listener's URL, with the port that it got."""
        return self.url if self._listener is None else self._listener.url

    async def __aenter__(self) -> Self:
        self._listener = await listen(self.url, self.accept, clock=self.clock, annotate=self._annotate)
        return self

    def _annotate(self, _direction: str, data: bytes) -> Annotation | None:
        """What a recorder may add to a frame: its message, opened with the pump's own keys."""
        message = None if self._bench is None else self._bench.bedside.opened(data)
        return None if message is None else Annotation(message=describe(message), keys=None)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            await self._listener.close()


class _Waiting:
    """A link that came between two steps: nothing answers, until a step begins that it belongs to."""

    def __init__(self, transport: Transport, find: Callable[[Transport], Receiver | None]) -> None:
        self._transport = transport
        self._find = find
        self._found: Receiver | None = None

    def data_received(self, data: bytes) -> None:
        """Hand it on, or drop it as a telemeter that is switched off does."""
        if self._found is None:
            self._found = self._find(self._transport)
        if self._found is not None:
            self._found.data_received(data)

    def connection_lost(self, reason: LinkClosedError | None) -> None:
        """The equipment went away."""
        if self._found is not None:
            self._found.connection_lost(reason)


__all__ = ["IN_PROCESS", "OwnKit", "ProgrammerKit", "ServedKit"]
