"""``telemetry alarm``: the table with its advice, the sounds, and the check of what a tablet sounded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from telemetry.cli.connecting import json_option
from telemetry.cli.failures import Exit
from telemetry.cli.output import SIMULATED, console, emit, facts, table

if TYPE_CHECKING:
    from telemetry.alarm_table import AlarmRow
    from telemetry.model import AlarmPriority
    from telemetry.sounds.checker import CheckReport
    from telemetry.sounds.judging import Finding
    from telemetry.sounds.numbers import Pcm

_EPILOG = """\b
Examples:
  telemetry alarm list --for carer
  telemetry alarm show empty_reservoir
  telemetry alarm sound empty_reservoir -o empty.wav --minutes 30
  telemetry alarm sound high -o high.wav
  telemetry alarm check recorded.wav --expect high
"""
_HEARERS = ("patient", "carer", "clinician")
_PRIORITIES = ("low", "medium", "high")
_MARKS = {
    "passed": "[green]met[/]",
    "failed": "[bold red]NOT MET[/]",
    "not_measured": "[yellow]not measured[/]",
}
_STYLES = {"high": "bold red", "medium": "yellow", "low": "cyan"}
_SHORT_MINUTES = 1


@click.group(epilog=_EPILOG)
def command() -> None:
    """The alarms: what each means, how it sounds, what to do; and whether a tablet's recorded signal is right."""


@command.command("list", short_help="Every alarm: its sound, its rank on a tablet, what to do.")
@click.option(
    "--for", "hearer", type=click.Choice(_HEARERS), default="patient", show_default=True, help="Whose advice."
)
@json_option
def list_command(hearer: str, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """List every alarm: how the pump sounds it, how a tablet ranks it, what its hearer does."""
    from telemetry.alarm_table import ROWS, Hearer  # noqa: PLC0415 - --help must not wait for it

    if as_json:
        emit({"simulated": True, "alarms": [_as_json(row) for row in ROWS]})
        return
    shown = table(f"{SIMULATED} alarms, and what the {hearer} does", "alarm", "advice")
    shown.columns[0].no_wrap = True
    for row in ROWS:
        shown.add_row(f"[bold]{row.kind}[/]\n{_tone(row)}\n{_ranked(row)}", row.advice.to(Hearer(hearer)))
        shown.add_section()
    console().print(shown)


@command.command("show", short_help="One alarm whole.")
@click.argument("kind", required=False, default="")
@json_option
def show_command(kind: str, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Show one alarm, KIND, whole: condition, tone, priority, advice for everybody, source."""
    from telemetry.alarm_table import ROWS, TABLE, Hearer, parse_condition  # noqa: PLC0415 - as above

    if not kind:
        raise click.UsageError(f"KIND is missing; one of: {', '.join(row.kind for row in ROWS)}")
    row = TABLE[parse_condition(kind)]
    if as_json:
        emit({"simulated": True, **_as_json(row)})
        return
    shown = table(f"{SIMULATED} {row.kind}", "", "")
    shown.add_row("when", row.condition)
    shown.add_row("pump sounds", _tone(row))
    shown.add_row("on the tablet", _ranked(row))
    shown.add_row("latches", "yes: sounds on until acknowledged" if row.latching else "no: ends with its condition")
    shown.add_row("heard by", ", ".join(row.heard_by))
    shown.add_section()
    for hearer in Hearer:
        shown.add_row(hearer.value, row.advice.to(hearer))
    shown.add_section()
    shown.add_row("source", f"{row.source} ({row.confidence})")
    console().print(shown)


@command.command("sound", short_help="Write the sound of an alarm to a WAV file.")
@click.argument("what", required=False, default="")
@click.option("-o", "--output", "path", type=click.Path(path_type=Path, dir_okay=False), help="The WAV file to write.")
@click.option("--minutes", type=click.IntRange(1, 120), default=_SHORT_MINUTES, show_default=True, help="How long.")
@click.option("--rate", "rate_hz", type=int, default=16_000, show_default=True, help="Samples a second.")
@click.option("--melody/--one-pitch", default=True, help="A tablet's signal: the drug-delivery melody, or one pitch.")
@click.option("--dead-beeper", is_flag=True, help="A pump's tones with a beeper that is dead: silence.")
@json_option
def sound_command(
    *, what: str, path: Path | None, minutes: int, rate_hz: int, melody: bool, dead_beeper: bool, as_json: bool
) -> None:
    """Write the sound of WHAT to a WAV file: an alarm of the pump, or a tablet's priority (low, medium, high).

    A pump's alarm begins at once and repeats as it would in the body: every 10 min when critical, else hourly.
    """
    from telemetry.sounds.requirements import UNVERIFIED  # noqa: PLC0415 - as above
    from telemetry.sounds.wav import write_wav  # noqa: PLC0415 - as above

    if not what or path is None:
        raise click.UsageError("say what and where: telemetry alarm sound KIND|low|medium|high -o FILE.wav")
    if what in _PRIORITIES:
        if dead_beeper:
            raise click.UsageError("--dead-beeper is a fault of the pump; a tablet's signal has none")
        sound, bursts = _of_tablet(what, minutes, rate_hz, melody=melody)
    else:
        sound, bursts = _of_pump(what, minutes, rate_hz, dead_beeper=dead_beeper)
    write_wav(path, sound, rate_hz)
    if as_json:
        content: dict[str, object] = {"simulated": True, "file": str(path), "sound": what, "bursts": bursts}
        emit({**content, "seconds": minutes * 60, "rate_hz": rate_hz})
        return
    screen = console()
    many = "1 burst" if bursts == 1 else f"{bursts} bursts"
    screen.print(f"{SIMULATED} {what}: {many} in {minutes} min, written to", end=" ")
    screen.print(str(path), markup=False, soft_wrap=True)
    if what in _PRIORITIES:
        screen.print(f"[dim]{UNVERIFIED}[/]")


@command.command("check", short_help="Check a recorded alarm signal of a tablet.")
@click.argument("path", metavar="FILE", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--expect", type=click.Choice(_PRIORITIES), help="The priority that it should be; else the one that fits best."
)
@json_option
def check_command(path: Path | None, expect: str | None, as_json: bool) -> int:  # noqa: FBT001 - a flag
    """Check a tablet's alarm signal in FILE, a WAV recording, against the ranges of IEC 60601-1-8.

    Exit status 1 unless every requirement was measured and is met. Record two bursts or more, close by, with at least
    16000 samples a second.
    """
    from telemetry.model import AlarmPriority  # noqa: PLC0415 - as above
    from telemetry.sounds.checker import Outcome, check  # noqa: PLC0415 - as above
    from telemetry.sounds.wav import read_wav  # noqa: PLC0415 - as above

    if path is None:
        raise click.UsageError("FILE is missing: a WAV recording of the tablet's alarm signal")
    sound, rate_hz = read_wav(path)
    report = check(sound, rate_hz, expect=AlarmPriority(expect) if expect else None)
    if as_json:
        _emit_report(path, report)
    else:
        _print_report(path, report)
    return Exit.DONE if report.outcome is Outcome.PASSED else Exit.REFUSED


def _of_tablet(what: str, minutes: int, rate_hz: int, *, melody: bool) -> tuple[Pcm, int]:
    from telemetry.sounds.patterns import stock_burst  # noqa: PLC0415 - as above
    from telemetry.sounds.requirements import parse_priority  # noqa: PLC0415 - as above
    from telemetry.sounds.synthesis import burst_train, count_bursts  # noqa: PLC0415 - as above

    pattern = stock_burst(parse_priority(what), melody=melody)
    duration_ms = minutes * 60_000
    return burst_train(pattern, duration_ms, rate_hz), count_bursts(pattern, duration_ms, rate_hz)


def _of_pump(what: str, minutes: int, rate_hz: int, *, dead_beeper: bool) -> tuple[Pcm, int]:
    from telemetry.alarm_table import PUMP_ROWS, parse_condition  # noqa: PLC0415 - as above
    from telemetry.model import AlarmKind, PumpEvent  # noqa: PLC0415 - as above
    from telemetry.sounds.timeline import bursts_of, render  # noqa: PLC0415 - as above

    kind = parse_condition(what)
    if not isinstance(kind, AlarmKind):
        raise click.UsageError(
            f"{kind} is announced by the tablet alone; the pump sounds: {', '.join(row.kind for row in PUMP_ROWS)}; "
            f"a tablet's signals are {', '.join(_PRIORITIES)}"
        )
    duration_ms = minutes * 60_000
    raised = [PumpEvent(0, "alarm_raised", kind)]
    bursts = bursts_of(raised, from_ms=0, to_ms=duration_ms, dead_from_ms=0 if dead_beeper else None)
    return render(bursts, start_ms=0, duration_ms=duration_ms, rate_hz=rate_hz), len(bursts)


def _tone(row: AlarmRow) -> str:
    if row.burst_ms is None or row.repeat_ms is None:
        return "nothing"
    kind = "two tones" if row.tone.value == "two_tone" else "one tone"
    return f"{kind}, {row.burst_ms // 1_000} s, every {row.repeat_ms // 60_000} min"


def _ranked(row: AlarmRow) -> str:
    text = f"[{_STYLES[row.priority]}]{row.priority}[/]"
    if row.near_ms is None or row.near_priority is None:
        return text
    return (
        f"{text}\n[{_STYLES[row.near_priority]}]{row.near_priority}[/] when empty within {row.near_ms // 3_600_000} h"
    )


def _as_json(row: AlarmRow) -> dict[str, object]:
    found = facts(row)
    return {("class" if name == "alarm_class" else name): value for name, value in found.items()}


def _emit_report(path: Path, report: CheckReport) -> None:
    from telemetry.sounds.requirements import UNVERIFIED  # noqa: PLC0415 - as above

    emit({"file": str(path), **facts(report), "failed": list(report.failed), "unverified": UNVERIFIED})


def _print_report(path: Path, report: CheckReport) -> None:
    from rich.markup import escape  # noqa: PLC0415 - with --json nothing of rich is needed

    from telemetry.sounds.requirements import UNVERIFIED  # noqa: PLC0415 - as above

    shown = table(
        f"{escape(path.name)} as {_said(report.priority)} priority", "requirement", "measured", "allowed", "sure", ""
    )
    for finding in report.findings:
        shown.add_row(
            finding.name, _measured(finding), _allowed(finding), finding.allowed.mark, _MARKS[finding.verdict]
        )
    screen = console()
    screen.print(shown)
    for finding in report.findings:
        if finding.note or finding.verdict.value != "passed":
            note = f": {finding.note}" if finding.note else ""
            screen.print(f"{finding.name} is the {finding.what}{note}", markup=False)
    noise = (
        "silent pauses" if report.signal_to_noise_db is None else f"{report.signal_to_noise_db:.0f} dB over the noise"
    )
    melody = f"melody {report.melody} (drug delivery)" if report.melody else "no melody of drug delivery"
    cut = f", {report.cut_off_bursts} cut off and left out" if report.cut_off_bursts else ""
    many = "1 burst" if report.bursts == 1 else f"{report.bursts} bursts"
    screen.print(f"[dim]{many}{cut}; {report.length_ms / 1_000:.1f} s; {noise}; {melody}[/]")
    slack = report.slack
    screen.print(
        f"[dim]left to measuring: {slack.time_ms:.0f} ms, a rise of {slack.rise_percent:.0f} % of the pulse[/]"
    )
    screen.print(f"[dim]{UNVERIFIED}[/]")
    screen.print(_verdict(report))


def _said(priority: AlarmPriority) -> str:
    return f"[{_STYLES[priority]}]{priority}[/]"


def _verdict(report: CheckReport) -> str:
    fits = "the pattern expected" if report.expected else "the pattern that fits best"
    match report.outcome.value:
        case "passed":
            return f"[bold green]PASSED[/]: all of the {report.priority} pattern's requirements are met"
        case "failed":
            return f"[bold red]FAILED[/] as {report.priority}, {fits}: {', '.join(report.failed)}"
        case _:
            return f"[bold yellow]INCOMPLETE[/] as {report.priority}, {fits}: not everything could be measured"


def _measured(finding: Finding) -> str:
    if finding.least is None or finding.most is None:
        return "–"
    unit = finding.allowed.unit
    scale, unit, decimals = (1_000, "s", 2) if _in_seconds(finding) else (1, unit, 1 if unit else 0)
    least, most = (f"{value / scale:z.{decimals}f}".replace("-", "−") for value in (finding.least, finding.most))
    measured = least if least == most else f"{least} – {most}"
    return f"{measured} {unit.partition(' ')[0]}".rstrip()


def _allowed(finding: Finding) -> str:
    if not _in_seconds(finding):
        return str(finding.allowed).replace("-", "−")
    low, high = finding.allowed.least, finding.allowed.most
    seconds = replace(finding.allowed, least=low and low / 1_000, most=high and high / 1_000, unit="s")
    return str(seconds)


def _in_seconds(finding: Finding) -> bool:
    return finding.allowed.unit == "ms" and (finding.allowed.least or 0) >= 1_000
