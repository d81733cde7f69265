"""What makes a bench for each step: a device in this process, new each time, or the one behind a URL.

``DeviceKit`` is the runner's kit (``steps.Kit``); ``examine`` looks at a device once, before any step, and says what of
the catalogue is for it and what is left out, and why.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from telemetry.clock import SystemClock, host_utc_s
from telemetry.conform.device.bench import Bench
from telemetry.conform.device.catalogue import FEATURES
from telemetry.conform.recorder import Recorder
from telemetry.conform.results import Deviation, Equipment
from telemetry.conform.steps import Blocked, StepEnd
from telemetry.errors import LinkError
from telemetry.link import LAYOUT
from telemetry.model import Role
from telemetry.protocol import messages as wire
from telemetry.sim.connector import station_of
from telemetry.sim.virtual_pump import FIXED_EPOCH_UTC_S, VirtualPump
from telemetry.transport.capture import CaptureWriter
from telemetry.transport.memory import open_memory
from telemetry.transport.registry import open_transport
from telemetry.transport.url import parse_url
from telemetry.transport.wrappers import Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

    from telemetry.clock import Clock
    from telemetry.conform.steps import Step
    from telemetry.protocol.credentials import Credential
    from telemetry.sim.station import Station
    from telemetry.transport.base import Receiver, Transport

IN_PROCESS = "in process"
LEFT_OUT = {
    "changes": "the device is not simulated and --arm was not given: nothing of it may be changed",
    "roles": "no credential of every role is at hand",
    "stream": "the link carries datagrams, which are never cut",
    "long": "ten minutes of the host's clock; name the step with --steps to have it",
    "bolus": "the therapy may not be changed",
    "schedule": "the therapy may not be changed",
}
"""Why steps that need a feature are left out where it is missing."""


class StationTarget:
    """A telemeter over a device in this process, made for one step. ``datagrams`` False: the link is a stream."""

    fresh = True

    def __init__(self, station: Station, *, datagrams: bool = False) -> None:
        self.station = station
        self.clock: Clock = station.clock
        self._datagrams = datagrams

    async def open_link(self, receiver: Receiver) -> Transport:
        """A link to its telemeter."""
        return open_memory(
            receiver, self.station.accept, clock=self.clock, datagrams=self._datagrams, url="memory:conform"
        )


class _Shared(Record):
    """One link in a capture that has several at once; ``ended`` is called once, when it writes no more."""

    def __init__(self, writer: CaptureWriter, clock: Clock, ended: Callable[[], None]) -> None:
        super().__init__(writer, clock, owns=False)
        self._told: Callable[[], None] | None = ended

    def release(self) -> None:
        """Give up the capture."""
        told, self._told = self._told, None
        if told is not None:
            told()


class UrlTarget:
    """The device behind a URL, the same for every step.

    A capture (``record=FILE``) is one for all its links: steps open a second while the first is open.
    """

    fresh = False

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self.url = url
        parsed = parse_url(url)
        self._capture = Path(parsed.params["record"]) if "record" in parsed.params else None
        self._parsed = parsed.without(["record"])
        self._writer: CaptureWriter | None = None
        self._recorded = 0
        self.clock: Clock = SystemClock() if clock is None else clock

    async def open_link(self, receiver: Receiver) -> Transport:
        """A link to its telemeter; raises ``LinkError``, ``UsageError``."""
        if self._capture is None:
            return await open_transport(self._parsed, receiver, clock=self.clock)
        if self._writer is None:
            simulated = True if self._parsed.scheme == "sim" else None
            self._writer = CaptureWriter(self._capture, self.clock, simulated=simulated, layout=LAYOUT)
        self._recorded += 1
        recorded = _Shared(self._writer, self.clock, self._let_go)
        recorded.bind(receiver)
        try:
            recorded.attach(await open_transport(self._parsed, recorded, clock=self.clock))
        except BaseException:
            recorded.release()
            raise
        return recorded

    def _let_go(self) -> None:
        """The file is free between steps, so that a run that is killed leaves it whole."""
        self._recorded -= 1
        if self._recorded == 0 and self._writer is not None:
            self._writer.close()
            self._writer = None


def own_device(seed: int) -> StationTarget:
    """Our own virtual pump, new, under a telemeter of its own."""
    return StationTarget(station_of(VirtualPump("itb-40", seed=seed)))


class DeviceKit:
    """Makes benches. Give ``make`` for a device of this process, called with the seed for each step, or ``url``.

    Everything random comes from ``seed`` in process, and from the system where the device is not simulated by us.
    Raises ``UsageError`` for a wrong URL.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        make: Callable[[int], StationTarget] | None = None,
        seed: int = 0,
        clock: Clock | None = None,
        credentials: Mapping[Role, Credential] | None = None,
    ) -> None:
        self._make = own_device if make is None and url is None else make
        self._target = None if url is None else UrlTarget(url, clock)
        self._seed = seed
        self._credentials = credentials
        self.link = IN_PROCESS if url is None else url
        self._began_ms = 0 if self._target is None else self._target.clock.link_ms()
        self._now: Callable[[], int] = self._clock_of(self._target)
        self._past_ms = 0
        self._made = 0

    def _clock_of(self, target: UrlTarget | None) -> Callable[[], int]:
        return (lambda: 0) if target is None else (lambda: target.clock.link_ms() - self._began_ms)

    def now_ms(self) -> int:
        """Link time since the kit was made, ms; in process the steps' clocks one after the other."""
        return self._past_ms + self._now()

    def bench(self, record: Recorder) -> Bench:
        """A bench that nobody has used."""
        self._made += 1
        random = Random(f"conform device {self._seed} {self._made}")  # noqa: S311 - repeatable on purpose
        target: StationTarget | UrlTarget
        if self._target is not None:
            target, entropy, utc_s = self._target, os.urandom, host_utc_s()
        else:
            assert self._make is not None  # noqa: S101 - one of the two is given
            target, entropy, utc_s = self._make(self._seed), random.randbytes, FIXED_EPOCH_UTC_S
            self._past_ms, self._now = self.now_ms(), target.clock.link_ms
        return Bench(target, record, self.now_ms, entropy=entropy, utc_s=utc_s, credentials=self._credentials)

    @asynccontextmanager
    async def stage(self, step: Step[Bench], record: Recorder) -> AsyncIterator[Bench]:
        """A bench for one step; what the step changed is put back, and everything closed."""
        del step
        bench = self.bench(record)
        try:
            yield bench
        finally:
            await bench.close()

    async def examine(self, *, arm: bool = False, wanted: Collection[str] = ()) -> Found:
        """Look at the device once. ``wanted``: features to take although they are left out by themselves (``long``).

        Raises ``LinkError`` when it cannot be met.
        """
        bench = self.bench(Recorder(self.now_ms))
        try:
            return await _examine(bench, self._target is None, arm=arm, wanted=wanted)
        except Blocked as blocked:
            raise LinkError(f"{self.link}: {blocked.reason}") from blocked
        except StepEnd as end:
            raise LinkError(f"{self.link}: {end.reason}; it cannot be examined") from end
        finally:
            await bench.close()


@dataclass(frozen=True, slots=True)
class Found:
    """What a first look says: whether it is simulated, what it may be asked, and what is left out."""

    simulated: bool
    claims: tuple[str, ...]
    equipment: tuple[Equipment, ...]
    deviations: tuple[Deviation, ...] = field(default=())


async def _examine(bench: Bench, in_process: bool, *, arm: bool, wanted: Collection[str]) -> Found:  # noqa: FBT001 - as made
    line = await bench.line()
    session = await bench.session(line, Role.CLINICIAN)
    identity = await bench.ask(session, wire.ReadIdentity(), wire.Identity)
    simulated = identity.simulated and session.greeting.offer.test_device
    claims = {"itp/1"}
    if not line.info.datagrams:
        claims.add("stream")
    if session.greeting.credential.test:
        claims.add("roles")
    if simulated or arm:
        claims |= {"changes", "bolus", "schedule"}
    if in_process or "long" in wanted:
        claims.add("long")
    mark = " SIMULATED" if simulated and "SIMULATED" not in identity.model else ""
    report = line.telemeter
    equipment = (
        Equipment(
            role="under_test",
            name="pump",
            model=f"{identity.model}{mark}",
            version=f"{identity.firmware:#010x}",
            serial=identity.serial,
            simulated=simulated,
        ),
        Equipment(
            role="under_test",
            name="telemeter",
            model="SIMULATED telemeter" if report is not None and report.simulated else "telemeter",
            version="" if report is None else f"{report.firmware:#010x}",
            serial="" if report is None else report.serial,
            simulated=report is not None and report.simulated,
        ),
    )
    left = tuple(
        Deviation(step="", text=f"steps that need {name!r} were left out: {LEFT_OUT[name]}")
        for name in FEATURES
        if name not in claims
    )
    return Found(simulated, tuple(name for name in FEATURES if name in claims), equipment, left)
