"""What a clinic does at one visit, made of the single operations: refill, implant, replace (domain.md 2.7, 2.9)."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from telemetry.errors import LinkError, PeerError, Refused, TelemetryError, UsageError
from telemetry.model import Activity, PumpMode, Warn
from telemetry.programmer import intents
from telemetry.programmer.changing import Changer, warnings_of
from telemetry.programmer.records import read_status
from telemetry.programmer.refilling import (
    MARGIN_MS,
    RefillResult,
    WithdrawnCheck,
    check_volume,
    check_withdrawn,
    refill_by,
)
from telemetry.programmer.therapy import bridge_for, daily_total_ng, program_from, rebound
from telemetry.therapy import ProgramBridge, RefillOrder
from telemetry.units import MS_PER_DAY, MS_PER_SECOND, Concentration, Duration, Volume

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from telemetry.model import Change, Identity, PumpStatus
    from telemetry.programmer.dosing import Confirm
    from telemetry.programmer.intents import Intent
    from telemetry.programmer.prescription import Prescription
    from telemetry.programmer.reading import LastFill
    from telemetry.programmer.records import Applied
    from telemetry.protocol import messages as wire
    from telemetry.therapy import Program, Therapy

_WITHOUT_THERAPY = {
    PumpMode.SHELF: "the pump is on the shelf and has no therapy yet",
    PumpMode.SAFE_STATE: "the pump is in its safe state and has lost its program",
}
_EPOCH_ORDINAL = 719_163
"""``date(1970, 1, 1).toordinal()``."""
_SECONDS_PER_DAY = MS_PER_DAY // MS_PER_SECOND


@dataclass(frozen=True, slots=True)
class RefillRequest:
    """What a clinician says of a refill; ``bridge`` True means: where one is needed, at the new program's dose.

    ``carried`` is the program to go on with where no therapy is given; None: the pump's own.
    """

    volume: Volume
    withdrawn: Volume
    concentration: Concentration | None
    therapy: Therapy | None = None
    bridge: bool | ProgramBridge = True
    carried: Program | None = None
    expires: date | None = None
    previous_fill: Volume | None = None
    margin: Duration = Duration(MARGIN_MS)  # noqa: RUF009 - a frozen quantity


@dataclass(slots=True)
class _Seen:
    """What the pump said when the refill that was applied was staged."""

    status: wire.Status
    identity: Identity
    last: LastFill | None
    alarm_nl: int


@dataclass(frozen=True, slots=True)
class ImplantResult:
    """A new pump started: its first filling, and its prime, after which the drug is at the tip."""

    refill: RefillResult
    prime: Applied


@dataclass(frozen=True, slots=True)
class ReplacementResult:
    """A new pump on the old catheter: settings that had to be changed, filling (its bridge in it), prime if one was."""

    settings: tuple[Applied, ...]
    refill: RefillResult
    prime: Applied | None


class Workflows(Changer):
    """Refill, implant and replace; raise as ``Changer`` does.

    Where a workflow is of several operations, each is one of the four outcomes, and those before it stay: the error
    then carries a note that names them.
    """

    async def refill(  # noqa: PLR0913 - what a refill tells
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
        confirm: Confirm | None = None,
    ) -> RefillResult:
        """Tell the pump of a refill: new volume, drug, program and bridge in force together, or none of them.

        ``withdrawn`` is what came out. Without a therapy the doses stay. With another concentration ``bridge=True``
        keeps the dose up while the old drug leaves the path; False leaves that out, which the pump warns of; or give
        one. ``previous_fill`` is what the pump was filled to before, where its log no longer says. ``expires`` is
        the drug's date, ``margin`` what the next refill is to be ahead of the last moment.
        """
        request = RefillRequest(
            volume,
            withdrawn,
            concentration,
            therapy,
            bridge,
            expires=expires,
            previous_fill=previous_fill,
            margin=margin,
        )
        return await self._refill(request, warnings_of(accept), confirm)

    async def implant(  # noqa: PLR0913 - what an implantation tells
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
        confirm: Confirm | None = None,
    ) -> ImplantResult:
        """Start a new pump: check its calibration, tell it its first filling and therapy, prime. Two operations.

        ``calibration_ppm`` is the constant on the package (1_000_000 is 1); ``where`` is what is still to be primed.
        The first filling stays when the prime then fails: prime again.
        """
        _check_calibration(await self._before_change(self.read_identity()), calibration_ppm)
        accepted = warnings_of((*accept, *(await self._at_first())))
        request = RefillRequest(volume, withdrawn, concentration, therapy, bridge=False, expires=expires)
        filled = await self._refill(request, accepted, confirm)
        with _already_applied(filled):
            return ImplantResult(filled, await self.prime(where=where, accept=accepted, confirm=confirm))

    async def replace(  # noqa: PLR0913 - what a replacement tells
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
        confirm: Confirm | None = None,
    ) -> ReplacementResult:
        """Carry an old pump's prescription (its ``read_prescription``) to this new one on the old catheter.

        Settings first, then filling and program, then a prime of the tubing only, since the catheter holds drug
        (none if it was primed before it was connected). With another concentration the filling bridges the
        catheter's content; that needs a tubing primed beforehand, since no prime can run beside a bridge.
        """
        identity = await self._before_change(self.read_identity())
        _check_successor(prescription, identity)
        _check_calibration(identity, calibration_ppm)
        accepted = warnings_of((*accept, *(await self._at_first())))
        old = prescription.program
        strength = old.concentration_ng_per_ml if concentration is None else concentration.ng_per_ml
        first = _catheter_bridge(prescription, strength) if bridge else None
        if first is not None and not tubing_primed:
            raise UsageError(
                f"tubing_primed: the catheter holds {Concentration(old.concentration_ng_per_ml)} and is bridged from "
                "the first moment on, and no prime can run beside a bridge: prime the new pump's tubing before it is "
                "connected, and say so"
            )
        settings = await self._carry_settings(prescription, accepted, confirm)
        request = RefillRequest(
            volume, withdrawn, Concentration(strength), bridge=first or False, carried=old, expires=expires
        )
        with _already_applied(*settings):
            filled = await self._refill(request, accepted, confirm)
        if tubing_primed:
            return ReplacementResult(settings, filled, None)
        with _already_applied(*settings, filled):
            return ReplacementResult(
                settings, filled, await self.prime(where="tubing", accept=accepted, confirm=confirm)
            )

    async def _at_first(self) -> tuple[Warn, ...]:
        """What a first therapy cannot but do, and what whoever starts a pump asks for: it starts, and from nothing."""
        shelf = (await self._before_change(self.read_status())).mode is PumpMode.SHELF
        return (Warn.STARTS_DELIVERY, Warn.DAILY_DOSE_CHANGE) if shelf else ()

    async def _refill(self, request: RefillRequest, accepted: frozenset[Warn], confirm: Confirm | None) -> RefillResult:
        seen: list[_Seen] = []

        async def make(status: wire.Status) -> Intent:
            identity, limits = await self.read_identity(), await self.read_limits()
            check_volume(request.volume, identity.reservoir_capacity_nl)
            last = await self.last_fill(status.reservoir_generation)
            seen.append(_Seen(status, identity, last, limits.low_reservoir_alarm_nl))
            strength = request.concentration or Concentration(status.concentration_ng_per_ml)
            program = await self._program_after(status, request, strength, limits.keep_alive_rate_nl_per_day)
            bridge = await self._bridge_before(status, identity, request, program)
            order = RefillOrder(request.volume.nl, request.withdrawn.nl, replace(program, bridge=bridge))
            return intents.of_refill(order)

        applied = await self._dosing.change(make, accepted, confirm)
        after = await self._status_after()
        return _refill_result(request, seen[-1], applied, after)

    async def _program_after(
        self, status: wire.Status, request: RefillRequest, strength: Concentration, keep_alive_rate_nl_per_day: int
    ) -> Program:
        generation = status.reservoir_generation + 1
        if request.therapy is not None:
            return program_from(
                request.therapy,
                drug=status.drug,
                concentration_ng_per_ml=strength.ng_per_ml,
                reservoir_generation=generation,
                keep_alive_rate_nl_per_day=keep_alive_rate_nl_per_day,
            )
        if request.carried is None and status.mode in _WITHOUT_THERAPY:
            raise UsageError(f"therapy: {_WITHOUT_THERAPY[status.mode]}; give the therapy with the refill")
        carried = request.carried or (await self.read_program()).program
        return rebound(carried, concentration_ng_per_ml=strength.ng_per_ml, reservoir_generation=generation)

    async def _bridge_before(
        self, status: wire.Status, identity: Identity, request: RefillRequest, program: Program
    ) -> ProgramBridge | None:
        """The bridge that the refill needs, unless one was given or none is wanted."""
        if isinstance(request.bridge, ProgramBridge):
            return request.bridge
        old = status.concentration_ng_per_ml
        if not request.bridge:
            return None
        if status.activity is Activity.BRIDGE:
            if program.concentration_ng_per_ml != old:
                raise UsageError(
                    "bridge: the bridge of the refill before still runs, so that the path holds two concentrations "
                    "already; wait for its end, or give a bridge of your own"
                )
            return await self._running_bridge(program)
        if program.concentration_ng_per_ml == old or not old or status.mode is PumpMode.SHELF:
            return None
        path_nl = identity.tubing_volume_nl + identity.catheter_volume_nl
        return bridge_for(daily_total_ng(program), old_ng_per_ml=old, volume_nl=path_nl)

    async def _carry_settings(
        self, prescription: Prescription, accepted: frozenset[Warn], confirm: Confirm | None
    ) -> tuple[Applied, ...]:
        """Limits, alarm settings and zone, where the new pump's differ; its flow limits are its own."""
        done: list[Applied] = []
        present = await self._before_change(self.read_limits())
        own = {name: getattr(present, name) for name in _DEVICE_LIMITS}
        limits = replace(prescription.limits, **own)
        if limits != present:
            done.append(await self.set_limits(limits, accept=accepted, confirm=confirm))
        settings = prescription.alarm_settings
        with _already_applied(*done):
            if settings != await self._before_change(self.read_alarm_settings()):
                done.append(
                    await self.configure_alarms(
                        low_reservoir=Volume(settings.low_reservoir_alarm_nl),
                        low_reservoir_enabled=settings.low_reservoir_enabled,
                        elective_replacement_enabled=settings.elective_replacement_enabled,
                        accept=accepted,
                        confirm=confirm,
                    )
                )
        with _already_applied(*done):
            zone = prescription.zone_minutes
            if zone != (await self._before_change(self.read_delivery())).zone_minutes:
                done.append(await self.set_clock(zone_minutes=zone, accept=accepted, confirm=confirm))
        return tuple(done)

    async def _status_after(self) -> PumpStatus | None:
        """What the pump says after a change that is applied whatever becomes of this reading."""
        try:
            return await self.read_status()
        except (LinkError, PeerError, Refused):
            return None


def _catheter_bridge(prescription: Prescription, strength_ng_per_ml: int) -> ProgramBridge | None:
    """The bridge for what the old catheter holds; None where it is the same drug, or none."""
    old = prescription.program
    if old.concentration_ng_per_ml in {0, strength_ng_per_ml}:
        return None
    program = rebound(old, concentration_ng_per_ml=strength_ng_per_ml, reservoir_generation=0)
    return bridge_for(
        daily_total_ng(program),
        old_ng_per_ml=old.concentration_ng_per_ml,
        volume_nl=prescription.identity.catheter_volume_nl,
    )


@contextmanager
def _already_applied(*done: Change) -> Iterator[None]:
    """Have whatever goes wrong say what of the workflow is applied already, and stays."""
    try:
        yield
    except TelemetryError as error:
        if done:
            names = ", ".join(f"{one.operation.value} (operation {one.transaction})" for one in done)
            error.add_note(f"applied before that: {names}")
        raise


_DEVICE_LIMITS = ("min_rate_nl_per_day", "max_rate_nl_per_day", "keep_alive_rate_nl_per_day")


def _refill_result(request: RefillRequest, seen: _Seen, applied: Applied, after: PumpStatus | None) -> RefillResult:
    order = applied.order
    if not isinstance(order, RefillOrder):
        raise LinkError(f"the pump committed a {type(order).__name__} where a refill was due")
    before = read_status(seen.status)
    told = request.previous_fill
    previous_nl = told.nl if told is not None else seen.last.volume_nl if seen.last is not None else None
    shelf = before.mode is PumpMode.SHELF
    check: WithdrawnCheck = check_withdrawn(
        expected_nl=request.withdrawn.nl if shelf else before.reservoir_nl,
        withdrawn_nl=request.withdrawn.nl,
        previous_fill_nl=None if shelf else previous_nl,
        first=seen.last is not None and seen.last.first,
    )
    due = refill_by(
        order.program,
        now_ms=applied.applied_at_ms,
        volume_nl=order.volume_nl,
        alarm_nl=seen.alarm_nl,
        expires_ms=None if request.expires is None else _pump_ms(request.expires, seen.identity.epoch_utc_s),
        margin_ms=request.margin.ms,
    )
    told_by = before if after is None else after
    return RefillResult(
        **{field.name: getattr(applied, field.name) for field in fields(applied)},
        volume_nl=order.volume_nl,
        withdrawn=check,
        refill_by_ms=due.at_ms,
        refill_by_bound=due.bound,
        battery_percent=told_by.battery_percent,
        replace_by_ms=told_by.replace_by_ms,
        read_after=after is not None,
        bridge=order.program.bridge,
    )


def _pump_ms(day: date, epoch_utc_s: int) -> int:
    """The beginning of a day (UTC) in pump time."""
    return ((day.toordinal() - _EPOCH_ORDINAL) * _SECONDS_PER_DAY - epoch_utc_s) * MS_PER_SECOND


def _check_calibration(identity: Identity, calibration_ppm: int | None) -> None:
    if calibration_ppm is not None and identity.calibration_ppm != calibration_ppm:
        raise UsageError(
            f"calibration_ppm: the package says {calibration_ppm}, the pump {identity.serial} says "
            f"{identity.calibration_ppm}; every dose and volume it reports would be wrong: do not implant it"
        )


def _check_successor(prescription: Prescription, identity: Identity) -> None:
    old = prescription.identity
    if old.pump_id == identity.pump_id:
        raise UsageError(f"replace: {identity.serial} is the old pump itself; connect to its successor")
    if old.drug is not identity.drug:
        raise UsageError(f"replace: the old pump is for {old.drug.value}, this one for {identity.drug.value}")
