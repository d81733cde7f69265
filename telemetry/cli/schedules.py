"""Programs part for part: a schedule as a table of times, two of them side by side."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from telemetry.cli import words
from telemetry.model import PumpMode
from telemetry.programmer.therapy import bridge_ms, spans_of_day
from telemetry.therapy import DAYS, MINUTES_PER_DAY
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry.therapy import Program, ProgramBolus, ProgramBridge, ProgramPatientBolus, ProgramRampStep

_Cell = tuple[int, int] | None
"""nl/day and ng/day of a stretch of the day; None where the program has no time of day."""
_Row = tuple[int, int, _Cell, _Cell]
_CONSTANT = frozenset({PumpMode.SIMPLE_CONTINUOUS, PumpMode.MINIMUM_RATE, PumpMode.PERIODIC_BOLUS})


def has_schedule(*programs: Program | None) -> bool:
    """Whether one of them runs by the time of day."""
    return any(program is not None and program.steps for program in programs)


def schedule_rows(before: Program | None, after: Program) -> list[tuple[str, str, str]]:
    """(when, before, after) of every stretch of the week in which neither changes; days that are alike together."""
    days: dict[tuple[_Row, ...], int] = {}
    for day in range(len(DAYS)):
        rows = tuple(_rows_of_day(before, after, day))
        days[rows] = days.get(rows, 0) | 1 << day
    found: list[tuple[str, str, str]] = []
    for rows, mask in days.items():
        label = "" if len(days) == 1 else f"{words.days(mask)} "
        found += [
            (f"{label}{words.minute(start)}–{words.minute(end)}", _cell(old), _cell(new))
            for start, end, old, new in rows
        ]
    return found


def _rows_of_day(before: Program | None, after: Program, day: int) -> list[_Row]:
    old, new = _stretches(before, day), _stretches(after, day)
    edges = sorted({0, MINUTES_PER_DAY, *(start for start, _, _ in (*old, *new))})
    rows: list[_Row] = []
    for start, end in pairwise(edges):
        cells = _at(old, start), _at(new, start)
        if rows and rows[-1][2:] == cells:
            rows[-1] = (rows[-1][0], end, *cells)
        else:
            rows.append((start, end, *cells))
    return rows


def _stretches(program: Program | None, day: int) -> list[tuple[int, int, _Cell]]:
    if program is None:
        return []
    if program.steps:
        return [
            (start, end, (step.rate_nl_per_day, step.dose_ng_per_day))
            for start, end, step in spans_of_day(program.steps, day)
        ]
    if program.mode in _CONSTANT:
        return [(0, MINUTES_PER_DAY, (program.rate_nl_per_day, program.dose_ng_per_day))]
    return []


def _at(stretches: Sequence[tuple[int, int, _Cell]], minute: int) -> _Cell:
    return next((cell for start, end, cell in stretches if start <= minute < end), None)


def _cell(flow: _Cell) -> str:
    return words.NONE if flow is None else words.rate(*flow)


def part_rows(program: Program) -> list[tuple[str, str]]:
    """Name and text of every part that a program has besides rate and schedule."""
    rows: list[tuple[str, str]] = []
    if program.bolus is not None:
        rows.append(("periodic bolus", periodic_bolus(program.bolus)))
    if program.ramp:
        rows.append(("titration", ramp(program.ramp)))
    if program.patient_bolus is not None:
        rows.append(("patient's own bolus", patient_bolus(program.patient_bolus)))
    if program.bridge is not None:
        rows.append(("bridge first", bridge(program.bridge)))
    return rows


def periodic_bolus(bolus: ProgramBolus) -> str:
    """``25 µg = 0.0125 ml over 5 min every 6 h, the first in 2 h``."""
    first = f"the first in {_span(bolus.first_in_s)}" if bolus.first_in_s else "the first at once"
    given = words.amount(bolus.volume_nl, bolus.dose_ng)
    return f"{given} over {_span(bolus.duration_s)} every {_span(bolus.interval_s)}, {first}"


def ramp(steps: Sequence[ProgramRampStep]) -> str:
    """``day 1 to 7: 100 µg/day = 0.050 ml/day``, one line a step."""
    lines: list[str] = []
    day = 1
    for index, step in enumerate(steps):
        last = day + step.days - 1
        when = f"from day {day}" if index == len(steps) - 1 else f"day {day}" if last == day else f"day {day} to {last}"
        lines.append(f"{when}: {words.rate(step.rate_nl_per_day, step.dose_ng_per_day)}")
        day = last + 1
    return "\n".join(lines)


def patient_bolus(rule: ProgramPatientBolus) -> str:
    """``5 µg = 0.0025 ml over 2 min, locked out for 4 h, at most 3 in 24 h``."""
    given = words.amount(rule.volume_nl, rule.dose_ng)
    return (
        f"{given} over {_span(rule.duration_s)}, locked out for {_span(rule.lockout_s)}, "
        f"at most {rule.max_per_24h} in 24 h"
    )


def bridge(one: ProgramBridge) -> str:
    """``0.600 ml/day (300 µg/day of 500 µg/ml) for 13.43 h: 0.336 ml``."""
    return (
        f"{words.flow(one.rate_nl_per_day)} ({words.dose(one.dose_ng_per_day)} of "
        f"{words.concentration(one.concentration_ng_per_ml)}) for {words.hours(bridge_ms(one))}: "
        f"{words.exact_volume(one.volume_nl)}"
    )


def _span(seconds: int) -> str:
    return words.duration(seconds * MS_PER_SECOND)
