"""A virtual pump served: clock, pump, state file, telemeter, listeners, back door and runtime file, put together.

Everything or nothing is opened; on leaving, the state is saved, ports are free and links and the runtime file gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import asdict, dataclass, field
from random import Random
from typing import TYPE_CHECKING

from telemetry.clock import ScaledClock, host_utc_s
from telemetry.errors import LinkOpenError, UsageError
from telemetry.link import LAYOUT, Inspector
from telemetry.sim.control import DEFAULT_URL, ControlServer
from telemetry.sim.faults.telling import catalogue_record
from telemetry.sim.nearfield import NearFieldSettings
from telemetry.sim.profiles import DEFAULT_PROFILE, load_profile
from telemetry.sim.pump.device import PUMP_ID_SIZE
from telemetry.sim.runtime import LiveSimulator, RuntimeFile
from telemetry.sim.state_file import StateFile
from telemetry.sim.station import Station
from telemetry.sim.tampering import TAMPERINGS, armed_faults
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.transport.registry import listen
from telemetry.transport.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from telemetry.errors import TelemetryError
    from telemetry.model import PumpEvent
    from telemetry.protocol.channel import PumpChannel

DEFAULT_LISTENERS = ("pty:", "tcp://127.0.0.1:7410")
_SAVE_EVERY_MS = 5_000
"""How much of a pump's life a killed simulator may forget; verdicts are never among it."""
_ENTROPY_BYTES = 8


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """What ``telemetry sim`` is asked for. ``profile`` and ``seed`` None: not said; ``control`` None: no back door."""

    listen: tuple[str, ...] = DEFAULT_LISTENERS
    profile: str | None = None
    seed: int | None = None
    speed: str = "1"
    state: Path | None = None
    control: str | None = DEFAULT_URL
    near_field: NearFieldSettings = field(default_factory=NearFieldSettings)
    age: str | None = None
    """A start state of ``ages.py``; None: not said."""
    serial: str | None = None


class Simulator:
    """An asynchronous context manager that serves one virtual pump while it is open.

    ``on_event`` is told every event of the pump as it happens, ``on_problem`` in one line whatever goes wrong
    meanwhile (a state that cannot be saved). Entering raises ``UsageError`` or ``LinkOpenError``.
    """

    def __init__(
        self,
        settings: SimulatorSettings,
        *,
        on_event: Callable[[PumpEvent], None],
        on_problem: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self._on_event = on_event
        self._on_problem = on_problem
        self._stack = contextlib.AsyncExitStack()
        self._jumped: list[PumpEvent] | None = None
        self.urls: tuple[str, ...] = ()
        self.control_url = ""
        self.resumed = False
        """Whether the pump came from the state file."""
        self.clock: ScaledClock
        self.pump: VirtualPump
        self.station: Station

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _open(self) -> None:
        settings, stack = self.settings, self._stack
        speed = ScaledClock(speed=settings.speed)  # wrong text is refused before anything is opened
        del speed
        store = stack.enter_context(StateFile(settings.state)) if settings.state is not None else None
        saved = store.load() if store is not None else None
        self.pump, self.clock = _continue(settings, saved) if saved is not None else _begin(settings)
        self.resumed = saved is not None
        seed = self.pump.seed
        self.station = Station(
            self.pump,
            entropy=_entropy(seed, self.pump.device.boot_epoch),
            near_field=settings.near_field,
            seed=seed if seed is not None else int.from_bytes(os.urandom(_ENTROPY_BYTES)),
            save=None if store is None else lambda pump: store.save(pump.snapshot()),
            on_event=self._event,
            on_failure=self._state_not_saved,
        )
        if store is not None:
            # A restored pump has a new boot epoch; it must be on disk before anybody can have seen it.
            store.save(self.pump.snapshot())
            stack.callback(self._save_at_the_end)
        stack.push_async_callback(self.station.close)
        self.urls = tuple([await self._listen(url) for url in settings.listen])
        token = ""
        if settings.control is not None:
            server = ControlServer(self, settings.control)
            stack.push_async_callback(server.close)
            await server.start()
            self.control_url, token = server.url, server.token
        who = self.pump.device.identity()
        simulator = LiveSimulator(os.getpid(), self.urls, self.control_url, token, who.model, who.serial)
        stack.callback(RuntimeFile(simulator).close)
        self._start(self.station.run(self.clock), "pump")
        if store is not None:
            self._start(self._save_now_and_then(), "state")

    def _start(self, work: object, name: str) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)  # type: ignore[arg-type]

        async def end() -> None:
            task.cancel()
            await asyncio.wait((task,))  # how it ended was told by _task_ended

        task.add_done_callback(self._task_ended)
        self._stack.push_async_callback(end)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"the simulator's {task.get_name()} task failed", "exception": error}
            )

    async def _listen(self, text: str) -> str:
        parse_url(text)
        try:
            listener = await listen(
                text, self.station.accept, clock=self.clock, annotate=self._inspector().annotate, layout=LAYOUT
            )
        except LinkOpenError as error:
            raise LinkOpenError(f"{error} — {_instead(self.settings.listen, text)}") from error
        self._stack.push_async_callback(listener.close)
        return listener.url

    def _inspector(self) -> Inspector:
        """For a recording at the pump's end: what the pump sealed and opened."""

        def channel() -> PumpChannel:  # a reset pump has another one
            return self.station.firmware.channel

        inspector = Inspector()
        inspector.look_into(
            lambda frame: channel().peek(frame), lambda: channel().export_keys(), lambda: channel().accepted
        )
        return inspector

    async def _save_now_and_then(self) -> None:
        while True:
            await self.clock.sleep_until(self.clock.link_ms() + _SAVE_EVERY_MS)
            self.station.sync()
            self.station.save()

    def _save_at_the_end(self) -> None:
        self.station.sync()
        self.station.save()

    def _state_not_saved(self, error: TelemetryError) -> None:
        self._on_problem(f"{error}; the pump answers nothing that rests on it")

    def _event(self, event: PumpEvent) -> None:
        if self._jumped is not None:
            self._jumped.append(event)
        self._on_event(event)

    # --- the back door -----------------------------------------------------------------------------------------------

    def inspect(self) -> dict[str, object]:
        """Truth beside belief, the drug ledger, alarms, telemeter, sessions and counters."""
        self.station.sync()
        device, telemeter = self.pump.device, self.station.telemeter
        who, ledger = device.identity(), self.pump.ledger
        channel = self.station.firmware.channel
        session = channel.session
        return {
            "pid": os.getpid(),
            "urls": list(self.urls),
            "model": who.model,
            "serial": who.serial,
            "epoch_utc_s": who.epoch_utc_s,
            "now_ms": self.pump.now_ms,
            "speed": self.settings.speed,
            "boot_epoch": device.boot_epoch,
            "belief": _record(self.pump.status),
            "truth": _record(self.pump.truth),
            "ledger": {**_record(ledger), "balance_nl": ledger.balance_nl},
            "alarms": [_record(alarm) for alarm in device.alarms()],
            "telemeter": {
                "serial": telemeter.serial,
                "battery_percent": telemeter.battery_percent,
                "coupling_bars": telemeter.near_field.coupling_bars,
                "contact": telemeter.near_field.contact,
                "frames_to_pump": telemeter.frames_to_pump,
                "frames_from_pump": telemeter.frames_from_pump,
                "frames_lost": telemeter.frames_lost,
            },
            "session": None if session is None else {"slot": session.slot, "role": session.role.value},
            "counters": {name: value for name, value in _record(channel.counters).items() if isinstance(value, int)},
        }

    def advance(self, ms: int) -> dict[str, object]:
        """Jump therapy time: open sessions end; the events that happened, each at its exact instant."""
        self.station.sync()
        from_ms = self.pump.now_ms
        with self._noting() as events:
            self.clock.jump(ms)
            self.station.sync()
        if not self.station.save():
            raise UsageError(f"advance: time passed, but {self.station.failure}")
        return {"from_ms": from_ms, **self._after(events)}

    @contextlib.contextmanager
    def _noting(self) -> Iterator[list[PumpEvent]]:
        """Note the events of the pump meanwhile."""
        noted: list[PumpEvent] = []
        self._jumped = noted
        try:
            yield noted
        finally:
            self._jumped = None

    def _after(self, events: list[PumpEvent]) -> dict[str, object]:
        return {
            "now_ms": self.pump.now_ms,
            "epoch_utc_s": self.pump.device.identity().epoch_utc_s,
            "events": [{"at_ms": event.at_ms, "kind": event.kind, "detail": event.detail} for event in events],
            "alarms": [str(kind) for kind in self.pump.status.alarms],
        }

    def contact(self, coupling_bars: int) -> dict[str, object]:
        """Place the telemeter with so many bars, or lift it with 0."""
        self.station.telemeter.place(coupling_bars)
        near_field = self.station.telemeter.near_field
        return {"coupling_bars": near_field.coupling_bars, "contact": near_field.contact}

    def snapshot(self) -> dict[str, object]:
        """The state of the pump, restorable."""
        self.station.sync()
        return {"snapshot": self.pump.snapshot()}

    def faults(self) -> dict[str, object]:
        """The catalogue, and what is armed."""
        self.station.sync()
        return {"catalogue": catalogue_record(), **armed_faults(self.pump)}

    def tamper(self, act: str, body: Mapping[str, object]) -> dict[str, object]:
        """Do one of ``TAMPERINGS``; what it did, and the events that happened at once."""
        self.station.sync()
        with self._noting() as events:
            done = TAMPERINGS[act].do(self.pump, body)
            self.station.sync()
        if not self.station.save():
            raise UsageError(f"{act}: it was done, but {self.station.failure}")
        return {**done, **self._after(events)}


def is_alarm(kind: str) -> bool:
    """Whether an event of this kind is an alarm beginning or ending."""
    return kind in {"alarm_raised", "alarm_cleared"}


def _record(record: object) -> dict[str, object]:
    return {name: _plain(value) for name, value in asdict(record).items()}  # type: ignore[call-overload]


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _begin(settings: SimulatorSettings) -> tuple[VirtualPump, ScaledClock]:
    clock = ScaledClock(speed=settings.speed)
    pump = VirtualPump(
        settings.profile or DEFAULT_PROFILE,
        settings.seed,
        clock,
        age=settings.age,
        serial=settings.serial,
        epoch_utc_s=host_utc_s(),
        pump_id=os.urandom(PUMP_ID_SIZE) if settings.seed is None else None,
    )
    return pump, clock


def _continue(settings: SimulatorSettings, saved: dict[str, object]) -> tuple[VirtualPump, ScaledClock]:
    """The pump of a state file, from the instant at which it was saved: while it was down, its time stood still."""
    at_ms = VirtualPump.restore(saved).now_ms
    clock = ScaledClock(speed=settings.speed, start_ms=at_ms)
    pump = VirtualPump.restore(saved, clock)
    model = pump.device.identity().model
    if settings.profile is not None and load_profile(settings.profile).model != model:
        raise UsageError(
            f"--profile {settings.profile}: the state file {settings.state} holds a pump {model!r}; leave --profile "
            "out to go on with it, or give another --state"
        )
    if settings.age is not None:
        raise UsageError(
            f"--age {settings.age}: the pump in the state file {settings.state} has an age; leave --age out to go on "
            "with it, or give another --state"
        )
    serial = pump.device.identity().serial
    if settings.serial is not None and settings.serial != serial:
        raise UsageError(
            f"--serial {settings.serial}: the state file {settings.state} holds pump {serial}; leave --serial out to "
            "go on with it, or give another --state"
        )
    if settings.seed is not None and settings.seed != pump.seed:
        held = "no seed" if pump.seed is None else f"seed {pump.seed}"
        raise UsageError(
            f"--seed {settings.seed}: the state file {settings.state} holds a pump made with {held}; leave --seed out "
            "to go on with it, or give another --state"
        )
    return pump, clock


def _entropy(seed: int | None, boot_epoch: int) -> Callable[[int], bytes]:
    """The system's entropy, or a repeatable one that differs from boot to boot (no ephemeral key is used twice)."""
    return os.urandom if seed is None else Random(f"{seed} {boot_epoch}").randbytes  # noqa: S311 - repeatable on purpose


def _instead(listeners: tuple[str, ...], failed: str) -> str:
    others = [url for url in listeners if url != failed]
    scheme = parse_url(failed).scheme
    free = [f"{scheme}://127.0.0.1:0"] if scheme in {"rfc2217", "tcp"} else []
    wanted = [*others, *free] or ["pty:"]
    return "type instead: telemetry sim " + " ".join(f"--listen {url}" for url in wanted)


__all__ = ["DEFAULT_LISTENERS", "Simulator", "SimulatorSettings", "is_alarm"]
