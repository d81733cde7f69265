"""The event loop of the virtual lane: no sockets, no host time, no silent waiting.

Virtual time and operating-system I/O must never meet: a timer on one clock racing bytes on the other gives answers that
depend on the machine. On this loop they cannot. Everything a test waits for has to be another coroutine, and time is
whatever its `ManualClock` says. If nothing can run any more, the test fails at once and says who waits where.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

ADVICE = "mark the test `real` if it needs the operating system, or wait on a ManualClock and the memory transport"


class VirtualLaneError(RuntimeError):
    """The virtual lane was asked for something that only the host can give."""


class VirtualDeadlock(VirtualLaneError):
    """Nothing is ready and nothing can become ready."""


def _where(task: asyncio.Task[Any]) -> str:
    """Follow the awaits inwards: the outermost line says which test, the innermost what it waits for."""
    places: list[str] = []
    awaited: Any = task.get_coro()
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        code = frame.f_code
        places.append(f"{code.co_qualname} ({code.co_filename.rpartition('/')[2]}:{frame.f_lineno})")
        awaited = awaited.cr_await
    return f"{task.get_name()}: {' > '.join(places) or 'ended'}"


def describe_waiting(loop: asyncio.AbstractEventLoop) -> str:
    """One line per unfinished task of the loop, with the place at which it waits."""
    return "\n".join(sorted(f"  {_where(task)}" for task in asyncio.all_tasks(loop))) or "  (no task at all)"


class _NoSelector:
    """Stands where the selector would, and is asked to block exactly when nothing can happen any more."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        # The loop asks for 0 s while callbacks are ready, for `None` when it would wait for the outside world.
        if timeout is None:
            raise VirtualDeadlock(
                "deadlock: nothing is ready and nobody is left to advance the clock; waiting:\n"
                + describe_waiting(self._loop),
            )
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop that runs callbacks and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _NoSelector(self)

    # What BaseEventLoop expects of its platform half follows.

    def _process_events(self, event_list: list[Any]) -> None:
        """Nothing ever comes from outside."""

    def _write_to_self(self) -> None:
        """There is no selector to wake."""

    def time(self) -> float:
        """Stand still: host time has no place here, and asyncio's own bookkeeping needs only some number."""
        return 0.0


# Every door of asyncio to the operating system, by name and by what it would open; a test compares this list with the
# loop's own methods, so that a door added by a later Python is seen.
_REFUSED = {
    "timer on host time (asyncio.sleep, timeout, wait_for)": ("call_at", "call_later"),
    "thread (asyncio.to_thread)": ("run_in_executor",),
    "signal handler": ("add_signal_handler", "remove_signal_handler"),
    "child process": ("subprocess_exec", "subprocess_shell"),
    "I/O": (
        "add_reader",
        "add_writer",
        "connect_accepted_socket",
        "connect_read_pipe",
        "connect_write_pipe",
        "create_connection",
        "create_datagram_endpoint",
        "create_server",
        "create_unix_connection",
        "create_unix_server",
        "getaddrinfo",
        "getnameinfo",
        "remove_reader",
        "remove_writer",
        "sendfile",
        "sock_accept",
        "sock_connect",
        "sock_recv",
        "sock_recv_into",
        "sock_recvfrom",
        "sock_recvfrom_into",
        "sock_sendall",
        "sock_sendfile",
        "sock_sendto",
        "start_tls",
    ),
}
REFUSED_METHODS = frozenset(name for names in _REFUSED.values() for name in names)


def _refusing(what: str, name: str) -> Callable[..., NoReturn]:
    def method(_self: VirtualLoop, *_args: object, **_kwargs: object) -> NoReturn:
        raise VirtualLaneError(f"the virtual lane has no {what}: {name} was called; {ADVICE}")

    method.__name__ = name
    method.__qualname__ = f"VirtualLoop.{name}"
    return method


for _what, _names in _REFUSED.items():
    for _name in _names:
        setattr(VirtualLoop, _name, _refusing(_what, _name))
