"""The changing half of a ``Programmer``: one operation each, staged, read back and committed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeVar

from telemetry.errors import LinkError, PeerError, Refused, UsageError
from telemetry.model import Activity, PumpMode, StopReason, Warn
from telemetry.programmer import intents
from telemetry.programmer.reading import Reader
from telemetry.programmer.texts import WITHDRAWAL
from telemetry.programmer.therapy import (
    amount_in_force,
    bridge_for,
    daily_total_ng,
    prime_volume,
    program_from,
    titrated_therapy,
)
from telemetry.therapy import AlarmSettings, BolusOrder, ClockSetting, PrimeOrder, Program, Therapy
from telemetry.units import MS_PER_SECOND, DailyDose, Dose, Duration, FlowRate, HourlyDose, Volume

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from telemetry.model import Change, PumpLimits
    from telemetry.programmer.dosing import Confirm, Dosing
    from telemetry.programmer.intents import Intent
    from telemetry.programmer.records import Applied
    from telemetry.protocol import messages as wire
    from telemetry.therapy import Amount, ProgramBridge

_Read = TypeVar("_Read")


class Changer(Reader):
    """Every call returns what was applied or raises ``Refused``, ``OutcomeUnknown``, or ``LinkError``/``UsageError``.

    The last two prove that nothing was changed. ``accept`` names the soft limits that may be passed; ``confirm`` is
    shown the pump's own numbers and says whether to go on.
    """

    _dosing: Dosing
    _utc_s: Callable[[], int]

    async def set_rate(
        self,
        rate: FlowRate | DailyDose | HourlyDose,
        *,
        accept: Iterable[Warn | str] = (),
        confirm: Confirm | None = None,
    ) -> Applied:
        """Change to a simple continuous therapy at this flow or dose: stage, read back, commit."""
        if not isinstance(rate, FlowRate | DailyDose | HourlyDose):
            raise UsageError(f"rate: {rate!r} is no FlowRate, DailyDose or HourlyDose; a bare number has no unit")
        return await self.program(Therapy.simple_continuous(rate), accept=accept, confirm=confirm)

    async def program(
        self,
        therapy: Therapy,
        *,
        bridge: bool | ProgramBridge = True,
        accept: Iterable[Warn | str] = (),
        confirm: Confirm | None = None,
    ) -> Applied:
        """Change to this therapy: stage, read back, commit.

        A bridge that still runs is carried on inside it (``bridge=False`` drops it, which the pump warns of), or
        another one is given.
        """
        accepted = warnings_of(accept)

        async def make(status: wire.Status) -> Intent:
            keep_alive = 0
            if therapy.mode is PumpMode.MINIMUM_RATE:
                keep_alive = (await self.read_limits()).keep_alive_rate_nl_per_day
            made = program_from(
                therapy,
                drug=status.drug,
                concentration_ng_per_ml=status.concentration_ng_per_ml,
                reservoir_generation=status.reservoir_generation,
                keep_alive_rate_nl_per_day=keep_alive,
            )
            if not isinstance(bridge, bool):
                made = replace(made, bridge=bridge)
            elif bridge and status.activity is Activity.BRIDGE:
                made = replace(made, bridge=await self._running_bridge(made))
            what = f" at {therapy.rate}" if therapy.rate is not None else ""
            return intents.of_program(made, f"{therapy.mode.value}{what}")

        return await self._dosing.change(make, accepted, confirm)

    async def titrate(
        self, step_ppm: int, *, accept: Iterable[Warn | str] = (), confirm: Confirm | None = None
    ) -> Applied:
        """Change every rate and periodic bolus of the committed program by a share (150_000 is +15 %)."""
        report = await self._before_change(self.read_program())
        return await self.program(titrated_therapy(report.program, step_ppm), accept=accept, confirm=confirm)

    async def bolus(
        self,
        amount: Amount,
        duration: Duration,
        *,
        accept: Iterable[Warn | str] = (),
        confirm: Confirm | None = None,
    ) -> Applied:
        """Give one bolus from the commit on, on top of the basal, which goes on afterwards."""
        if not isinstance(amount, Volume | Dose):
            raise UsageError(f"amount: {amount!r} is no Volume or Dose; a bare number has no unit")
        if duration.ms < MS_PER_SECOND or duration.ms % MS_PER_SECOND:
            raise UsageError(f"duration: {duration} is no whole number of seconds of at least one")

        async def make(status: wire.Status) -> Intent:
            volume, dose = amount_in_force(amount, status.concentration_ng_per_ml)
            order = BolusOrder(
                volume,
                dose,
                duration.ms // MS_PER_SECOND,
                status.concentration_ng_per_ml,
                status.reservoir_generation,
            )
            return intents.of_bolus(order, status)

        return await self._dosing.change(make, warnings_of(accept), confirm)

    async def prime(
        self,
        volume: Volume | None = None,
        *,
        where: str = "catheter",
        rate: FlowRate | None = None,
        accept: Iterable[Warn | str] = (),
        confirm: Confirm | None = None,
    ) -> Applied:
        """Fill tubing or catheter fast, the basal waiting meanwhile.

        Without a volume it is that of ``where``: ``catheter`` (pump primed already), ``tubing`` (an old catheter that
        holds drug) or ``path`` (both). Without a rate it is the pump's prime rate.
        """
        if volume is not None and not isinstance(volume, Volume):
            raise UsageError(f"volume: {volume!r} is no Volume")

        async def make(status: wire.Status) -> Intent:
            nl, flow = volume, rate
            if nl is None:
                who = await self.read_identity()
                nl = Volume(
                    prime_volume(
                        where, tubing_volume_nl=who.tubing_volume_nl, catheter_volume_nl=who.catheter_volume_nl
                    )
                )
            if flow is None:
                flow = FlowRate((await self.read_rules()).prime_rate_nl_per_day)
            order = PrimeOrder(nl.nl, flow.nl_per_day, status.concentration_ng_per_ml, status.reservoir_generation)
            return intents.of_prime(order, status)

        return await self._dosing.change(make, warnings_of(accept), confirm)

    async def resume(self, *, accept: Iterable[Warn | str] = (), confirm: Confirm | None = None) -> Applied:
        """Start the committed program of a stopped pump again: staged and committed like any other change.

        The pump warns (``starts_delivery``); resuming is what the caller asked for, so that one is accepted. After
        more than 48 h without a stroke ``stopped_over_48_h`` must be accepted by name: the tube may have taken a set.
        """
        accepted = warnings_of((*accept, Warn.STARTS_DELIVERY))
        report = await self._before_change(self.read_program())

        async def make(_status: wire.Status) -> Intent:
            return intents.of_resume(report)

        return await self._dosing.change(make, accepted, confirm)

    async def stop(self, reason: StopReason = StopReason.CLINICAL) -> Change:
        """Stop delivery at once. Abrupt loss of intrathecal baclofen can kill: have a plan before you do."""
        return await self._dosing.stop(reason)

    async def emergency_stop(
        self,
        reason: StopReason = StopReason.OVERDOSE,
        *,
        confirm: Callable[[str], Awaitable[bool]] | None = None,
    ) -> Change:
        """Stop at once after ``confirm`` was shown the withdrawal warning; ``Refused`` (declined) when it says no."""
        if confirm is not None and not await confirm(WITHDRAWAL):
            raise Refused("declined", "not confirmed; the pump was not stopped")
        return await self._dosing.stop(reason)

    async def patient_bolus(self) -> Change:
        """Ask for the bolus that was prescribed for the patient's own use; the role is the patient's."""
        return await self._dosing.patient_bolus()

    async def set_limits(
        self, limits: PumpLimits, *, accept: Iterable[Warn | str] = (), confirm: Confirm | None = None
    ) -> Applied:
        """Set the therapy limits, inside those of the device; start from ``read_limits()``."""

        async def make(status: wire.Status) -> Intent:
            return intents.of_limits(limits, status)

        return await self._dosing.change(make, warnings_of(accept), confirm)

    async def configure_alarms(
        self,
        *,
        low_reservoir: Volume | None = None,
        low_reservoir_enabled: bool | None = None,
        elective_replacement_enabled: bool | None = None,
        accept: Iterable[Warn | str] = (),
        confirm: Confirm | None = None,
    ) -> Applied:
        """Set the alarms that a clinician may; what is not given stays."""
        present = await self._before_change(self.read_alarm_settings())
        wanted = AlarmSettings(
            present.low_reservoir_alarm_nl if low_reservoir is None else low_reservoir.nl,
            present.low_reservoir_enabled if low_reservoir_enabled is None else low_reservoir_enabled,
            present.elective_replacement_enabled
            if elective_replacement_enabled is None
            else elective_replacement_enabled,
        )

        async def make(status: wire.Status) -> Intent:
            return intents.of_alarm_settings(wanted, status)

        return await self._dosing.change(make, warnings_of(accept), confirm)

    async def set_clock(
        self,
        utc_s: int | Literal["now"] | None = None,
        zone_minutes: int | None = None,
        *,
        accept: Iterable[Warn | str] = (),
        confirm: Confirm | None = None,
    ) -> Applied:
        """Set the pump's wall clock and its zone; what is not given stays, and with nothing given it is ``"now"``.

        ``"now"`` is the host's time at the last moment before it is committed. A schedule runs by that clock:
        ``Proposal.shift_minutes`` says how far it moves (positive: earlier in the patient's day).
        """
        wanted: int | Literal["now"] | None = "now" if utc_s is None and zone_minutes is None else utc_s

        async def make(status: wire.Status) -> Intent:
            zone = zone_minutes if zone_minutes is not None else (await self.read_delivery()).zone_minutes
            at = self._utc_s() if wanted == "now" else status.clock_utc_s if wanted is None else wanted
            return intents.of_clock(ClockSetting(at, zone), status, ages=not isinstance(wanted, int))

        return await self._dosing.change(make, warnings_of(accept), confirm)

    async def _running_bridge(self, program: Program) -> ProgramBridge:
        """What is left of the bridge that runs now, at the dose of the program that is to come in the meantime."""
        delivery, report = await self.read_delivery(), await self.read_program()
        running = report.program.bridge
        left_nl = delivery.activity_volume_nl - delivery.activity_delivered_nl
        if running is None or delivery.activity is not Activity.BRIDGE or left_nl < 1:
            raise LinkError("the pump's bridge ended while it was read; nothing was changed: repeat")
        return bridge_for(daily_total_ng(program), old_ng_per_ml=running.concentration_ng_per_ml, volume_nl=left_nl)

    async def _before_change(self, reading: Awaitable[_Read]) -> _Read:
        """A reading that a change rests on: whatever fails here, nothing was changed."""
        try:
            return await reading
        except PeerError as error:
            raise LinkError(f"{error}; nothing was changed") from error


def warnings_of(names: Iterable[Warn | str]) -> frozenset[Warn]:
    """Warnings by name; raises ``UsageError`` listing those there are."""
    try:
        return frozenset(Warn(name) for name in names)
    except ValueError as error:
        known = ", ".join(warning.value for warning in Warn)
        raise UsageError(f"accept: {error}; the warnings are: {known}") from error
