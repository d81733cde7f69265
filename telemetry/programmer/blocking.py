"""The same driver for code without an event loop: its own runner in the calling thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from telemetry.errors import UsageError
from telemetry.model import StopReason
from telemetry.programmer.opening import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from telemetry.model import (
        Alarm,
        AlarmKind,
        Change,
        Identity,
        LogReport,
        ProgramReport,
        PumpLimits,
        PumpStatus,
        TelemeterInfo,
        Therapy,
        Warn,
    )
    from telemetry.programmer.client import Programmer
    from telemetry.programmer.records import Outcome, Proposal
    from telemetry.units import DailyDose, FlowRate, HourlyDose

_Result = TypeVar("_Result")


def connect_sync(url: str | None = None, **options: Any) -> BlockingProgrammer:  # noqa: ANN401 - handed to connect
    """Like ``connect``, blocking; a context manager. Raises ``UsageError`` inside a running event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return BlockingProgrammer(lambda: connect(url, **options))
    raise UsageError("connect_sync: an event loop is running in this thread; use 'async with telemetry.connect(…)'")


class BlockingProgrammer:
    """``Programmer`` with blocking calls; see there for what each returns and raises."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._runner = asyncio.Runner()
        self._closed = False
        try:
            self._programmer: Programmer = self._runner.run(make().__aenter__())
        except BaseException:
            self._runner.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, call: Coroutine[Any, Any, _Result]) -> _Result:
        if self._closed:
            call.close()
            raise UsageError("this programmer is closed; connect again")
        return self._runner.run(call)

    def close(self) -> None:
        """Close session, link and event loop. Idempotent."""
        if self._closed:
            return
        try:
            self._runner.run(self._programmer.close())
        finally:
            self._closed = True
            self._runner.close()

    def release(self) -> None:
        """Close the session only."""
        self._run(self._programmer.release())

    @property
    def resolved(self) -> tuple[Outcome, ...]:
        """Outcomes of earlier operations that the pump has told since."""
        return self._programmer.resolved

    def read_telemeter(self) -> TelemeterInfo:
        """Ask the telemeter about itself."""
        return self._run(self._programmer.read_telemeter())

    def read_identity(self) -> Identity:
        """Who the pump is."""
        return self._run(self._programmer.read_identity())

    def read_status(self) -> PumpStatus:
        """What the pump says of itself."""
        return self._run(self._programmer.read_status())

    def read_program(self) -> ProgramReport:
        """The committed program."""
        return self._run(self._programmer.read_program())

    def read_limits(self) -> PumpLimits:
        """The limits the pump enforces."""
        return self._run(self._programmer.read_limits())

    def read_alarms(self) -> tuple[Alarm, ...]:
        """Every alarm that is present, latched or silenced."""
        return self._run(self._programmer.read_alarms())

    def read_log(self, since: int = 0, progress: Callable[[int, int], None] | None = None) -> LogReport:
        """The pump's event log from a sequence number on."""
        return self._run(self._programmer.read_log(since, progress))

    def set_rate(
        self,
        rate: FlowRate | DailyDose | HourlyDose,
        *,
        accept: Iterable[Warn | str] = (),
        confirm: Callable[[Proposal], bool] | None = None,
    ) -> Change:
        """Change to a simple continuous therapy."""
        return self._run(self._programmer.set_rate(rate, accept=accept, confirm=_asked(confirm)))

    def program(
        self,
        therapy: Therapy,
        *,
        accept: Iterable[Warn | str] = (),
        confirm: Callable[[Proposal], bool] | None = None,
    ) -> Change:
        """Change to this therapy."""
        return self._run(self._programmer.program(therapy, accept=accept, confirm=_asked(confirm)))

    def resume(self, *, accept: Iterable[Warn | str] = (), confirm: Callable[[Proposal], bool] | None = None) -> Change:
        """Start the committed program again."""
        return self._run(self._programmer.resume(accept=accept, confirm=_asked(confirm)))

    def stop(self, reason: StopReason = StopReason.CLINICAL) -> Change:
        """Stop delivery at once."""
        return self._run(self._programmer.stop(reason))

    def silence_alarm(self, duration_ms: int = 600_000) -> tuple[Alarm, ...]:
        """Silence what sounds now for a time."""
        return self._run(self._programmer.silence_alarm(duration_ms))

    def acknowledge_alarm(self, kind: AlarmKind) -> tuple[Alarm, ...]:
        """Acknowledge an alarm."""
        return self._run(self._programmer.acknowledge_alarm(kind))

    def outcome(self, transaction: str) -> Outcome:
        """What became of an operation."""
        return self._run(self._programmer.outcome(transaction))

    def settle(self, transaction: str, note: str) -> None:
        """Close an operation whose outcome the pump has forgotten."""
        self._run(self._programmer.settle(transaction, note))

    def alarms(self, poll_ms: int = 2_000) -> Iterator[Alarm]:
        """Alarms as they come; never ends by itself."""
        stream = self._programmer.alarms(poll_ms)
        try:
            while True:
                yield self._run(anext(stream))  # type: ignore[arg-type]
        finally:
            if not self._closed:
                self._runner.run(stream.aclose())  # type: ignore[attr-defined]


def _asked(confirm: Callable[[Proposal], bool] | None) -> Callable[[Proposal], Coroutine[Any, Any, bool]] | None:
    if confirm is None:
        return None
    ask = confirm

    async def asked(proposal: Proposal) -> bool:
        return ask(proposal)

    return asked
