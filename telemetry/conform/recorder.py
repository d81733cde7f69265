"""Where a step tells what it does and sees: evidence, expectations, measurements, frames."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from telemetry.conform.results import Evidence, EvidenceKind, Finding, FrameSeen, Measurement
from telemetry.conform.steps import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEPT_FRAMES = 120
"""Of one step: enough for the longest exchange of a single change with its repeats; older ones are counted."""
LONGEST_TEXT = 2_000
"""Characters kept of one text; a screen that says more is cut, visibly."""


class Recorder:
    """The record of one step. ``now_ms`` tells link time since the run began."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self.began_ms = now_ms()
        self.evidence: list[Evidence] = []
        self.findings: list[Finding] = []
        self.measurements: list[Measurement] = []
        self.frames: deque[FrameSeen] = deque(maxlen=KEPT_FRAMES)
        self.frames_seen = 0
        self.observed = ""

    @property
    def frames_left_out(self) -> int:
        """How many frames were seen and not kept."""
        return self.frames_seen - len(self.frames)

    def tell(self, kind: EvidenceKind, what: str, found: str = "") -> None:
        """Add a line of evidence."""
        self.evidence.append(Evidence(at_ms=self._now_ms(), kind=kind, what=_kept(what), found=_kept(found)))

    def note(self, text: str) -> None:
        """Add a remark."""
        self.tell(EvidenceKind.NOTE, text)

    def expect(self, held: bool, expected: str, observed: str) -> bool:  # noqa: FBT001 - the one thing it is about
        """An expectation: judged evidence when it held, a finding when not; returns ``held``."""
        if held:
            self.tell(EvidenceKind.JUDGED, expected, observed)
        else:
            self.findings.append(Finding(at_ms=self._now_ms(), expected=_kept(expected), observed=_kept(observed)))
        return held

    def demand(self, held: bool, expected: str, observed: str) -> None:  # noqa: FBT001 - as above
        """An expectation without which the rest makes no sense; raises ``Failed`` when it does not hold."""
        if not self.expect(held, expected, observed):
            raise Failed(f"expected {expected}; observed {observed}")

    def measure(
        self, name: str, unit: str, values: Sequence[int], *, limit: int | None = None, at_most: bool = True
    ) -> Measurement:
        """Numbers with their limit; one beyond it is a finding. Returns what was recorded."""
        made = Measurement(name=name, unit=unit, values=list(values), limit=limit, at_most=at_most)
        self.measurements.append(made)
        if limit is not None:
            word = "at most" if at_most else "at least"
            shown = ", ".join(str(value) for value in values) or "nothing"
            self.expect(made.held, f"{name}: {word} {limit} {unit}", f"{shown} {unit}")
        return made

    def frame(self, frame: FrameSeen) -> None:
        """Keep a frame of the wire."""
        self.frames_seen += 1
        self.frames.append(frame)

    def conclude(self, text: str) -> None:
        """The sentence that sums up what was seen."""
        self.observed = _kept(text)


def _kept(text: str) -> str:
    """The text without control characters (but line ends), cut where it is too long."""
    plain = "".join(letter if letter == "\n" or letter.isprintable() else "�" for letter in text)
    return plain if len(plain) <= LONGEST_TEXT else plain[: LONGEST_TEXT - 1] + "…"
