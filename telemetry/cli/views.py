"""What a reading looks like: the same facts as tables for people and as one object for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.cli import words
from telemetry.cli.output import SIMULATED, facts, table
from telemetry.model import AlarmClass, AlarmKind, AlarmSignal, LogCode, PumpMode, RefusalReason, StopReason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from telemetry.model import (
        Alarm,
        Identity,
        LogRecord,
        LogReport,
        ProgramReport,
        PumpLimits,
        PumpStatus,
        TelemeterInfo,
    )

_QUIET = frozenset({AlarmSignal.OFF, AlarmSignal.ACKNOWLEDGED, AlarmSignal.SILENCED})
_ALARMS = tuple(AlarmKind)
_DETAILS: dict[LogCode, tuple[AlarmKind, ...] | tuple[RefusalReason, ...] | tuple[StopReason, ...]] = {
    LogCode.ALARM_RAISED: _ALARMS,
    LogCode.ALARM_CLEARED: _ALARMS,
    LogCode.ALARM_SILENCED: _ALARMS,
    LogCode.ALARM_ACKNOWLEDGED: _ALARMS,
    LogCode.COMMIT_REFUSED: tuple(RefusalReason),
    LogCode.STOPPED: tuple(StopReason),
}
_RATES = frozenset({LogCode.PROGRAM_COMMITTED, LogCode.RESUMED, LogCode.SAFE_STATE_ENTERED})
_VOLUMES = frozenset({LogCode.STOPPED, LogCode.REFILLED})
_FLOWING = frozenset({PumpMode.SIMPLE_CONTINUOUS, PumpMode.MINIMUM_RATE})


@dataclass(frozen=True, slots=True)
class View:
    """``content`` for ``--json``; ``parts`` makes what a person is shown, when asked."""

    content: dict[str, object]
    parts: Callable[[], Sequence[Table]]


def heading(who: Identity) -> str:
    """Who it is, and that it is no real pump."""
    mark = SIMULATED if who.simulated else "[bold white on red] NOT A SIMULATION [/]"
    return f"{mark} {who.model.removeprefix('SIMULATED ')} pump, serial {who.serial}"


def _of(who: Identity) -> dict[str, object]:
    return {"simulated": who.simulated, "model": who.model, "serial": who.serial, "epoch_utc_s": who.epoch_utc_s}


def status(who: Identity, what: PumpStatus, present: Sequence[Alarm]) -> View:
    """The status, with the alarms behind its names."""
    content = _of(who) | facts(what)

    def parts() -> list[Table]:
        shown = table(heading(who), "", "the pump says")
        for name, value in status_rows(who, what, present):
            shown.add_row(name, value)
        return [shown]

    return View(content, parts)


def status_rows(who: Identity, what: PumpStatus, present: Sequence[Alarm]) -> list[tuple[str, str]]:
    """Name and value of each line of a status."""
    epoch = who.epoch_utc_s
    mode = words.MODES[what.mode]
    rows = [
        ("mode", mode if what.mode in _FLOWING else f"[bold red]{mode}[/]"),
        ("rate", f"{words.flow(what.rate_nl_per_day)} = {words.dose(what.dose_ng_per_day)}"),
        ("drug", f"{what.drug.value} {words.concentration(what.concentration_ng_per_ml)}"),
        ("reservoir", f"{words.volume(what.reservoir_nl)} of {words.volume(who.reservoir_capacity_nl)} (calculated)"),
        ("low-reservoir alarm", words.when(what.low_reservoir_at_ms, what.now_ms, epoch)),
        ("battery", f"{what.battery_percent} %, replace by {words.date(what.replace_by_ms, epoch)}"),
        ("pump time", f"{words.pump_time(what.now_ms)} ({words.date(what.now_ms, epoch)})"),
    ]
    if what.stopped_since_ms is not None:
        rows.insert(1, ("stopped since", words.when(what.stopped_since_ms, what.now_ms, epoch)))
    lines = [_alarm_line(one) for one in present] or ["[green]none[/]"]
    return [*rows, ("alarms", "\n".join(lines))]


def _alarm_line(one: Alarm) -> str:
    style = "dim" if one.signal in _QUIET else "bold red" if one.alarm_class is AlarmClass.CRITICAL else "bold yellow"
    return f"[{style}]{one.kind.value}[/]: {words.SIGNALS[one.signal]}"


def identity(who: Identity) -> View:
    """Who the pump is."""

    def parts() -> list[Table]:
        shown = table(heading(who), "", "")
        for name, value in (
            ("model", who.model),
            ("serial", who.serial),
            ("pump id", who.pump_id.hex()),
            ("firmware", f"{who.firmware >> 16}.{who.firmware & 0xFFFF}"),
            ("drug", who.drug.value),
            ("reservoir", words.volume(who.reservoir_capacity_nl)),
            ("tubing and catheter", words.volume(who.path_volume_nl)),
            ("activated", words.date(who.activated_ms, who.epoch_utc_s)),
            ("pump time counts from", words.date(0, who.epoch_utc_s)),
        ):
            shown.add_row(name, value)
        return [shown]

    return View(facts(who), parts)


def program(who: Identity, report: ProgramReport) -> View:
    """The committed program."""
    content = {
        **_of(who),
        **facts(report.program),
        "program_sequence": report.program_sequence,
        "program_digest": report.program_digest.hex(),
        "stopped": report.stopped,
    }

    def parts() -> list[Table]:
        kept = report.program
        shown = table(heading(who), "", "committed program")
        shown.add_row("mode", words.MODES[kept.mode])
        shown.add_row("rate", f"{words.flow(kept.rate_nl_per_day)} = {words.dose(kept.dose_ng_per_day)}")
        shown.add_row("drug", f"{kept.drug.value} {words.concentration(kept.concentration_ng_per_ml)}")
        shown.add_row("for reservoir fill", f"number {kept.reservoir_generation}")
        shown.add_row("number", f"{report.program_sequence} (digest {report.program_digest.hex()})")
        shown.add_row("runs", "[bold red]no: the pump is stopped[/]" if report.stopped else "yes")
        return [shown]

    return View(content, parts)


def alarms(who: Identity, what: PumpStatus, present: Sequence[Alarm]) -> View:
    """Every alarm: condition, signal and since when."""
    content = {**_of(who), "now_ms": what.now_ms, "alarms": [facts(one) for one in present]}

    def parts() -> list[Table]:
        return [alarm_table(who, what, present)]

    return View(content, parts)


def alarm_table(who: Identity, what: PumpStatus, present: Sequence[Alarm]) -> Table:
    """The alarms as a table."""
    if not present:
        shown = table(heading(who), "alarms")
        shown.add_row("[green]none[/]")
        return shown
    shown = table(heading(who), "alarm", "priority", "condition", "signal", "since (UTC)")
    for one in present:
        style = "dim" if one.signal in _QUIET else "bold red" if one.alarm_class is AlarmClass.CRITICAL else "yellow"
        until = one.silenced_until_ms
        signal = words.SIGNALS[one.signal]
        if until is not None:
            signal += f" until {words.date(until, who.epoch_utc_s)}"
        shown.add_row(
            f"[{style}]{one.kind.value}[/]\n{words.ALARMS[one.kind]}",
            one.priority.value,
            "present" if one.condition_present else "over",
            signal if one.enabled else "switched off",
            words.when(one.since_ms, what.now_ms, who.epoch_utc_s, between="\n", zone=""),
        )
    return shown


def log(who: Identity, report: LogReport) -> View:
    """The pump's event log, and what the ring has lost."""
    content = {**_of(who), **facts(report)}

    def parts() -> list[Table]:
        shown = table(heading(who), "no.", "calendar (UTC)", "event", "detail", "value")
        for record in report.records:
            shown.add_row(
                str(record.sequence),
                words.date(record.at_ms, who.epoch_utc_s, zone=""),
                record.code.value.replace("_", " "),
                _detail(record),
                _value(record),
            )
        if report.overwritten:
            shown.caption = f"{report.overwritten} older records were overwritten"
        return [shown]

    return View(content, parts)


def _detail(record: LogRecord) -> str:
    """The name behind a record's number, which counts from 1 in the order of the vocabulary."""
    names = _DETAILS.get(record.code, ())
    if 1 <= record.detail <= len(names):
        return names[record.detail - 1].value.replace("_", " ")
    return str(record.detail) if record.detail else ""


def _value(record: LogRecord) -> str:
    if record.code in _RATES:
        return words.flow(record.value)
    if record.code in _VOLUMES:
        return words.volume(record.value)
    return str(record.value) if record.value else ""


def limits(who: Identity, found: PumpLimits, concentration_ng_per_ml: int) -> View:
    """What the pump itself enforces; flow limits as dose at this concentration too."""
    content = {**_of(who), "concentration_ng_per_ml": concentration_ng_per_ml, **facts(found)}

    def parts() -> list[Table]:
        at = words.concentration(concentration_ng_per_ml)
        shown = table(heading(who), "the pump's own limits", "from", "to")
        low, high = found.min_rate_nl_per_day, found.max_rate_nl_per_day
        shown.add_row("rate", words.flow(low), words.flow(high))
        shown.add_row(
            f"… as dose at {at}",
            words.dose(low * concentration_ng_per_ml // 1_000_000),
            words.dose(high * concentration_ng_per_ml // 1_000_000),
        )
        shown.add_row(
            "daily dose, refused outside",
            words.dose(found.daily_dose_hard_min_ng),
            words.dose(found.daily_dose_hard_max_ng),
        )
        shown.add_row(
            "daily dose, warns outside",
            words.dose(found.daily_dose_soft_min_ng),
            words.dose(found.daily_dose_soft_max_ng),
        )
        shown.add_row("change of daily dose, warns", "", words.percent(found.change_soft_ppm))
        shown.add_row("change of daily dose, refused", "", words.percent(found.change_hard_ppm))
        shown.add_row("keep-alive rate", words.flow(found.keep_alive_rate_nl_per_day), "")
        shown.add_row("low-reservoir alarm at", words.volume(found.low_reservoir_alarm_nl), "")
        return [shown]

    return View(content, parts)


def telemeter(info: TelemeterInfo) -> View:
    """What the handheld relay says of itself."""

    def parts() -> list[Table]:
        mark = SIMULATED if info.simulated else ""
        shown = table(f"{mark} telemeter, serial {info.serial}", "", "")
        bars = "█" * info.coupling_bars + "░" * (5 - info.coupling_bars)
        contact = "over the pump" if info.contact else "[bold red]no contact: lay it over the pump[/]"
        shown.add_row("contact", contact)
        shown.add_row("coupling", f"{bars} {info.coupling_bars} of 5")
        shown.add_row("battery", f"{info.battery_percent} %")
        shown.add_row("firmware", f"{info.firmware >> 16}.{info.firmware & 0xFFFF}")
        air = f"{info.air_bits_per_s} bit/s" if info.air_bits_per_s else "no air time simulated"
        shown.add_row("near field", f"{air}, {info.air_delay_ms} ms delay")
        shown.add_row(
            "frames", f"{info.frames_to_pump} to the pump, {info.frames_from_pump} from it, {info.frames_lost} lost"
        )
        return [shown]

    return View(facts(info), parts)
