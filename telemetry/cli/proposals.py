"""What a person must compare before a change goes out, for each kind of change; numbers are the pump's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.cli import schedules, words
from telemetry.cli.output import table
from telemetry.cli.views import LIMIT_FIELDS, alarm_setting_rows, heading
from telemetry.model import OperationKind, PumpLimits, PumpMode
from telemetry.programmer.therapy import daily_total_ng, span_ms
from telemetry.therapy import AlarmSettings, BolusOrder, ClockSetting, PrimeOrder, Program, RefillOrder
from telemetry.units import MS_PER_DAY, MS_PER_SECOND, NL_PER_ML, Dose, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

    from telemetry.model import DeliveryReport, Identity, PumpStatus, TherapyState
    from telemetry.programmer import Proposal

_PPM = 1_000_000


class Shown:
    """What the pump said before, for the left column."""

    def __init__(
        self,
        identity: Identity,
        status: PumpStatus,
        limits: PumpLimits,
        program: Program | None = None,
        delivery: DeliveryReport | None = None,
        alarm_settings: AlarmSettings | None = None,
    ) -> None:
        self.identity = identity
        self.status = status
        self.limits = limits
        self.program = program
        self.delivery = delivery
        self.alarm_settings = alarm_settings


def proposal_tables(shown: Shown, proposal: Proposal) -> list[Table]:
    """Before and after side by side, and for a schedule every step of it."""
    made = table(heading(shown.identity), "", "before", "after")
    order = proposal.order
    _ROWS.get(type(order), _program_rows)(made, shown, proposal)
    for warning in proposal.warnings:
        made.add_row("[yellow]warning[/]", "", f"[yellow]{words.WARNINGS[warning]}[/]")
    tables = [made]
    program = order.program if isinstance(order, RefillOrder) else order
    if isinstance(program, Program) and schedules.has_schedule(shown.program, program):
        times = table("by the pump's clock", "when", "before", "after")
        for when, before, after in schedules.schedule_rows(shown.program, program):
            times.add_row(when, before, after if before == after else f"[bold]{after}[/]")
        tables.append(times)
    return tables


def _program_rows(made: Table, shown: Shown, proposal: Proposal) -> None:
    program = proposal.order if isinstance(proposal.order, Program) else shown.program
    made.add_row("mode", words.MODES[proposal.before.mode], words.MODES[proposal.after.mode])
    _dose_rows(made, shown, proposal, program)
    if proposal.operation is OperationKind.RESUME:
        _parts(made, None, shown.program)
    else:
        _parts(made, shown.program, program)
    _totals(made, shown, proposal)


def _refill_rows(made: Table, shown: Shown, proposal: Proposal) -> None:
    order = proposal.order
    if not isinstance(order, RefillOrder):  # pragma: no cover - by the table below
        return
    status, program = shown.status, order.program
    expected, out = status.reservoir_nl, order.withdrawn_nl
    made.add_row("withdrawn", f"{words.volume(expected)} expected", f"{words.volume(out)} ({_apart(out - expected)})")
    made.add_row("reservoir", words.volume(expected), f"[bold]{words.volume(order.volume_nl)}[/]")
    made.add_row(
        "drug",
        "none yet"
        if status.mode is PumpMode.SHELF
        else f"{status.drug.value} {words.concentration(status.concentration_ng_per_ml)}",
        f"[bold]{program.drug.value} {words.concentration(program.concentration_ng_per_ml)}[/]",
    )
    made.add_row("mode", words.MODES[proposal.before.mode], words.MODES[program.mode])
    _dose_rows(made, shown, proposal, program)
    _parts(made, shown.program, program)
    if program.bridge is not None:
        made.add_row("then", "", words.rate(program.rate_nl_per_day, program.dose_ng_per_day))
    made.add_row("24 h total (pump's sum)", "", _sum(proposal))
    made.add_row("empty", "", _empty(proposal))


def _bolus_rows(made: Table, shown: Shown, proposal: Proposal) -> None:
    order = proposal.order
    if not isinstance(order, BolusOrder):  # pragma: no cover - by the table below
        return
    span = order.duration_s * MS_PER_SECOND
    rate = max(1, order.volume_nl * MS_PER_DAY // span)
    made.add_row("bolus", "", f"[bold]{words.amount(order.volume_nl, order.dose_ng)}[/]")
    made.add_row("over", "", f"[bold]{words.duration(span)}[/]")
    basal = proposal.before
    made.add_row(
        "rate meanwhile",
        words.flow(basal.rate_nl_per_day),
        f"{words.flow(basal.rate_nl_per_day + rate)} (basal {words.flow(basal.rate_nl_per_day)})",
    )
    made.add_row("afterwards", "", f"the basal goes on: {words.therapy(basal)}")
    delivery = shown.delivery
    so_far = "" if delivery is None else f"{Dose(delivery.window_24h_ng)} in {Volume(delivery.window_24h_nl)}"
    made.add_row("largest 24 h (pump's sum)", so_far, _sum(proposal))
    made.add_row("… of at most", "", words.dose(shown.limits.daily_dose_hard_max_ng))


def _prime_rows(made: Table, shown: Shown, proposal: Proposal) -> None:
    order = proposal.order
    if not isinstance(order, PrimeOrder):  # pragma: no cover - by the table below
        return
    who = shown.identity
    held = Dose(order.volume_nl * order.concentration_ng_per_ml // NL_PER_ML)
    made.add_row("prime", "", f"[bold]{words.exact_volume(order.volume_nl)}[/] ({held} of drug)")
    made.add_row("pump tubing", words.exact_volume(who.tubing_volume_nl), "")
    made.add_row("catheter", words.exact_volume(who.catheter_volume_nl), "")
    made.add_row("rate", words.flow(proposal.before.rate_nl_per_day), words.flow(order.rate_nl_per_day))
    made.add_row("takes", "", f"{words.span(span_ms(order.volume_nl, order.rate_nl_per_day))}; the basal waits")
    made.add_row("afterwards", "", f"the basal goes on: {words.therapy(proposal.before)}")
    made.add_row("largest 24 h (pump's sum)", "", _sum(proposal))


def _limits_rows(made: Table, shown: Shown, proposal: Proposal) -> None:
    order = proposal.order
    if not isinstance(order, PumpLimits):  # pragma: no cover - by the table below
        return
    for name, label, show in LIMIT_FIELDS:
        before, after = show(getattr(shown.limits, name)), show(getattr(order, name))
        made.add_row(label, before, after if before == after else f"[bold]{after}[/]")


def _clock_rows(made: Table, shown: Shown, proposal: Proposal) -> None:
    order = proposal.order
    if not isinstance(order, ClockSetting):  # pragma: no cover - by the table below
        return
    delivery = shown.delivery
    before = words.NONE if delivery is None else words.clock(delivery.clock_utc_s, delivery.zone_minutes)
    made.add_row("the pump's clock", before, f"[bold]{words.clock(order.utc_s, order.zone_minutes)}[/]")
    made.add_row("schedule", "", shift_text(proposal.shift_minutes, scheduled=schedules.has_schedule(shown.program)))


def _alarm_rows(made: Table, shown: Shown, proposal: Proposal) -> None:
    order, before = proposal.order, shown.alarm_settings
    if not isinstance(order, AlarmSettings):  # pragma: no cover - by the table below
        return
    for label, text in alarm_setting_rows(order):
        old = "" if before is None else dict(alarm_setting_rows(before))[label]
        made.add_row(label, old, text if old == text else f"[bold]{text}[/]")


_ROWS: dict[type, Callable[[Table, Shown, Proposal], None]] = {
    RefillOrder: _refill_rows,
    BolusOrder: _bolus_rows,
    PrimeOrder: _prime_rows,
    PumpLimits: _limits_rows,
    ClockSetting: _clock_rows,
    AlarmSettings: _alarm_rows,
}


def shift_text(minutes: int, *, scheduled: bool) -> str:
    """What a clock setting does to a schedule, in words."""
    if not scheduled:
        return "none runs: nothing moves"
    if not minutes:
        return "does not move"
    span = words.span(abs(minutes) * 60 * MS_PER_SECOND)
    return f"[bold yellow]{span} {'earlier' if minutes > 0 else 'later'} in the patient's day[/]"


def low_reservoir_at_ms(status: PumpStatus, limits: PumpLimits, rate_nl_per_day: int) -> int | None:
    """When the low-reservoir alarm comes at this rate, in pump time; None when it never does."""
    if rate_nl_per_day == 0:
        return None
    left_nl = max(0, status.reservoir_nl - limits.low_reservoir_alarm_nl)
    return status.now_ms + left_nl * MS_PER_DAY // rate_nl_per_day


def _parts(made: Table, before: Program | None, after: Program | None) -> None:
    old = {} if before is None else dict(schedules.part_rows(before))
    new = {} if after is None else dict(schedules.part_rows(after))
    for name in {**old, **new}:
        if name == "bridge first" and name not in new:
            continue  # one that is over says nothing of now
        made.add_row(name, old.get(name, words.NONE), f"[bold]{new.get(name, words.NONE)}[/]")


def _totals(made: Table, shown: Shown, proposal: Proposal) -> None:
    made.add_row("24 h total (pump's sum)", "", _sum(proposal))
    status, epoch = shown.status, shown.identity.epoch_utc_s
    constant = isinstance(proposal.order, Program) and not (proposal.order.steps or proposal.order.ramp)
    if constant and proposal.peak_nl_per_day == proposal.lowest_nl_per_day:
        alarm = low_reservoir_at_ms(status, shown.limits, proposal.after.rate_nl_per_day)
        made.add_row(
            "low-reservoir alarm",
            words.when(status.low_reservoir_at_ms, status.now_ms, epoch, between="\n"),
            words.when(alarm, status.now_ms, epoch, between="\n"),
        )
    elif proposal.peak_nl_per_day != proposal.lowest_nl_per_day:
        low, high = words.flow(proposal.lowest_nl_per_day), words.flow(proposal.peak_nl_per_day)
        made.add_row("rate between", "", f"{low} and {high}")
    made.add_row("empty", "", _empty(proposal))


def _sum(proposal: Proposal) -> str:
    return f"{Dose(proposal.dose_24h_ng)} in {Volume(proposal.volume_24h_nl)}"


def _empty(proposal: Proposal) -> str:
    seconds = proposal.empty_in_s
    return words.NONE if seconds is None else f"in {words.span(seconds * MS_PER_SECOND)}"


def _apart(difference_nl: int) -> str:
    sign = "−" if difference_nl < 0 else "+"
    return f"{sign}{words.volume(abs(difference_nl))}" if difference_nl else "as expected"


def _dose_rows(made: Table, shown: Shown, proposal: Proposal, program: Program | None) -> None:
    """Rate and dose of a day as the programs state them, and how far apart they are."""
    before, after = _before(shown, proposal), proposal.after
    day = " (largest day)" if schedules.has_schedule(shown.program, program) else ""
    made.add_row(f"rate{day}", words.flow(before.rate_nl_per_day), f"[bold]{words.flow(after.rate_nl_per_day)}[/]")
    made.add_row(f"dose{day}", words.dose(before.dose_ng_per_day), f"[bold]{words.dose(after.dose_ng_per_day)}[/]")
    made.add_row("change", "", _change(shown, proposal, program))


def _before(shown: Shown, proposal: Proposal) -> TherapyState:
    """The therapy before, as its program states it: a schedule's day, not what it happens to give at this minute."""
    before, program = proposal.before, shown.program
    if program is None or program.mode is not before.mode:
        return before
    return replace(before, rate_nl_per_day=program.rate_nl_per_day, dose_ng_per_day=program.dose_ng_per_day)


def _change(shown: Shown, proposal: Proposal, program: Program | None) -> str:
    """How the dose of a day changes, periodic boluses included: like with like."""
    old, before, after = shown.program, _before(shown, proposal).dose_ng_per_day, proposal.after.dose_ng_per_day
    if before == 0:
        return "starts delivery" if after else "none"
    if old is not None and program is not None and old.mode is proposal.before.mode:
        before, after = daily_total_ng(old), daily_total_ng(program)
    if after == before:
        return "none"
    ppm = abs(after - before) * _PPM // before
    return words.percent(-ppm if after < before else ppm)
