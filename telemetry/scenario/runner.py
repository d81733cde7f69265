"""Plays one scenario: goes from instant to instant, acts, looks, and says what did not hold.

Steps come in order of their instants, those of one instant in order of the file; the clock waits for nobody. An action
that waits for an answer takes link time, so that what was due meanwhile comes right after it. While something waits
for an event, or holds *always* or *never*, the pump is taken from event to event, else in one go.
"""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

from telemetry.clock import SystemClock
from telemetry.errors import LinkError, OutcomeUnknown, PeerError, Refused, TelemetryError, UsageError
from telemetry.scenario.acting_bench import BENCH_ACTS
from telemetry.scenario.acting_wire import WIRE_ACTS, Act, release
from telemetry.scenario.checks import Mismatch
from telemetry.scenario.format import After, At, Between, Every, When
from telemetry.scenario.judging import EnoughError, Judge, recorder_of
from telemetry.scenario.results import Result, Verdict
from telemetry.scenario.values import show_instant
from telemetry.scenario.wording import told
from telemetry.scenario.world import World
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_SECOND, Dose, Duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from telemetry.scenario.checks import Occurrence
    from telemetry.scenario.format import Scenario, Step

LONGEST_WAIT_MS = 3_660 * MS_PER_DAY
"""For an event that a step waits for, when the file does not say when it ends."""
_PATIENT_EVERY_MS = MS_PER_HOUR
"""How often the patient model is told what left the tip: between two looks it counts as even."""


class OutOfTimeError(TelemetryError):
    """The scenario took longer than it was given."""


@dataclass(slots=True)
class _Waiting:
    """A step that waits for its event."""

    step: Step
    when: When
    seen: int = 0
    done: bool = False


class Player:
    """Plays a scenario once. ``cuts`` are instants to stop at besides (they change nothing); ``limit_ms`` host time."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        record: Path | None = None,
        cuts: Iterable[int] = (),
        limit_ms: int | None = None,
    ) -> None:
        self.scenario = scenario
        self.world = World(scenario)
        self._record = record
        self._host = SystemClock()
        self._limit_ms = limit_ms
        self._agenda: list[tuple[int, int, int, Callable[[], None] | Step]] = []
        self._count = 0
        self._waiting: list[_Waiting] = []
        self._actions = 0
        self._followers: dict[int, Step] = {}
        self._end_ms = 0
        self._cuts = sorted(cuts)
        said = (scenario.patient or {}).get("every")
        self._patient_ms = _PATIENT_EVERY_MS if said is None else Duration.parse(said).ms
        self._recorder = None if record is None else recorder_of(self.world, scenario)
        self._judge = Judge(scenario, self.world, self._recorder)

    # --- the agenda --------------------------------------------------------------------------------------------------

    def _put(self, at_ms: int, order: int, what: Callable[[], None] | Step) -> None:
        self._count += 1
        heapq.heappush(self._agenda, (at_ms, order, self._count, what))

    def _arrange(self) -> None:
        """Put what has a time of its own on the agenda; what follows or waits comes when its time is known."""
        steps = self.scenario.timeline
        for step, following in pairwise(steps):
            if isinstance(following.timing, After):
                self._followers[step.number] = following
        for step in steps:
            match step.timing:
                case At(instant):
                    self._put_by_file(instant.at_ms(self.world.epoch_utc_s), step)
                case Every():
                    for at_ms in self._times(step, step.timing):
                        self._put_by_file(at_ms, step)
                case When():
                    self._waiting.append(_Waiting(step, step.timing))
                case Between():
                    self._open_later(step, step.timing)
                case After():
                    pass
        if self.scenario.ends is not None:
            self._end_ms = self.scenario.ends.at_ms(self.world.epoch_utc_s)

    def _put_by_file(self, at_ms: int, step: Step) -> None:
        if at_ms < 0:
            raise UsageError(f"{self._place(step)}: {show_instant(at_ms)} lies before the start")
        self._put(at_ms, step.number, step)
        if self.scenario.ends is None:
            self._end_ms = max(self._end_ms, at_ms)

    def _times(self, step: Step, every: Every) -> list[int]:
        epoch = self.world.epoch_utc_s
        at_ms = every.each_ms if every.first is None else every.first.at_ms(epoch)
        until_ms = None if every.until is None else every.until.at_ms(epoch)
        draw = Random(f"{self.scenario.seed}/step {step.number}")  # noqa: S311 - repeatable on purpose
        found: list[int] = []
        while (every.times is None or len(found) < every.times) and (until_ms is None or at_ms <= until_ms):
            found.append(at_ms + (draw.randrange(every.jitter_ms + 1) if every.jitter_ms else 0))
            at_ms += every.each_ms
        return found

    def _open_later(self, step: Step, between: Between) -> None:
        epoch = self.world.epoch_utc_s
        start_ms, end_ms = between.start.at_ms(epoch), between.end.at_ms(epoch)
        if not 0 <= start_ms < end_ms:
            raise UsageError(f"{self._place(step)}: a window runs from an instant to a later one, not before the start")

        def open_it() -> None:
            window = self._judge.open_window(step, start_ms, end_ms)
            each_ms = between.each_ms or end_ms - start_ms
            for at_ms in range(start_ms + each_ms, end_ms, each_ms):
                self._put(at_ms, len(self.scenario.timeline), lambda: self._judge.slice(window, last=False))
            self._put(end_ms, len(self.scenario.timeline), lambda: self._judge.slice(window, last=True))

        # After the steps of its first instant, too: what holds from then on begins with what they did.
        self._put(start_ms, len(self.scenario.timeline), open_it)
        if self.scenario.ends is None:
            self._end_ms = max(self._end_ms, end_ms)
        elif end_ms > self.scenario.ends.at_ms(epoch):
            raise UsageError(f"{self._place(step)}: the window ends after the scenario does")

    def _place(self, step: Step) -> str:
        return f"{self.scenario.file}:{step.line}: timeline[{step.number}]"

    # --- playing -----------------------------------------------------------------------------------------------------

    async def play(self) -> Result:
        """Play it to its end; what goes wrong on the way is in the result."""
        began_ms = self._host.link_ms()
        error = ""
        try:
            await self._play()
        except EnoughError:
            pass
        except TelemetryError as problem:
            error = f"{type(problem).__name__}: {problem}"
        finally:
            await self.world.close()
        judge = self._judge
        verdict = Verdict.ERROR if error else Verdict.FAILED if judge.failures else Verdict.PASSED
        return Result(
            name=self.scenario.name,
            file=self.scenario.file,
            title=self.scenario.title,
            verdict=verdict,
            failures=tuple(judge.failures),
            error=error,
            actions=self._actions,
            checks=judge.checks,
            events=len(self.world.events),
            lived_ms=self.world.now_ms,
            host_ms=self._host.link_ms() - began_ms,
            record=self._keep_record(),
            tags=self.scenario.tags,
        )

    async def _play(self) -> None:
        self._arrange()
        for fault in self.scenario.faults:
            self.world.arm(fault)
        self._judge.throughout()
        while True:
            self._check_time()
            if self._agenda and self._agenda[0][0] <= max(self.world.now_ms, self._last_ms()):
                # What happens on the way may bring something earlier onto the agenda: it then comes first.
                if self._go_towards(self._agenda[0][0]):
                    await self._do(heapq.heappop(self._agenda)[3])
            elif not self._go_on_waiting():
                break
        self._check_missing()
        self._judge.look(self.scenario.finally_, "finally")

    def _last_ms(self) -> int:
        """Until when the agenda is played: the end that the file says, or else all of it."""
        if self.scenario.ends is not None:
            return self._end_ms
        return self._agenda[0][0] if self._agenda else self._end_ms

    def _go_on_waiting(self) -> bool:
        """With nothing left on the agenda: on to the end, or to what somebody still waits for."""
        end_ms = self._end_ms
        open_ended = self.scenario.ends is None and any(
            not waiting.done and not waiting.when.optional and not waiting.when.each_time for waiting in self._waiting
        )
        if open_ended:
            end_ms = LONGEST_WAIT_MS
            if self.world.next_event_ms() is None:
                return False
        if self.world.now_ms >= end_ms:
            return False
        self._go_towards(end_ms)
        return True

    def _go_towards(self, at_ms: int) -> bool:
        """Let time pass up to an instant, or to the next event where somebody watches.

        True when it is reached and nothing earlier has come onto the agenda.
        """
        world = self.world
        if world.now_ms < at_ms:
            target_ms, look = at_ms, True
            if self._watching():
                next_ms = world.next_event_ms()
                target_ms = at_ms if next_ms is None else max(world.now_ms, min(at_ms, next_ms))
            if world.patient is not None:
                target_ms = min(target_ms, (world.now_ms // self._patient_ms + 1) * self._patient_ms)
            while self._cuts and self._cuts[0] <= world.now_ms:
                self._cuts.pop(0)
            if self._cuts and self._cuts[0] < target_ms:
                target_ms, look = self._cuts[0], False
            events = world.advance_to(target_ms)
            self._notice(events)
            if look or events:
                self._judge.throughout()
        return world.now_ms >= at_ms and (not self._agenda or self._agenda[0][0] >= at_ms)

    def _watching(self) -> bool:
        return self._judge.watching or any(not waiting.done for waiting in self._waiting)

    def _notice(self, events: list[Occurrence]) -> None:
        """Let what happened wake the steps that wait for it."""
        for event in events:
            for waiting in self._waiting:
                when = waiting.when
                if waiting.done or event.name != when.event or when.detail not in {None, event.detail}:
                    continue
                if event.at_ms < when.earliest.at_ms(self.world.epoch_utc_s):
                    continue
                waiting.seen += 1
                if when.each_time or waiting.seen == when.nth:
                    waiting.done = not when.each_time
                    self._put(event.at_ms + when.after_ms, waiting.step.number, waiting.step)

    async def _do(self, what: Callable[[], None] | Step) -> None:
        if not callable(what):
            await self._step(what)
            return
        what()
        self._judge.throughout()

    async def _step(self, step: Step) -> None:
        if step.action is not None:
            self._actions += 1
            await self._act(step)
            self._notice(self.world.catch_up())
        self._judge.look(step.checks, str(step))
        self._judge.throughout()
        following = self._followers.get(step.number)
        if following is not None and isinstance(following.timing, After):
            self._put_by_file(self.world.now_ms + following.timing.span_ms, following)

    # --- acting ------------------------------------------------------------------------------------------------------

    async def _act(self, step: Step) -> None:
        action = step.action
        assert action is not None  # noqa: S101 - for the type checker
        world, expected = self.world, step.expected
        found, reason, warnings, message = "applied", "", frozenset[str](), ""
        try:
            if action.channel == "wire":
                await self._through_the_wire(step)
            elif action.channel == "bench":
                await self._at_the_bench(step)
            elif action.channel == "fault":
                world.arm(action)
            else:
                world.clear(action.name)
        except Refused as refusal:
            found, reason, warnings, message = "refused", refusal.reason, frozenset(refusal.warnings), str(refusal)
        except OutcomeUnknown as unknown:
            world.unknown_transaction = unknown.transaction
            found, message = "unknown", str(unknown)
        except UsageError as problem:
            found, message = "usage_error", str(problem)
        except (LinkError, PeerError) as problem:
            found, message = "link_error", str(problem)
        said = found + (f" ({reason})" if reason else "") + (f": {message}" if message else "")
        self._tell_recorder(step, said)
        fits = (
            found == expected.outcome
            and (found != "refused" or expected.reason in {"any", reason})
            and (expected.warnings is None or expected.warnings == warnings)
            and expected.says.lower() in message.lower()
        )
        self._judge.checks += 1
        if not fits:
            self._judge.fail(str(step), Mismatch("outcome", str(expected), said, step.line))

    async def _through_the_wire(self, step: Step) -> None:
        action, world = step.action, self.world
        assert action is not None  # noqa: S101 - for the type checker
        programmer = await world.programmer(step.role or self.scenario.role)
        try:
            world.answer = await WIRE_ACTS[action.name](Act(world, programmer, action.arguments, step.accept))
        finally:
            await release(programmer)

    async def _at_the_bench(self, step: Step) -> None:
        action, world = step.action, self.world
        assert action is not None  # noqa: S101 - for the type checker
        if action.name == "new_pump":
            await world.replace_pump(action.arguments)
            if self._recorder is not None:
                self._recorder.follow(world.pump)
            return
        BENCH_ACTS[action.name](world, action.arguments)
        if action.name == "screening" and self._recorder is not None:
            self._recorder.dose("lumbar", Dose.parse(action.arguments))

    def _tell_recorder(self, step: Step, said: str) -> None:
        if self._recorder is not None and step.action is not None:
            self._recorder.action(step.action.channel, told(step.action.name, step.action.arguments), said)

    def _keep_record(self) -> str:
        if self._recorder is None or self._record is None:
            return ""
        self._recorder.close()
        self._record.mkdir(parents=True, exist_ok=True)
        path = self._record / f"{self.scenario.name}.run.json"
        self._recorder.run().write(path)
        return str(path)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _check_missing(self) -> None:
        """A step whose event never came, and one that the end overtook, are failures: silence proves nothing."""
        for waiting in self._waiting:
            if not waiting.seen and not waiting.when.optional:
                kinds = sorted({str(event) for event in self.world.events})
                found = f"it did not come; what came: {', '.join(kinds) or 'nothing'}"
                self._judge.fail(str(waiting.step), Mismatch("when", str(waiting.when), found, waiting.step.line))
            elif not waiting.done and not waiting.when.each_time and waiting.when.nth > 1:
                found = f"{waiting.seen} times"
                wanted = f"{waiting.when}, the {waiting.when.nth}th time"
                self._judge.fail(str(waiting.step), Mismatch("when", wanted, found, waiting.step.line))
        for at_ms, _, _, what in sorted(self._agenda):
            if not callable(what):
                wanted = f"played at {show_instant(at_ms)}"
                found = f"the scenario ends at {show_instant(self._end_ms)}"
                self._judge.fail(str(what), Mismatch("ends", wanted, found, what.line))

    def _check_time(self) -> None:
        if self._limit_ms is not None and self._host.link_ms() > self._limit_ms:
            raise OutOfTimeError(
                f"took longer than {self._limit_ms / MS_PER_SECOND:g} s and was ended at "
                f"{show_instant(self.world.now_ms)} of its time"
            )


def play(
    scenario: Scenario,
    *,
    record: Path | None = None,
    cuts: Iterable[int] = (),
    limit_ms: int | None = None,
) -> Result:
    """Play a scenario to its end; what stands against it is in the result. Not inside a running event loop."""
    try:
        player = Player(scenario, record=record, cuts=cuts, limit_ms=limit_ms)
    except TelemetryError as problem:  # a pump that cannot be
        error = f"{type(problem).__name__}: {problem}"
        return Result(scenario.name, scenario.file, scenario.title, Verdict.ERROR, error=error, tags=scenario.tags)
    return asyncio.run(player.play())
