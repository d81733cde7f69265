"""A scenario as it is played: read from a file, every mistake named with its place before anything is played."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from telemetry.errors import UsageError
from telemetry.model import Role, Warn
from telemetry.scenario.checks import Check, FieldCheck, read_checks
from telemetry.scenario.document import Document, parse
from telemetry.scenario.fault_text import check_fault
from telemetry.scenario.problems import Problem, ScenarioError
from telemetry.scenario.therapy_text import therapy_of
from telemetry.scenario.validation import validate
from telemetry.scenario.values import Instant, read_instant, read_share_ppm
from telemetry.units import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from telemetry.scenario.document import Path
    from telemetry.therapy import Therapy


@dataclass(frozen=True, slots=True)
class At:
    """At an instant."""

    instant: Instant


@dataclass(frozen=True, slots=True)
class After:
    """So long after the step before this one was played."""

    span_ms: int


@dataclass(frozen=True, slots=True)
class When:
    """At an event of the pump, or so long after it."""

    event: str
    detail: str | None
    after_ms: int
    earliest: Instant
    nth: int
    each_time: bool
    optional: bool

    def __str__(self) -> str:
        return f"{self.event} {self.detail or ''}".strip()


@dataclass(frozen=True, slots=True)
class Every:
    """Again and again."""

    each_ms: int
    first: Instant | None
    until: Instant | None
    times: int | None
    jitter_ms: int


@dataclass(frozen=True, slots=True)
class Between:
    """Throughout a window, or in each slice of it."""

    start: Instant
    end: Instant
    each_ms: int | None


Timing = At | After | When | Every | Between


@dataclass(frozen=True, slots=True)
class Action:
    """What is done: ``channel`` is wire, bench, fault or clear; ``arguments`` as written, checked by the schema."""

    channel: str
    name: str
    arguments: Any

    def __str__(self) -> str:
        return f"{self.channel}: {self.name}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What an action must come to: applied, refused (with a reason, and which warnings), unknown, link_error, ...."""

    outcome: str = "applied"
    reason: str = ""
    warnings: frozenset[str] | None = None
    says: str = ""

    def __str__(self) -> str:
        words = self.outcome + (f" ({self.reason})" if self.reason else "")
        words += f", warnings {', '.join(sorted(self.warnings)) or 'none'}" if self.warnings is not None else ""
        return words + (f", saying {self.says!r}" if self.says else "")


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the timeline. ``number`` counts from 0, ``line`` is its place in the file."""

    number: int
    line: int
    timing: Timing
    action: Action | None
    role: Role | None
    accept: frozenset[Warn]
    expected: Expected
    note: str
    checks: tuple[Check, ...]
    always: tuple[Check, ...]
    never: tuple[Check, ...]

    def __str__(self) -> str:
        what = str(self.action) if self.action is not None else "expect"
        return f"timeline[{self.number}] ({self.note or what})"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario that can be played. ``pump``, ``patient`` and ``near_field`` are as written, checked by the schema."""

    file: str
    title: str
    about: str
    source: str
    tags: tuple[str, ...]
    seed: int
    role: Role
    pump: Mapping[str, Any]
    patient: Mapping[str, Any] | None
    near_field: Mapping[str, Any]
    faults: tuple[Action, ...]
    record_every_ms: int | None
    ends: Instant | None
    timeline: tuple[Step, ...]
    always: tuple[tuple[Check, ...], ...]
    never: tuple[tuple[Check, ...], ...]
    finally_: tuple[Check, ...]

    @property
    def name(self) -> str:
        """The file's name without folder and suffix."""
        return FilePath(self.file).stem


def load(file: str | FilePath) -> Scenario:
    """Read a scenario file; raises ``UsageError``, with every mistake and its place where it is no scenario."""
    path = FilePath(file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(f"{path}: cannot be read ({why})") from error
    return loads(text, str(path))


def loads(text: str, file: str = "scenario.yaml") -> Scenario:
    """Read a scenario from text; raises ``ScenarioError`` with every mistake and its place."""
    document = parse(text, file)
    validate(document)
    return _Loader(document).scenario()


class _Loader:
    """Turns validated data into a scenario; rules that no schema can say are checked here."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._data: dict[str, Any] = document.data
        self._problems: list[Problem] = []

    def scenario(self) -> Scenario:
        data = self._data
        self._check_therapies(data, ())
        timeline = tuple(self._step(number, raw) for number, raw in enumerate(data.get("timeline", ())))
        lists = {
            name: tuple(self._checks((name, index), raw) for index, raw in enumerate(data.get(name, ())))
            for name in ("always", "never")
        }
        made = Scenario(
            file=self._document.file,
            title=data["title"],
            about=data.get("about", ""),
            source=data.get("source", ""),
            tags=tuple(data.get("tags", ())),
            seed=data.get("seed", 0),
            role=Role(data.get("role", Role.CLINICIAN)),
            pump=data.get("pump", {}),
            patient=data.get("patient"),
            near_field=data.get("near_field", {}),
            faults=tuple(self._fault(("faults", index), raw) for index, raw in enumerate(data.get("faults", ()))),
            record_every_ms=_span(data.get("record_every")),
            ends=_instant(data.get("ends")),
            timeline=timeline,
            always=lists["always"],
            never=lists["never"],
            finally_=self._checks(("finally",), data.get("finally", {})),
        )
        self._check_whole(made)
        if self._problems:
            raise ScenarioError(self._document.file, self._problems)
        return made

    def _check_whole(self, made: Scenario) -> None:
        if not made.timeline and made.ends is None:
            self._wrong((), "nothing happens: give a timeline, or say when it ends")
        if not (made.finally_ or made.always or made.never or made.timeline):
            self._wrong((), "nothing is expected and nothing is done")
        if made.patient is None and self._looks_at_patient(made):
            self._wrong((), "the patient is looked at; add `patient: {}` to play the patient model")

    def _looks_at_patient(self, made: Scenario) -> bool:
        of_steps = (checks for step in made.timeline for checks in (step.checks, step.always, step.never))
        every = (*made.always, *made.never, made.finally_, *of_steps)
        looked = any(isinstance(item, FieldCheck) and item.group == "patient" for checks in every for item in checks)
        return looked or any(step.action is not None and step.action.name == "screening" for step in made.timeline)

    def _check_therapies(self, data: object, path: Path) -> None:
        """Every therapy of the file, wherever it stands, is one that a pump could be asked for."""
        for here, therapy in _therapies(data, path):
            try:
                therapy_of(therapy)
            except UsageError as error:
                self._wrong(here, str(error))

    def _checks(self, path: Path, raw: Mapping[str, Any], *, window: bool = False) -> tuple[Check, ...]:
        if "passed" in raw and not window:
            self._wrong((*path, "passed"), "needs a window of time; use it in a step with `between`")
        return read_checks(self._document, path, raw)

    def _step(self, number: int, raw: Mapping[str, Any]) -> Step:
        path: Path = ("timeline", number)
        line, _ = self._document.place(path)
        action = self._action(path, raw)
        timing = self._timing(path, raw, number)
        window = isinstance(timing, Between)
        for name in ("as", "accept"):
            if name in raw and (action is None or action.channel != "wire"):
                self._wrong((*path, name), "goes with an action through the wire; there is none in this step")
        if "outcome" in raw and action is None:
            self._wrong((*path, "outcome"), "goes with an action; there is none in this step")
        if window and action is not None:
            self._wrong(path, f"`between` is for expectations; {action.channel} belongs to a step of its own")
        if not window:
            for name in ("each", "always", "never"):
                if name in raw:
                    self._wrong((*path, name), "needs a window of time; use it in a step with `between`")
        if action is None and not any(name in raw for name in ("expect", "always", "never")):
            self._wrong(path, "does nothing and expects nothing")
        return Step(
            number=number,
            line=line,
            timing=timing,
            action=action,
            role=Role(raw["as"]) if "as" in raw else None,
            accept=frozenset(Warn(name) for name in raw.get("accept", ())),
            expected=_expected(raw.get("outcome", "applied")),
            note=raw.get("note", ""),
            checks=self._checks((*path, "expect"), raw.get("expect", {}), window=window),
            always=self._checks((*path, "always"), raw.get("always", {})),
            never=self._checks((*path, "never"), raw.get("never", {})),
        )

    def _timing(self, path: Path, raw: Mapping[str, Any], number: int) -> Timing:
        if "at" in raw:
            return At(read_instant(raw["at"]))
        if "after" in raw:
            if number == 0:
                self._wrong((*path, "after"), "there is no step before this one; use `at`")
            return After(Duration.parse(str(raw["after"])).ms if raw["after"] != 0 else 0)
        if "when" in raw:
            when = raw["when"]
            detail = when.get("detail")
            return When(
                when["event"],
                None if detail is None else str(detail),
                _span(when.get("after")) or 0,
                read_instant(when.get("from", 0)),
                when.get("nth", 1),
                when.get("each_time", False),
                when.get("optional", False),
            )
        if "every" in raw:
            every = raw["every"]
            if "until" not in every and "times" not in every:
                self._wrong((*path, "every"), "never ends; give `until` or `times`")
            return Every(
                _span(every["each"]) or 1,
                _instant(every.get("from")),
                _instant(every.get("until")),
                every.get("times"),
                _span(every.get("jitter")) or 0,
            )
        start, end = raw["between"]
        return Between(read_instant(start), read_instant(end), _span(raw.get("each")))

    def _action(self, path: Path, raw: Mapping[str, Any]) -> Action | None:
        for channel in ("wire", "bench"):
            if channel in raw:
                said = raw[channel]
                name, arguments = (said, None) if isinstance(said, str) else next(iter(said.items()))
                self._check_action(path, channel, name, arguments)
                return Action(channel, name, arguments)
        if "fault" in raw:
            return self._fault((*path, "fault"), raw["fault"])
        return Action("clear", raw["clear"], None) if "clear" in raw else None

    def _check_action(self, path: Path, channel: str, name: str, arguments: object) -> None:
        if name == "titrate" and abs(read_share_ppm(arguments)) >= 1_000_000:
            self._wrong((*path, channel, name), f"{arguments}: a step changes the dose by less than 100 %")
        if name == "set_clock" and isinstance(arguments, dict):
            given = [key for key in ("utc", "ahead", "behind") if key in arguments]
            if len(given) > 1:
                self._wrong((*path, channel, name), f"{' and '.join(given)} stand together; one at most")

    def _fault(self, path: Path, raw: str | Mapping[str, Any]) -> Action:
        name, parameters = (raw, {}) if isinstance(raw, str) else next(iter(raw.items()))
        try:
            check_fault(name, parameters)
        except UsageError as error:
            self._wrong(path if isinstance(raw, str) else (*path, name), str(error))
        return Action("fault", name, parameters)

    def _wrong(self, path: Path, message: str) -> None:
        self._problems.append(self._document.problem(path, message))


def therapy_at(data: Mapping[str, Any] | None) -> Therapy | None:
    """The therapy of an action's arguments, where it has one."""
    return None if data is None else therapy_of(data)


def _therapies(data: object, path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    if isinstance(data, dict):
        for key, part in data.items():
            if key in {"therapy", "program"} and isinstance(part, dict):
                yield (*path, key), part
            else:
                yield from _therapies(part, (*path, key))
    elif isinstance(data, list):
        for index, part in enumerate(data):
            yield from _therapies(part, (*path, index))


def _expected(raw: str | Mapping[str, Any]) -> Expected:
    if isinstance(raw, str):
        return Expected(raw)
    warnings = frozenset(raw["warnings"]) if "warnings" in raw else None
    return Expected("refused", raw["refused"], warnings, raw.get("says", ""))


def _span(raw: object) -> int | None:
    return None if raw is None else Duration.parse(str(raw)).ms


def _instant(raw: object) -> Instant | None:
    return None if raw is None else read_instant(raw)
