"""``connect`` and ``connect_sync``: from a URL, or from a pump in this process, to a ``Programmer``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from telemetry.clock import ManualClock, SystemClock, host_utc_s
from telemetry.errors import UsageError
from telemetry.link import LAYOUT, Inspector
from telemetry.model import Role
from telemetry.programmer.client import Programmer
from telemetry.programmer.connection import PumpConnection
from telemetry.programmer.journal import FileJournalStore, JournalStore, MemoryJournalStore
from telemetry.protocol.credentials import Credential, test_credential
from telemetry.transport.registry import check_backend, open_transport
from telemetry.transport.url import parse_url
from telemetry.transport.wrappers import Fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from telemetry.clock import Clock
    from telemetry.transport.base import Receiver, Transport
    from telemetry.transport.ble_scan import BleBackend
    from telemetry.transport.faults import FaultPlan

_IN_PROCESS = frozenset({"sim", "replay"})
"""Schemes whose pump lives in this process: its journal is kept no longer than it is."""


class LinkedPump(Protocol):
    """A virtual pump in this process: it has a clock and lays a telemeter with a link on itself."""

    @property
    def clock(self) -> Clock:
        """The clock that the pump runs on."""
        ...

    async def open_link(self, receiver: Receiver) -> Transport:
        """A link to a telemeter that lies over this pump."""
        ...


_JOURNALS_OF_PUMPS: WeakKeyDictionary[object, MemoryJournalStore] = WeakKeyDictionary()
"""A pump in this process keeps its programmers' journal for as long as it lives, and no longer."""


class Connecting:
    """What ``connect`` returns: an asynchronous context manager that gives a ``Programmer`` and closes it."""

    def __init__(self, programmer: Programmer) -> None:
        self._programmer = programmer

    async def __aenter__(self) -> Programmer:
        return self._programmer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._programmer.close()


def connect(  # noqa: PLR0913 - every one has a default
    url: str | None = None,
    *,
    pump: LinkedPump | None = None,
    clock: Clock | None = None,
    credentials: Credential | None = None,
    role: Role | str = Role.CLINICIAN,
    journal: JournalStore | str | Path | None = None,
    faults: FaultPlan | None = None,
    backend: BleBackend | None = None,
    entropy: Callable[[int], bytes] = os.urandom,
    arm: bool = False,
) -> Connecting:
    """Give a ``Programmer`` for a telemeter at ``url``, or for a ``VirtualPump`` in this process.

    Nothing is opened before the first call. Without ``credentials`` the published test credential is used, which
    opens test devices only; ``arm=True`` with credentials of your own is for hardware. ``journal`` is a folder or a
    store; the default lies under the XDG state folder, and in memory for a pump that lives in this process.
    ``faults`` damages what the link carries, by message name where a rule says so. ``backend`` is what has bleak's
    backend classes for this connection alone, such as a ``BumbleAdapter``; for ``ble:`` URLs only.
    Raises ``UsageError`` for a wrong URL, role or combination.
    """
    if (url is None) == (pump is None):
        raise UsageError("connect: give either a URL such as 'sim:' or 'tcp://127.0.0.1:7410', or pump=")
    try:
        wanted = Role(role)
    except ValueError as error:
        raise UsageError(f"role: {role!r} is unknown; one of: {', '.join(known.value for known in Role)}") from error
    credential = credentials if credentials is not None else test_credential(wanted)
    if credential.test == arm:
        raise UsageError(
            "arm: the published test credential opens test devices only; arm=True needs credentials= of the hardware"
            if arm
            else "arm: these credentials open real hardware; say arm=True if that is meant"
        )
    inspector = Inspector()
    if pump is not None:
        if clock is not None and clock is not pump.clock:
            raise UsageError("clock: a pump in this process brings its own; leave clock= out")
        check_backend(None, backend)
        clock = pump.clock
        opener = _opener_of_pump(pump, clock, inspector, faults)
        store: JournalStore = _JOURNALS_OF_PUMPS.setdefault(pump, MemoryJournalStore())
    else:
        parsed = parse_url(url or "")
        check_backend(parsed, backend)
        in_process = parsed.scheme in _IN_PROCESS
        if clock is None:
            clock = ManualClock() if in_process else SystemClock()
        if isinstance(clock, ManualClock) and not in_process:
            raise UsageError(f"clock: a ManualClock must not race real I/O ({url}); leave clock= out")
        link_clock = clock

        async def opener(receiver: Receiver) -> Transport:
            return await open_transport(
                parsed,
                receiver,
                clock=link_clock,
                classifier=inspector.classify,
                annotate=inspector.annotate,
                faults=faults,
                backend=backend,
                layout=LAYOUT,
            )

        store = MemoryJournalStore() if in_process else FileJournalStore()
    if isinstance(journal, str | Path):
        store = FileJournalStore(Path(journal))
    elif journal is not None:
        store = journal
    connection = PumpConnection(
        opener,
        clock=clock,
        credential=credential,
        want_role=wanted,
        entropy=entropy,
        utc_s=host_utc_s,
        emergency=wanted is Role.EMERGENCY,
    )
    inspector.look_into(connection.peek, connection.session_keys, connection.accepted)
    return Connecting(Programmer(connection, clock=clock, journals=store, entropy=entropy, utc_s=host_utc_s))


def _opener_of_pump(
    pump: LinkedPump, clock: Clock, inspector: Inspector, faults: FaultPlan | None
) -> Callable[[Receiver], Awaitable[Transport]]:
    if faults is None:
        return pump.open_link
    plan = faults

    async def opener(receiver: Receiver) -> Transport:
        faulty = Fault(plan, clock, classifier=inspector.classify)
        faulty.bind(receiver)
        faulty.attach(await pump.open_link(faulty))
        return faulty

    return opener
