"""What a reading looks like: the same facts as tables for people and as one object for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.cli import logbook, schedules, words
from telemetry.cli.output import SIMULATED, facts, table
from telemetry.model import Activity, AlarmClass, AlarmSignal
from telemetry.units import NL_PER_ML

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from telemetry.model import (
        Alarm,
        DeliveryReport,
        Identity,
        LogReport,
        PumpLimits,
        PumpStatus,
        TelemeterInfo,
    )
    from telemetry.programmer import PumpRules
    from telemetry.therapy import AlarmSettings, Program, ProgramReport

_QUIET = frozenset({AlarmSignal.OFF, AlarmSignal.ACKNOWLEDGED, AlarmSignal.SILENCED})


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
        ("mode", mode if what.mode in words.FLOWING else f"[bold red]{mode}[/]"),
        ("rate", f"{words.flow(what.rate_nl_per_day)} = {words.dose(what.dose_ng_per_day)}"),
        ("drug", f"{what.drug.value} {words.concentration(what.concentration_ng_per_ml)}"),
        ("reservoir", f"{words.volume(what.reservoir_nl)} of {words.volume(who.reservoir_capacity_nl)} (calculated)"),
        ("low-reservoir alarm", words.when(what.low_reservoir_at_ms, what.now_ms, epoch)),
        ("battery", f"{what.battery_percent} %, replace by {words.date(what.replace_by_ms, epoch)}"),
        ("pump time", f"{words.pump_time(what.now_ms)} ({words.date(what.now_ms, epoch)})"),
    ]
    if what.stopped_since_ms is not None:
        rows.insert(1, ("stopped since", words.when(what.stopped_since_ms, what.now_ms, epoch)))
    if what.activity is not Activity.NONE:
        ends = words.when(what.activity_ends_ms, what.now_ms, epoch)
        rows.insert(1, ("now", f"[bold]{words.ACTIVITIES[what.activity]}[/]\nends {ends}"))
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
            ("drive", f"{words.DRIVES[who.drive]}, {'with' if who.level_sensor else 'no'} level sensor"),
            ("reservoir", words.volume(who.reservoir_capacity_nl)),
            ("pump tubing", words.exact_volume(who.tubing_volume_nl)),
            ("catheter", words.exact_volume(who.catheter_volume_nl)),
            ("calibration", f"{words.factor(who.calibration_ppm)} (must be the package's)"),
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
        name = "largest day" if kept.steps else "basal" if kept.bolus else "first step" if kept.ramp else "rate"
        shown.add_row(name, f"{words.flow(kept.rate_nl_per_day)} = {words.dose(kept.dose_ng_per_day)}")
        for part, text in schedules.part_rows(kept):
            shown.add_row(part, text)
        shown.add_row("drug", f"{kept.drug.value} {words.concentration(kept.concentration_ng_per_ml)}")
        shown.add_row("for reservoir fill", f"number {kept.reservoir_generation}")
        shown.add_row("number", f"{report.program_sequence} (digest {report.program_digest.hex()})")
        shown.add_row("runs", "[bold red]no: the pump is stopped[/]" if report.stopped else "yes")
        return [shown, *_schedule(kept)]

    return View(content, parts)


def _schedule(program: Program) -> list[Table]:
    if not program.steps:
        return []
    shown = table("by the pump's clock", "when", "dose and rate")
    for when, _, rate in schedules.schedule_rows(None, program):
        shown.add_row(when, rate)
    return [shown]


def delivery(who: Identity, found: DeliveryReport) -> View:
    """What runs on top of the program, what was given in the last hours, and the pump's clock."""
    content = {**_of(who), **facts(found)}

    def parts() -> list[Table]:
        epoch, now = who.epoch_utc_s, found.now_ms
        shown = table(heading(who), "", "delivery, by the pump's own count")
        shown.add_row("now", words.ACTIVITIES[found.activity])
        if found.activity is not Activity.NONE:
            given, whole = words.exact_volume(found.activity_delivered_nl), words.exact_volume(found.activity_volume_nl)
            shown.add_row("given of it", f"{given} of {whole}")
            shown.add_row("ends", words.when(found.activity_ends_ms, now, epoch))
        shown.add_row("last hour", words.exact_volume(found.window_1h_nl))
        shown.add_row("last 4 h", words.exact_volume(found.window_4h_nl))
        shown.add_row("last 24 h", words.amount(found.window_24h_nl, found.window_24h_ng))
        shown.add_row("patient's boluses in 24 h", str(found.patient_boluses_24h))
        if found.locked_out_until_ms is not None:
            shown.add_row("locked out until", words.when(found.locked_out_until_ms, now, epoch))
        shown.add_row("rate changes next", words.when(found.next_change_ms, now, epoch))
        shown.add_row("the pump's clock", words.clock(found.clock_utc_s, found.zone_minutes))
        return [shown]

    return View(content, parts)


def alarm_settings(who: Identity, found: AlarmSettings) -> View:
    """What a clinician may set of the alarms."""

    def parts() -> list[Table]:
        shown = table(heading(who), "alarm settings", "")
        for name, text in alarm_setting_rows(found):
            shown.add_row(name, text)
        return [shown]

    return View({**_of(who), **facts(found)}, parts)


def alarm_setting_rows(settings: AlarmSettings) -> list[tuple[str, str]]:
    """What of the alarms can be set, and how it is."""
    return [
        ("low-reservoir alarm at", words.volume(settings.low_reservoir_alarm_nl)),
        ("low-reservoir alarm", "on" if settings.low_reservoir_enabled else "OFF"),
        ("elective-replacement alarm", "on" if settings.elective_replacement_enabled else "OFF"),
    ]


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
                words.LOG[record.code],
                logbook.detail(record),
                logbook.value(record),
            )
        if report.overwritten:
            shown.caption = f"{report.overwritten} older records were overwritten"
        return [shown]

    return View(content, parts)


LIMIT_FIELDS: tuple[tuple[str, str, Callable[[int], str]], ...] = (
    ("min_rate_nl_per_day", "rate, refused below", words.flow),
    ("max_rate_nl_per_day", "rate, refused above", words.flow),
    ("keep_alive_rate_nl_per_day", "keep-alive rate", words.flow),
    ("daily_dose_hard_min_ng", "daily dose, refused below", words.dose),
    ("daily_dose_hard_max_ng", "daily dose, refused above", words.dose),
    ("daily_dose_soft_min_ng", "daily dose, warns below", words.dose),
    ("daily_dose_soft_max_ng", "daily dose, warns above", words.dose),
    ("change_soft_ppm", "change of daily dose, warns above", words.percent),
    ("change_hard_ppm", "change of daily dose, refused above", words.percent),
    ("bolus_dose_soft_max_ng", "one bolus, warns above", words.bolus_dose),
    ("bolus_dose_hard_max_ng", "one bolus, refused above", words.bolus_dose),
    ("low_reservoir_alarm_nl", "low-reservoir alarm at", words.volume),
)
"""Every limit: its field, what it is called, how it is written."""


def limits(who: Identity, found: PumpLimits, rules: PumpRules, concentration_ng_per_ml: int) -> View:
    """What the pump itself enforces; flow limits as dose at this concentration too."""
    content = {
        **_of(who),
        "concentration_ng_per_ml": concentration_ng_per_ml,
        **facts(found),
        "rules": facts(rules),
    }

    def parts() -> list[Table]:
        at = words.concentration(concentration_ng_per_ml)
        shown = table(heading(who), "the pump's own limits", "")
        for name, label, show in LIMIT_FIELDS:
            value = getattr(found, name)
            text = show(value)
            if show is words.flow:
                text += f" = {words.dose(value * concentration_ng_per_ml // NL_PER_ML)} at {at}"
            shown.add_row(label, text)
        shown.add_row("schedule steps a day", f"at most {rules.max_schedule_steps}")
        shown.add_row("steps of a ramp", f"at most {rules.max_ramp_steps}")
        shown.add_row("rate of 0", "allowed" if rules.zero_rate_allowed else "refused")
        shown.add_row("patient's own bolus", "allowed" if rules.patient_bolus_allowed else "FORBIDDEN for this drug")
        shown.add_row("primes at", words.flow(rules.prime_rate_nl_per_day))
        shown.add_row("most in 1 h", words.volume(rules.window_1h_nl))
        shown.add_row("most in 4 h", words.volume(rules.window_4h_nl))
        shown.add_row("most in 24 h", words.volume(rules.window_24h_nl))
        listed = ", ".join(words.concentration(one) for one in rules.concentrations_ng_per_ml)
        shown.add_row("concentrations listed", listed or words.NONE)
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
