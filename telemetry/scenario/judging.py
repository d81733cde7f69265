"""Holds a scenario's expectations against its world: now, throughout, and for windows of time; keeps what failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.scenario.checks import FieldCheck, Mismatch
from telemetry.scenario.format import Between
from telemetry.scenario.results import Failure
from telemetry.scenario.values import show_date, show_instant
from telemetry.scenario.world import Look
from telemetry.units import MS_PER_SECOND, DailyDose, Duration

if TYPE_CHECKING:
    from telemetry.scenario.checks import Check
    from telemetry.scenario.format import Scenario, Step
    from telemetry.scenario.world import Passed, Totals, World
    from telemetry.sim.recording import Recorder

MOST_FAILURES = 20
_SHOWN_EVENTS = 8
_SHOWN_FRAMES = 10


class EnoughError(Exception):
    """There are so many failures that more would tell no more."""


@dataclass(slots=True)
class Window:
    """A window of time that is open: where it began, and the slice that is being filled."""

    step: Step
    start_ms: int
    end_ms: int
    opened: Totals
    slice_began: Totals


class Judge:
    """Looks, counts, and keeps the failures with what came before each."""

    def __init__(self, scenario: Scenario, world: World, recorder: Recorder | None) -> None:
        self.failures: list[Failure] = []
        self.checks = 0
        self._scenario = scenario
        self._world = world
        self._recorder = recorder
        self._windows: list[Window] = []
        self._told: set[tuple[str, str, int]] = set()

    @property
    def watching(self) -> bool:
        """Whether something must hold throughout now, so that no event may be passed unseen."""
        return bool(
            self._scenario.always
            or self._scenario.never
            or any(window.step.always or window.step.never for window in self._windows)
        )

    def open_window(self, step: Step, start_ms: int, end_ms: int) -> Window:
        """From now on."""
        totals = self._world.totals()
        window = Window(step, start_ms, end_ms, totals, totals)
        self._windows.append(window)
        return window

    def slice(self, window: Window, *, last: bool) -> None:
        """The end of a window, or of a slice of it."""
        totals = self._world.totals()
        each = isinstance(window.step.timing, Between) and window.step.timing.each_ms is not None
        began = window.slice_began if each else window.opened
        bounds = (began.at_ms, totals.at_ms)
        name = f"{window.step} from {show_instant(bounds[0])} to {show_instant(bounds[1])}"
        # Of many slices that are wrong, the first says it.
        self.look(window.step.checks, name, bounds=bounds, passed=totals.since(began), once=str(window.step))
        window.slice_began = totals
        if last:
            self._windows.remove(window)

    def throughout(self) -> None:
        """What must hold at every event, and what must at none."""
        if not self.watching:
            return
        for index, checks in enumerate(self._scenario.always):
            self.look(checks, f"always[{index}]", once=f"always[{index}]")
        for index, checks in enumerate(self._scenario.never):
            self._never(checks, f"never[{index}]", Look(self._world))
        for window in self._windows:
            bounds = (window.start_ms, min(window.end_ms, self._world.now_ms))
            if window.step.always:
                name = f"{window.step} always"
                self.look(window.step.always, name, bounds=bounds, once=name)
            if window.step.never:
                self._never(window.step.never, f"{window.step} never", Look(self._world, bounds))

    def look(
        self,
        checks: tuple[Check, ...],
        name: str,
        *,
        bounds: tuple[int, int] | None = None,
        passed: Passed | None = None,
        once: str = "",
    ) -> None:
        """Look at each check now; with ``once`` each is said to be wrong only the first time under that name."""
        look = Look(self._world, bounds, passed)
        fine = True
        for check in checks:
            self.checks += 1
            mismatch = check.look(look)
            if mismatch is None:
                continue
            fine = False
            if not once or self._first(once, mismatch.what, mismatch.line):
                self.fail(name, mismatch)
        if self._recorder is not None and checks and fine and not once:
            self._recorder.verdict(name, passed=True)

    def _first(self, name: str, what: str, line: int) -> bool:
        """Whether it was not said before."""
        key = (name, what, line)
        new = key not in self._told
        self._told.add(key)
        return new

    def _never(self, checks: tuple[Check, ...], name: str, look: Look) -> None:
        self.checks += 1
        if any(check.look(look) is not None for check in checks) or not self._first(name, "never", 0):
            return
        what = " and ".join(_words(check, look) for check in checks)
        self.fail(name, Mismatch("never", f"never {what}", "all of it holds", checks[0].line))

    def fail(self, step: str, mismatch: Mismatch) -> None:
        """Keep a failure with its instant and what came before it; raises ``EnoughError`` after twenty."""
        world = self._world
        self.failures.append(
            Failure(
                step=step,
                line=mismatch.line,
                what=mismatch.what,
                wanted=mismatch.wanted,
                found=mismatch.found,
                at_ms=world.now_ms,
                when=show_instant(world.now_ms),
                date=show_date(world.epoch_utc_s + world.now_ms // MS_PER_SECOND),
                events=tuple(f"{show_instant(event.at_ms)}  {event}" for event in world.events[-_SHOWN_EVENTS:]),
                frames=tuple(f"{show_instant(at_ms)}  {text}" for at_ms, text in world.frames()[-_SHOWN_FRAMES:]),
            )
        )
        if self._recorder is not None:
            what = f"{step}: {mismatch.what}"
            self._recorder.verdict(what, passed=False, wanted=mismatch.wanted, found=mismatch.found)
        if len(self.failures) >= MOST_FAILURES:
            raise EnoughError


def _words(check: Check, look: Look) -> str:
    """A check in words, as far as it has some."""
    if isinstance(check, FieldCheck):
        wanted = " and ".join(item.show(look.epoch_utc_s) for item in check.comparisons)
        return f"{check.group}.{check.field.name} {wanted}"
    return type(check).__name__.removesuffix("Check").lower()


def recorder_of(world: World, scenario: Scenario) -> Recorder:
    """Follows the pump of a scenario for its run file."""
    from telemetry.sim.recording import Recorder  # noqa: PLC0415 - only who records pays for it

    every = None if scenario.record_every_ms is None else Duration(scenario.record_every_ms)
    patient = None if world.patient is None else world.patient.parameters
    said = (scenario.patient or {}).get("accustomed_to")
    accustomed = None if said is None else DailyDose.parse(said)
    return Recorder(world.pump, every=every, title=scenario.title, patient=patient, accustomed_to=accustomed)
