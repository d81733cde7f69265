"""What became of a change that was applied: lines for a person, one object for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from telemetry.cli import schedules, words
from telemetry.cli.output import console, emit, facts, table
from telemetry.model import Activity, OperationKind, PumpMode
from telemetry.programmer.therapy import bridge_ms
from telemetry.therapy import AlarmSettings, BolusOrder, ClockSetting, PrimeOrder, Program, RefillOrder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from telemetry.model import Change, Identity, PumpStatus, TherapyState
    from telemetry.programmer import Outcome, Proposal, RefillResult

_BOUNDS = {
    "volume": "the reservoir would reach its alarm volume",
    "six_months": "never more than six months",
    "expiry": "the drug expires",
}
_THERAPIES = frozenset({OperationKind.PROGRAM, OperationKind.RESUME, OperationKind.STOP})


def report(
    who: Identity,
    proposals: Sequence[Proposal],
    changes: Sequence[Change],
    after: PumpStatus | None,
    resolved: tuple[Outcome, ...],
    *,
    as_json: bool,
) -> None:
    """Say what was applied; with ``as_json`` one object (several changes are a list in it)."""
    if as_json:
        emit(_content(who, proposals, changes, after, resolved))
        return
    screen = console()
    for done in changes:
        screen.print(
            f"[bold green]Applied[/] at {words.date(done.applied_at_ms, who.epoch_utc_s)}, operation {done.transaction}"
        )
        for line in _lines(done, who):
            screen.print(f"  {line}")
        if _is_refill(done):
            screen.print(refill_table(who, done))
    last = changes[-1]
    if after is None:
        return
    if after.activity is not Activity.NONE and after.activity_ends_ms is not None:
        ends = words.when(after.activity_ends_ms, after.now_ms, who.epoch_utc_s)
        screen.print(f"  now: {words.ACTIVITIES[after.activity]}, ends {ends}")
    alarm_at_ms = after.low_reservoir_at_ms
    if last.operation in _THERAPIES and alarm_at_ms is not None and alarm_at_ms > after.now_ms:
        screen.print(f"  low-reservoir alarm {words.when(alarm_at_ms, after.now_ms, who.epoch_utc_s)}")


def _content(
    who: Identity,
    proposals: Sequence[Proposal],
    changes: Sequence[Change],
    after: PumpStatus | None,
    resolved: tuple[Outcome, ...],
) -> dict[str, object]:
    head: dict[str, object] = {"simulated": who.simulated, "outcome": "applied"}
    tail: dict[str, object] = {
        "low_reservoir_at_ms": after.low_reservoir_at_ms if after is not None else None,
        "resolved": [facts(outcome) for outcome in resolved],
    }
    if len(changes) > 1:
        shown = [_change(who, done, None) for done in changes]
        return {**head, "changes": shown, "proposals": [facts(one) for one in proposals], **tail}
    return {**head, **_change(who, changes[0], proposals[-1] if proposals else None), **tail}


def _change(who: Identity, done: Change, proposal: Proposal | None) -> dict[str, object]:
    content = {
        **facts(done),
        "applied_at_utc": words.iso(done.applied_at_ms, who.epoch_utc_s),
        "proposal": None if proposal is None else facts(proposal),
    }
    if _is_refill(done):
        content["refill_by_utc"] = words.iso(done.refill_by_ms, who.epoch_utc_s)
        content["replace_by_utc"] = words.iso(done.replace_by_ms, who.epoch_utc_s)
    return content


def _lines(done: Change, who: Identity) -> list[str]:
    match getattr(done, "order", None):
        case BolusOrder() as order:
            return [f"[bold]bolus {words.amount(order.volume_nl, order.dose_ng)}[/] over {_span(order.duration_s)}"]
        case PrimeOrder() as order:
            return [f"[bold]prime {words.exact_volume(order.volume_nl)}[/] at {words.flow(order.rate_nl_per_day)}"]
        case ClockSetting() as order:
            return [f"the pump's clock: [bold]{words.clock(order.utc_s, order.zone_minutes)}[/]"]
        case AlarmSettings() as order:
            return [f"low-reservoir alarm at {words.volume(order.low_reservoir_alarm_nl)}"]
        case Program() as program:
            parts = [f"{name}: {text}" for name, text in schedules.part_rows(program)]
            return [f"{_now(done.before)} → [bold]{_stated(done.after)}[/]", *parts]
        case RefillOrder() as order:
            lines = [f"{_now(done.before)} → [bold]{_stated(done.after)}[/]"]
            bridge = order.program.bridge
            if bridge is not None:
                ends = words.date(done.applied_at_ms + bridge_ms(bridge), who.epoch_utc_s)
                lines += [f"bridge first, until {ends}: {schedules.bridge(bridge)}"]
            return lines
    if done.operation in _THERAPIES:
        return [f"{_now(done.before)} → [bold]{_stated(done.after)}[/]"]
    return ["therapy limits set: [bold]telemetry read … limits[/] shows them"]


_SCHEDULED = frozenset({PumpMode.FLEX, PumpMode.WEEKDAY})


def _now(before: TherapyState) -> str:
    """What was delivered; a schedule's rate is only that of the minute."""
    return f"{words.therapy(before)} at that time of day" if before.mode in _SCHEDULED else words.therapy(before)


def _stated(after: TherapyState) -> str:
    """What a program states; a schedule's is its largest day."""
    return f"{words.therapy(after)} (largest day)" if after.mode in _SCHEDULED else words.therapy(after)


def _is_refill(done: Change) -> TypeGuard[RefillResult]:
    from telemetry.programmer.refilling import RefillResult  # noqa: PLC0415 - the driver is loaded by now, not for --help

    return isinstance(done, RefillResult)


def refill_table(who: Identity, done: RefillResult) -> Table:
    """What a clinic writes down about a refill."""
    from telemetry.programmer.refilling import SUSPICIONS  # noqa: PLC0415 - as above

    check, epoch = done.withdrawn, who.epoch_utc_s
    shown = table("", "refill", "")
    shown.add_row("expected", words.volume(check.expected_nl))
    shown.add_row("withdrawn", words.volume(check.withdrawn_nl))
    if check.error_ppm is not None:
        shown.add_row("delivered against calculated", words.percent(check.error_ppm))
    style = "bold red" if check.flagged else "green"
    shown.add_row("finding", f"[{style}]{SUSPICIONS[check.finding]}[/]")
    shown.add_row("refill by", f"[bold]{words.date(done.refill_by_ms, epoch)}[/] ({_BOUNDS[done.refill_by_bound]})")
    shown.add_row("battery", f"{done.battery_percent} %")
    shown.add_row("replace the pump by", words.date(done.replace_by_ms, epoch))
    return shown


def _span(seconds: int) -> str:
    return words.duration(seconds * 1_000)
