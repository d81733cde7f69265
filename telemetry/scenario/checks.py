"""Expectations: what is looked at, what it must be, and what to say when it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from telemetry.scenario import subjects
from telemetry.scenario.values import KINDS, NOTHING, Comparison, read_comparisons, show_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from telemetry.model import Alarm, AlarmKind
    from telemetry.scenario.document import Document, Path
    from telemetry.scenario.subjects import Field


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something that happened: an event of the pump, or a line of its log."""

    at_ms: int
    name: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.detail}".strip()


class View(Protocol):
    """The world at one instant, as expectations see it."""

    epoch_utc_s: int

    def record(self, group: str) -> object | None:
        """The record behind a group of fields; None when there is none (no answer yet, no patient)."""
        ...

    def alarms(self) -> Sequence[Alarm]:
        """Every alarm that is present, latched or silenced."""
        ...

    def tones(self, kind: AlarmKind) -> int:
        """Bursts of this kind begun since the last boot."""
        ...

    def occurrences(self, group: str) -> Sequence[Occurrence]:
        """Events or log lines, within the window if the view has one."""
        ...


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One expectation that does not hold."""

    what: str
    wanted: str
    found: str
    line: int


@dataclass(frozen=True, slots=True)
class FieldCheck:
    """Conditions on one field of a record."""

    group: str
    field: Field
    comparisons: tuple[Comparison, ...]
    line: int

    def look(self, view: View) -> Mismatch | None:
        """None when every condition holds."""
        what = f"{self.group}.{self.field.name}"
        wanted = " and ".join(item.show(view.epoch_utc_s) for item in self.comparisons)
        record = view.record(self.group)
        try:
            found = None if record is None else self.field.of(record)
            found = None if found == NOTHING else found  # some names are *none*: a file cannot tell the two apart
        except AttributeError:
            return Mismatch(what, wanted, f"a {type(record).__name__}, which has no {self.field.name}", self.line)
        if record is None:
            return Mismatch(what, wanted, f"there is no {self.group} to look at", self.line)
        if all(item.holds(found, view.epoch_utc_s) for item in self.comparisons):
            return None
        return Mismatch(what, wanted, "none" if found is None else self.field.kind.show(found), self.line)


@dataclass(frozen=True, slots=True)
class AlarmsCheck:
    """Which alarms are there: exactly these, at least these, none of these."""

    exactly: frozenset[str] | None
    present: frozenset[str]
    absent: frozenset[str]
    line: int

    def look(self, view: View) -> Mismatch | None:
        """None when it holds."""
        found = {alarm.kind.value for alarm in view.alarms()}
        fits = self.exactly in {None, frozenset(found)} and self.present <= found and not self.absent & found
        if fits:
            return None
        wanted = [f"exactly {_names(self.exactly)}"] if self.exactly is not None else []
        wanted += [_names(self.present)] if self.present else []
        wanted += [f"not {_names(self.absent)}"] if self.absent else []
        return Mismatch("alarms", " and ".join(wanted), _names(found), self.line)


@dataclass(frozen=True, slots=True)
class AlarmCheck:
    """Conditions on one field of one alarm."""

    kind: str
    field: Field
    comparisons: tuple[Comparison, ...]
    line: int

    def look(self, view: View) -> Mismatch | None:
        """None when the alarm is there and every condition holds."""
        what = f"alarm.{self.kind}.{self.field.name}"
        wanted = " and ".join(item.show(view.epoch_utc_s) for item in self.comparisons)
        alarm = next((alarm for alarm in view.alarms() if alarm.kind.value == self.kind), None)
        if alarm is None:
            return Mismatch(what, wanted, "no such alarm is present", self.line)
        found = self.field.of(alarm)
        if all(item.holds(found, view.epoch_utc_s) for item in self.comparisons):
            return None
        return Mismatch(what, wanted, "none" if found is None else self.field.kind.show(found), self.line)


@dataclass(frozen=True, slots=True)
class TonesCheck:
    """How many bursts an alarm has begun."""

    kind: AlarmKind
    comparisons: tuple[Comparison, ...]
    line: int

    def look(self, view: View) -> Mismatch | None:
        """None when it holds."""
        found = view.tones(self.kind)
        if all(item.holds(found, view.epoch_utc_s) for item in self.comparisons):
            return None
        wanted = " and ".join(item.show(view.epoch_utc_s) for item in self.comparisons)
        return Mismatch(f"tones.{self.kind.value}", wanted, str(found), self.line)


@dataclass(frozen=True, slots=True)
class Pattern:
    """What an occurrence must look like."""

    name: str
    detail: str | None
    at: tuple[Comparison, ...] = ()

    def fits(self, found: Occurrence, epoch_utc_s: int) -> bool:
        """Whether an occurrence is one of these."""
        return (
            found.name == self.name
            and self.detail in {None, found.detail}
            and all(item.holds(found.at_ms, epoch_utc_s) for item in self.at)
        )

    def show(self, epoch_utc_s: int) -> str:
        """In words."""
        at = " and ".join(item.show(epoch_utc_s) for item in self.at)
        return f"{self.name} {self.detail or ''}".strip() + (f" at {at}" if at else "")


@dataclass(frozen=True, slots=True)
class OccurrenceCheck:
    """What happened, and what did not. ``operator``: contains, lacks, in_order, only, count."""

    group: str
    operator: str
    patterns: tuple[Pattern, ...]
    line: int
    of: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()

    def look(self, view: View) -> Mismatch | None:
        """None when it holds."""
        seen = view.occurrences(self.group)
        epoch = view.epoch_utc_s
        wanted = ", ".join(pattern.show(epoch) for pattern in self.patterns)
        fault = _OCCURRENCE_FAULTS[self.operator](self, seen, epoch)
        if fault is None:
            return None
        if self.operator == "count":
            wanted += " " + " and ".join(item.show(epoch) for item in self.comparisons) + " times"
        words = {"lacks": "none of ", "only": f"of {', '.join(self.of)} only ", "in_order": "in this order "}
        return Mismatch(f"{self.group}.{self.operator}", words.get(self.operator, "") + wanted, fault, self.line)


def _contains(check: OccurrenceCheck, seen: Sequence[Occurrence], epoch: int) -> str | None:
    missing = [p for p in check.patterns if not any(p.fits(item, epoch) for item in seen)]
    return f"no {', no '.join(p.show(epoch) for p in missing)}; {_seen(check, seen)}" if missing else None


def _lacks(check: OccurrenceCheck, seen: Sequence[Occurrence], epoch: int) -> str | None:
    there = [item for item in seen if any(p.fits(item, epoch) for p in check.patterns)]
    return _listed(there) if there else None


def _in_order(check: OccurrenceCheck, seen: Sequence[Occurrence], epoch: int) -> str | None:
    left = list(check.patterns)
    for item in seen:
        if left and left[0].fits(item, epoch):
            left.pop(0)
    return f"{left[0].show(epoch)} did not come in its turn; {_seen(check, seen)}" if left else None


def _only(check: OccurrenceCheck, seen: Sequence[Occurrence], epoch: int) -> str | None:
    there = [item for item in seen if item.name in check.of]
    fits = len(there) == len(check.patterns) and all(
        pattern.fits(item, epoch) for pattern, item in zip(check.patterns, there, strict=True)
    )
    return None if fits else _listed(there)


def _count(check: OccurrenceCheck, seen: Sequence[Occurrence], epoch: int) -> str | None:
    number = sum(any(p.fits(item, epoch) for p in check.patterns) for item in seen)
    return None if all(item.holds(number, epoch) for item in check.comparisons) else f"{number} times"


_OCCURRENCE_FAULTS: dict[str, Callable[[OccurrenceCheck, Sequence[Occurrence], int], str | None]] = {
    "contains": _contains,
    "lacks": _lacks,
    "in_order": _in_order,
    "only": _only,
    "count": _count,
}
_SHOWN = 6

Check = FieldCheck | AlarmsCheck | AlarmCheck | TonesCheck | OccurrenceCheck


def _seen(check: OccurrenceCheck, seen: Sequence[Occurrence]) -> str:
    named = {pattern.name for pattern in check.patterns}
    near = [item for item in seen if item.name in named]
    return f"of these kinds there were: {_listed(near)}"


def _listed(items: Sequence[Occurrence]) -> str:
    if not items:
        return "nothing"
    shown = "; ".join(f"{item} at {show_instant(item.at_ms)}" for item in items[-_SHOWN:])
    return shown if len(items) <= _SHOWN else f"{len(items)} of them, the last: {shown}"


def _names(names: frozenset[str] | set[str] | None) -> str:
    return ", ".join(sorted(names)) if names else "none"


# --- reading --------------------------------------------------------------------------------------------------------

_GROUPS: dict[str, Mapping[str, Field]] = {
    "status": subjects.STATUS,
    "truth": subjects.TRUTH,
    "ledger": subjects.LEDGER,
    "delivery": subjects.DELIVERY,
    "identity": subjects.IDENTITY,
    "limits": subjects.LIMITS,
    "passed": subjects.WINDOW,
    "patient": subjects.PATIENT,
    "answer": subjects.ANSWER,
}


def read_checks(document: Document, path: Path, data: Mapping[str, Any]) -> tuple[Check, ...]:
    """The expectations of one table; ``data`` has passed the schema."""
    from telemetry.model import AlarmKind  # noqa: PLC0415 - needed at run time here only

    found: list[Check] = []
    for group, part in data.items():
        here = (*path, group)
        if group in _GROUPS:
            for name, raw in part.items():
                field = _GROUPS[group][name]
                line, _ = document.place((*here, name))
                found.append(FieldCheck(group, field, read_comparisons(field.kind, raw), line))
        elif group == "alarms":
            line, _ = document.place(here)
            listed = {"exactly": part} if isinstance(part, list) else part
            exactly = frozenset(listed["exactly"]) if "exactly" in listed else None
            present, absent = frozenset(listed.get("present", ())), frozenset(listed.get("absent", ()))
            found.append(AlarmsCheck(exactly, present, absent, line))
        elif group == "alarm":
            for kind, conditions in part.items():
                for name, raw in conditions.items():
                    field = subjects.ALARM[name]
                    line, _ = document.place((*here, kind, name))
                    found.append(AlarmCheck(kind, field, read_comparisons(field.kind, raw), line))
        elif group == "tones":
            for kind, raw in part.items():
                line, _ = document.place((*here, kind))
                found.append(TonesCheck(AlarmKind(kind), read_comparisons(KINDS["whole"], raw), line))
        else:
            found += _occurrence_checks(document, here, group, part)
    return tuple(found)


def _occurrence_checks(document: Document, path: Path, group: str, part: Mapping[str, Any]) -> list[OccurrenceCheck]:
    found: list[OccurrenceCheck] = []
    for operator, raw in part.items():
        line, _ = document.place((*path, operator))
        if operator == "of":
            if "only" not in part:
                raise document.error((*path, operator), "`of` names the kinds that `only` speaks of; `only` is missing")
        elif operator == "count":
            for text, number in raw.items():
                line, _ = document.place((*path, operator, text))
                comparisons = read_comparisons(KINDS["whole"], number)
                found.append(OccurrenceCheck(group, operator, (_pattern(text),), line, comparisons=comparisons))
        else:
            patterns = tuple(_pattern(item) for item in raw)
            if operator == "only" and "of" not in part and not patterns:
                raise document.error((*path, operator), "says nothing; name the kinds that must not come with `of`")
            of = tuple(part.get("of") or sorted({pattern.name for pattern in patterns}))
            found.append(OccurrenceCheck(group, operator, patterns, line, of=of if operator == "only" else ()))
    return found


def _pattern(raw: str | Mapping[str, Any]) -> Pattern:
    if isinstance(raw, str):
        name, _, rest = raw.partition(" ")
        return Pattern(name, rest.strip() or None)
    at = read_comparisons(KINDS["instant"], raw["at"]) if "at" in raw else ()
    detail = raw.get("detail")
    return Pattern(raw.get("event") or raw["code"], None if detail is None else str(detail), at)
