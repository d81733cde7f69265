"""The same driver for code without an event loop: its own runner in the calling thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from telemetry.clock import host_utc_ms
from telemetry.errors import UsageError
from telemetry.model import StopReason
from telemetry.programmer.opening import connect
from telemetry.programmer.refilling import MARGIN_MS
from telemetry.units import Duration, Volume

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
    from datetime import date
    from types import TracebackType
    from typing import Self

    from telemetry.interrogation import Sighting
    from telemetry.model import (
        Alarm,
        AlarmKind,
        Change,
        DeliveryReport,
        Identity,
        LogReport,
        PumpLimits,
        PumpStatus,
        TelemeterInfo,
        Warn,
    )
    from telemetry.programmer.client import Programmer
    from telemetry.programmer.prescription import Prescription
    from telemetry.programmer.reading import LastFill
    from telemetry.programmer.records import Applied, Outcome, Proposal, PumpRules
    from telemetry.programmer.refilling import RefillResult
    from telemetry.programmer.workflows import ImplantResult, ReplacementResult
    from telemetry.protocol.messages import ContactEvent
    from telemetry.therapy import AlarmSettings, Amount, ProgramBridge, ProgramReport, Therapy
    from telemetry.units import Concentration, DailyDose, FlowRate, HourlyDose

    Ask = Callable[[Proposal], bool]

_One = TypeVar("_One")
_Result = TypeVar("_Result")
_Shown = TypeVar("_Shown")


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

    def watch_contact(self, on_contact: Callable[[ContactEvent], None]) -> None:
        """Have the telemeter report contact; the events are told while another call runs."""
        self._run(self._programmer.watch_contact(on_contact))

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

    def read_rules(self) -> PumpRules:
        """What the pump allows besides its limits."""
        return self._run(self._programmer.read_rules())

    def read_delivery(self) -> DeliveryReport:
        """What runs on top of the program now, and what was given in the last hours."""
        return self._run(self._programmer.read_delivery())

    def read_alarm_settings(self) -> AlarmSettings:
        """What a clinician may set of the alarms, as it is."""
        return self._run(self._programmer.read_alarm_settings())

    def read_prescription(self) -> Prescription:
        """Everything of this pump that its successor is to carry on."""
        return self._run(self._programmer.read_prescription())

    def last_fill(self, generation: int) -> LastFill | None:
        """What the pump was told at its last refill."""
        return self._run(self._programmer.last_fill(generation))

    def set_rate(
        self, rate: FlowRate | DailyDose | HourlyDose, *, accept: Iterable[Warn | str] = (), confirm: Ask | None = None
    ) -> Applied:
        """Change to a simple continuous therapy."""
        return self._run(self._programmer.set_rate(rate, accept=accept, confirm=_asked(confirm)))

    def program(
        self,
        therapy: Therapy,
        *,
        bridge: bool | ProgramBridge = True,
        accept: Iterable[Warn | str] = (),
        confirm: Ask | None = None,
    ) -> Applied:
        """Change to this therapy."""
        return self._run(self._programmer.program(therapy, bridge=bridge, accept=accept, confirm=_asked(confirm)))

    def titrate(self, step_ppm: int, *, accept: Iterable[Warn | str] = (), confirm: Ask | None = None) -> Applied:
        """Change every rate of the committed program by a share."""
        return self._run(self._programmer.titrate(step_ppm, accept=accept, confirm=_asked(confirm)))

    def bolus(
        self, amount: Amount, duration: Duration, *, accept: Iterable[Warn | str] = (), confirm: Ask | None = None
    ) -> Applied:
        """Give one bolus from the commit on."""
        return self._run(self._programmer.bolus(amount, duration, accept=accept, confirm=_asked(confirm)))

    def prime(
        self,
        volume: Volume | None = None,
        *,
        where: str = "catheter",
        rate: FlowRate | None = None,
        accept: Iterable[Warn | str] = (),
        confirm: Ask | None = None,
    ) -> Applied:
        """Fill tubing or catheter fast."""
        return self._run(self._programmer.prime(volume, where=where, rate=rate, accept=accept, confirm=_asked(confirm)))

    def refill(  # noqa: PLR0913 - what a refill tells
        self,
        volume: Volume,
        concentration: Concentration | None = None,
        therapy: Therapy | None = None,
        *,
        withdrawn: Volume,
        bridge: bool | ProgramBridge = True,
        expires: date | None = None,
        previous_fill: Volume | None = None,
        margin: Duration = Duration(MARGIN_MS),  # noqa: B008 - a frozen quantity
        accept: Iterable[Warn | str] = (),
        confirm: Ask | None = None,
    ) -> RefillResult:
        """Tell the pump of a refill as one prescription."""
        return self._run(
            self._programmer.refill(
                volume,
                concentration,
                therapy,
                withdrawn=withdrawn,
                bridge=bridge,
                expires=expires,
                previous_fill=previous_fill,
                margin=margin,
                accept=accept,
                confirm=_asked(confirm),
            )
        )

    def implant(  # noqa: PLR0913 - what an implantation tells
        self,
        volume: Volume,
        concentration: Concentration,
        therapy: Therapy,
        *,
        withdrawn: Volume = Volume(0),  # noqa: B008 - a frozen quantity
        calibration_ppm: int | None = None,
        where: str = "path",
        expires: date | None = None,
        accept: Iterable[Warn | str] = (),
        confirm: Ask | None = None,
    ) -> ImplantResult:
        """Start a new pump: first filling, therapy, prime."""
        return self._run(
            self._programmer.implant(
                volume,
                concentration,
                therapy,
                withdrawn=withdrawn,
                calibration_ppm=calibration_ppm,
                where=where,
                expires=expires,
                accept=accept,
                confirm=_asked(confirm),
            )
        )

    def replace(  # noqa: PLR0913 - what a replacement tells
        self,
        prescription: Prescription,
        volume: Volume,
        concentration: Concentration | None = None,
        *,
        withdrawn: Volume = Volume(0),  # noqa: B008 - a frozen quantity
        calibration_ppm: int | None = None,
        tubing_primed: bool = False,
        bridge: bool = True,
        expires: date | None = None,
        accept: Iterable[Warn | str] = (),
        confirm: Ask | None = None,
    ) -> ReplacementResult:
        """Carry an old pump's prescription to this one."""
        return self._run(
            self._programmer.replace(
                prescription,
                volume,
                concentration,
                withdrawn=withdrawn,
                calibration_ppm=calibration_ppm,
                tubing_primed=tubing_primed,
                bridge=bridge,
                expires=expires,
                accept=accept,
                confirm=_asked(confirm),
            )
        )

    def set_limits(
        self, limits: PumpLimits, *, accept: Iterable[Warn | str] = (), confirm: Ask | None = None
    ) -> Applied:
        """Set the therapy limits."""
        return self._run(self._programmer.set_limits(limits, accept=accept, confirm=_asked(confirm)))

    def configure_alarms(
        self,
        *,
        low_reservoir: Volume | None = None,
        low_reservoir_enabled: bool | None = None,
        elective_replacement_enabled: bool | None = None,
        accept: Iterable[Warn | str] = (),
        confirm: Ask | None = None,
    ) -> Applied:
        """Set the alarms that a clinician may; what is not given stays."""
        return self._run(
            self._programmer.configure_alarms(
                low_reservoir=low_reservoir,
                low_reservoir_enabled=low_reservoir_enabled,
                elective_replacement_enabled=elective_replacement_enabled,
                accept=accept,
                confirm=_asked(confirm),
            )
        )

    def set_clock(
        self,
        utc_s: int | Literal["now"] | None = None,
        zone_minutes: int | None = None,
        *,
        accept: Iterable[Warn | str] = (),
        confirm: Ask | None = None,
    ) -> Applied:
        """Set the pump's wall clock and zone."""
        return self._run(self._programmer.set_clock(utc_s, zone_minutes, accept=accept, confirm=_asked(confirm)))

    def resume(self, *, accept: Iterable[Warn | str] = (), confirm: Ask | None = None) -> Applied:
        """Start the committed program again."""
        return self._run(self._programmer.resume(accept=accept, confirm=_asked(confirm)))

    def stop(self, reason: StopReason = StopReason.CLINICAL) -> Change:
        """Stop delivery at once."""
        return self._run(self._programmer.stop(reason))

    def emergency_stop(
        self, reason: StopReason = StopReason.OVERDOSE, *, confirm: Callable[[str], bool] | None = None
    ) -> Change:
        """Stop at once after the withdrawal warning was shown."""
        return self._run(self._programmer.emergency_stop(reason, confirm=_asked(confirm)))

    def patient_bolus(self) -> Change:
        """Ask for the bolus that was prescribed for the patient's own use."""
        return self._run(self._programmer.patient_bolus())

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
        return self._one_by_one(self._programmer.alarms(poll_ms))

    def follow(
        self, poll_ms: int = 2_000, *, since: int = 0, utc_ms: Callable[[], int] = host_utc_ms
    ) -> Iterator[Sighting]:
        """Everything the pump says, read again and again; never ends by itself."""
        return self._one_by_one(self._programmer.follow(poll_ms, since=since, utc_ms=utc_ms))

    def _one_by_one(self, stream: AsyncIterator[_One]) -> Iterator[_One]:
        try:
            while True:
                yield self._run(anext(stream))  # type: ignore[arg-type]
        finally:
            if not self._closed:
                self._runner.run(stream.aclose())  # type: ignore[attr-defined]


def _asked(confirm: Callable[[_Shown], bool] | None) -> Callable[[_Shown], Coroutine[Any, Any, bool]] | None:
    if confirm is None:
        return None
    ask = confirm

    async def asked(shown: _Shown) -> bool:
        return ask(shown)

    return asked
