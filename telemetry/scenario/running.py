"""Many scenarios side by side: each in a process of its own, none able to take the others with it."""

from __future__ import annotations

import os
import signal
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from telemetry.errors import TelemetryError
from telemetry.scenario.format import load
from telemetry.scenario.problems import ScenarioError
from telemetry.scenario.results import Result, Verdict
from telemetry.scenario.runner import play
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

DEFAULT_LIMIT_MS = 60_000
_GRACE_MS = 2_000
"""A scenario that does not come back to the player within this time over its limit is ended from outside."""
_LAST_LINES = 6


class StuckError(BaseException):
    """A scenario did not come back; no ``Exception``, so that nothing on the way takes it for one of its own."""


@dataclass(frozen=True, slots=True)
class _Job:
    path: Path
    record: Path | None
    limit_ms: int


def run_file(
    file: str | Path,
    *,
    record: Path | None = None,
    limit_ms: int | None = None,
) -> Result:
    """Play one file here and now; whatever goes wrong is a result, not an exception."""
    path = Path(file)
    try:
        scenario = load(path)
        return play(scenario, record=record, limit_ms=limit_ms)
    except ScenarioError as error:
        return _error(path, str(error))
    except TelemetryError as error:
        return _error(path, f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 - a defect in one scenario must not end the others
        last = "".join(traceback.format_exception(error)).strip().splitlines()[-_LAST_LINES:]
        return _error(path, f"a defect of this program: {error!r}\n" + "\n".join(last))


def run_files(
    paths: Sequence[Path],
    *,
    jobs: int = 1,
    record: Path | None = None,
    limit_ms: int = DEFAULT_LIMIT_MS,
    on_result: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Play many files, ``jobs`` at a time; results in the order of ``paths``, told to ``on_result`` as they come."""
    stems = Counter(path.stem for path in paths)
    folders = dict.fromkeys(paths, record)
    if record is not None:  # two of one name must not overwrite each other's run
        folders |= {path: record / path.parent.name for path in paths if stems[path.stem] > 1}
    work = [_Job(path, folders[path], limit_ms) for path in paths]
    found: dict[Path, Result] = {}
    for result in _one_by_one(work) if jobs <= 1 or len(work) <= 1 else _side_by_side(work, jobs):
        found[Path(result.file)] = result
        if on_result is not None:
            on_result(result)
    return [found[path] for path in paths]


def default_jobs() -> int:
    """As many as there are processors for us."""
    return len(os.sched_getaffinity(0))


def _one_by_one(work: Sequence[_Job]) -> Iterator[Result]:
    for job in work:
        yield run_file(job.path, record=job.record, limit_ms=job.limit_ms)


def _side_by_side(work: Sequence[_Job], jobs: int) -> Iterator[Result]:
    left = {job.path: job for job in work}
    try:
        for result in _pooled(list(left.values()), min(jobs, len(left))):
            del left[Path(result.file)]
            yield result
    except BrokenProcessPool:
        # A worker died, and took with it what the others had under way: whoever did it dies alone this time.
        for job in list(left.values()):
            try:
                yield from _pooled([job], 1)
            except BrokenProcessPool:
                yield _error(job.path, "its process died (out of memory, or killed)")


def _pooled(work: Sequence[_Job], jobs: int) -> Iterator[Result]:
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_play_one, job) for job in work]
        for future in as_completed(futures):
            yield future.result()


def _play_one(job: _Job) -> Result:
    """In a worker: with an alarm clock for a scenario that never comes back to its player."""
    signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, (job.limit_ms + _GRACE_MS) / MS_PER_SECOND)
    try:
        return run_file(job.path, record=job.record, limit_ms=job.limit_ms)
    except StuckError:
        return _error(job.path, f"did not come back within {job.limit_ms / MS_PER_SECOND:g} s and was ended")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _ring(_number: int, _frame: FrameType | None) -> None:
    raise StuckError


def _error(path: Path, message: str) -> Result:
    return Result(name=path.stem, file=str(path), title=path.name, verdict=Verdict.ERROR, error=message)
