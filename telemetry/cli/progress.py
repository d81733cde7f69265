"""A progress bar on standard error for whatever takes over a second; nothing for what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.cli.output import console
from telemetry.clock import SystemClock

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.progress import Progress, TaskID

    from telemetry.clock import Clock

_AFTER_MS = 1_000


class LateProgress:
    """A context manager; ``update(done, total)`` shows the bar once a second has passed."""

    def __init__(self, what: str, clock: Clock | None = None) -> None:
        self._what = what
        self._clock = clock if clock is not None else SystemClock()
        self._since_ms = self._clock.link_ms()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, total: int) -> None:
        """Say how far it is."""
        if self._bar is None and self._clock.link_ms() - self._since_ms < _AFTER_MS:
            return
        if self._bar is None:
            from rich.progress import Progress  # noqa: PLC0415 - most calls never come here

            self._bar = Progress(console=console(stderr=True), transient=True)
            self._task = self._bar.add_task(self._what, total=total)
            self._bar.start()
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total)
