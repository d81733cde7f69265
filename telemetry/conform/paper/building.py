"""``build``: everything that the report of a conformance run says, as text, before it becomes a page or a print."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from telemetry.conform.results import Subject, Verdict
from telemetry.report.building import Table
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry.conform.results import Evidence, FrameSeen, Measurement, Run, StepResult

MOST_EVIDENCE = 60
MOST_FRAMES = 40
"""Lines of one step on paper; the run's file has them all, and the report says how many it left out."""
_LONGEST_CELL = 400
_SHOWN_VALUES = 12

WORDS = {
    Verdict.PASS: "passed",
    Verdict.FAIL: "FAILED",
    Verdict.NOT_CLAIMED: "not claimed",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.BLOCKED: "blocked",
}
"""What stands for a verdict; only a failed one is in capitals, so that it is found without colour."""
SUBJECTS = {
    Subject.PROGRAMMER: "a programmer",
    Subject.DEVICE: "a device",
    Subject.SUBSCRIBER: "a subscriber to the broker",
}
STATEMENT = (
    "This report records what was done and observed in the run that it names, and nothing else. It is no certificate "
    "and no statement of conformity with a law or a standard; what a step cites is where its requirement comes from. "
    "The pump is SIMULATED. Steps that are not claimed were not tried; inconclusive and blocked steps count as not "
    "passed. What the kit itself can and cannot find is shown by 'telemetry conform self-test' of the same version."
)
SIGNERS = (
    ("Tested by", "carried out the run, and the acts of the operator are theirs"),
    ("Reviewed by", "read findings and deviations"),
    ("Approved by", "accepts the result for the purpose stated below"),
)


@dataclass(frozen=True, slots=True)
class StepText:
    """One step, worked out: what was asked, what was seen, line by line."""

    number: str
    title: str
    verdict: Verdict
    word: str
    facts: tuple[tuple[str, str], ...]
    findings: Table | None
    measurements: Table | None
    evidence: Table | None
    frames: Table | None

    @property
    def grids(self) -> tuple[Table, ...]:
        """What there is, in the order of reading."""
        return tuple(
            grid for grid in (self.findings, self.measurements, self.evidence, self.frames) if grid is not None
        )


@dataclass(frozen=True)
class Paper:
    """A run, worked out. ``sentence`` is its result; ``passed`` whether it is a clean one."""

    run: Run
    title: str
    sentence: str
    passed: bool
    facts: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    steps: tuple[StepText, ...]
    foot: str


def build(run: Run) -> Paper:
    """Work a run out."""
    under_test = next((item.name for item in run.equipment if item.role == "under_test"), "")
    title = f"Conformance of {SUBJECTS[run.subject]}" + (f": {under_test}" if under_test else "")
    digest = run.digest()
    tables = (_findings(run), _deviations(run), _equipment(run), _groups(run), _summary(run), _claims(run))
    return Paper(
        run=run,
        title=title,
        sentence=sentence(run),
        passed=run.passed,
        facts=_facts(run, digest),
        tables=tables,
        steps=tuple(_step(step) for step in run.steps if step.verdict is not Verdict.NOT_CLAIMED),
        foot=f"{textwrap.shorten(title, 76, placeholder=' …')} – run {digest[:16]}",
    )


def sentence(run: Run) -> str:
    """The result in one sentence."""
    counts = run.counts
    tried = counts.passed + counts.failed + counts.inconclusive + counts.blocked
    if run.passed:
        return f"PASSED: all {counts.passed} steps that are claimed"
    if not tried:
        return "NOTHING TRIED: no step is claimed"
    parts = [f"{counts.failed} of {tried} steps failed"] if counts.failed else []
    parts += [f"{counts.inconclusive} inconclusive"] if counts.inconclusive else []
    parts += [f"{counts.blocked} blocked"] if counts.blocked else []
    return f"{'FAILED' if counts.failed else 'NOT COMPLETE'}: {', '.join(parts)}"


def seconds(ms: int) -> str:
    """An instant or a span of link time in seconds, to the millisecond."""
    whole, rest = divmod(abs(ms), MS_PER_SECOND)
    sign = "−" if ms < 0 else ""
    return f"{sign}{whole:,}.{rest:03d} s".replace(",", " ")


def moment(utc_ms: int) -> str:
    """A calendar instant, to the second."""
    return datetime.fromtimestamp(utc_ms // MS_PER_SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _facts(run: Run, digest: str) -> tuple[tuple[str, str], ...]:
    took = run.ended_utc_ms - run.started_utc_ms
    facts = [
        ("run", run.title),
        ("began", moment(run.started_utc_ms)),
        ("ended", f"{moment(run.ended_utc_ms)} (after {seconds(took)})"),
        ("link", run.link),
        ("kit", f"{run.tool_version}, Python {run.python}, {run.platform}"),
        ("seed", str(run.seed)),
        ("repeat with", run.command),
        ("digest of the run", digest),
    ]
    return tuple((name, value) for name, value in facts if value)


def _equipment(run: Run) -> Table:
    roles = {"under_test": "under test", "test_equipment": "test equipment"}
    rows = [
        (
            roles.get(item.role, item.role),
            item.name,
            item.maker,
            " ".join(part for part in (item.model, item.version) if part),
            item.serial,
            "; ".join(part for part in ("SIMULATED" if item.simulated else "", item.note) if part),
        )
        for item in run.equipment
    ]
    columns = ("role", "equipment", "maker", "model, version", "serial", "remarks")
    return Table("equipment", "Equipment", columns, rows)


def _groups(run: Run) -> Table:
    groups = list(dict.fromkeys(step.group for step in run.steps))
    rows = []
    for group in groups:
        verdicts = [step.verdict for step in run.steps if step.group == group]
        rows.append((group, *(str(verdicts.count(verdict) or "") for verdict in Verdict)))
    total = [step.verdict for step in run.steps]
    rows.append(("all", *(str(total.count(verdict) or 0) for verdict in Verdict)))
    columns = ("group", *(WORDS[verdict] for verdict in Verdict))
    return Table("groups", "Steps by group", columns, rows, numeric=frozenset(range(1, len(columns))))


def _summary(run: Run) -> Table:
    rows = [
        (
            step.number,
            step.title,
            WORDS[step.verdict],
            "" if step.ended_ms == step.started_ms else seconds(step.ended_ms - step.started_ms),
            "; ".join(str(source) for source in step.sources),
        )
        for step in run.steps
    ]
    columns = ("step", "title", "verdict", "took", "asked for by")
    note = "What a name such as domain.md stands for, and what its sections rest on: docs/sources.md of the kit."
    return Table("summary", "Steps", columns, rows, note, frozenset({3}))


def _findings(run: Run) -> Table:
    rows = [
        (f"{step.number} {step.title}", _cell(finding.expected), _cell(finding.observed), seconds(finding.at_ms))
        for step, finding in run.findings()
    ]
    note = "" if rows else "None."
    return Table("findings", "Findings", ("step", "expected", "observed", "at"), rows, note, frozenset({3}))


def _deviations(run: Run) -> Table:
    rows = [(deviation.step or "whole run", deviation.text) for deviation in run.deviations]
    rows += [
        (step.number, f"{WORDS[step.verdict]}: {step.reason}")
        for step in run.steps
        if step.verdict in {Verdict.INCONCLUSIVE, Verdict.BLOCKED}
    ]
    note = "" if rows else "None: every step was done as the catalogue has it."
    return Table("deviations", "Deviations", ("step", "what was not done as the catalogue has it"), rows, note)


def _claims(run: Run) -> Table:
    unclaimed = sorted({claim for step in run.steps for claim in step.claims} - set(run.claims))
    rows = [("claimed", ", ".join(run.claims) or "nothing"), ("not claimed", ", ".join(unclaimed) or "nothing")]
    rows += [("limit", f"{name} = {value:,}".replace(",", " ")) for name, value in sorted(run.limits.items())]
    rows += [("field", f"{name} stands on the screen as {own!r}") for name, own in sorted(run.fields.items())]
    return Table("claims", "What the manifest says", ("", "as the run was told"), rows)


def _step(step: StepResult) -> StepText:
    facts = [
        ("purpose", step.purpose),
        ("stimulus", step.stimulus),
        ("expected", step.expected),
        ("observed", step.observed),
        ("because", step.reason),
        ("asked for by", "; ".join(str(source) for source in step.sources)),
        ("needs", ", ".join(step.claims)),
        ("took", seconds(step.ended_ms - step.started_ms) if step.ended_ms > step.started_ms else ""),
    ]
    failed = step.verdict is not Verdict.PASS
    found = [(_cell(one.expected), _cell(one.observed), seconds(one.at_ms)) for one in step.findings]
    return StepText(
        number=step.number,
        title=step.title,
        verdict=step.verdict,
        word=WORDS[step.verdict],
        facts=tuple((name, text) for name, text in facts if text),
        findings=Table(f"{step.number}-findings", "Findings", ("expected", "observed", "at"), found) if found else None,
        measurements=_measurements(step),
        evidence=_evidence(step),
        frames=_frames(step) if failed else None,
    )


def _measurements(step: StepResult) -> Table | None:
    if not step.measurements:
        return None
    rows = [(one.name, _values(one), _limit(one), "held" if one.held else "NOT HELD") for one in step.measurements]
    return Table(f"{step.number}-measured", "Measured", ("what", "values", "limit", "verdict"), rows)


def _values(one: Measurement) -> str:
    shown = ", ".join(str(value) for value in one.values[:_SHOWN_VALUES])
    more = len(one.values) - _SHOWN_VALUES
    if more <= 0:
        return f"{shown} {one.unit}"
    return f"{shown} … {one.unit} ({more} more; {min(one.values)} to {max(one.values)})"


def _limit(one: Measurement) -> str:
    if one.limit is None:
        return "none"
    return f"at {'most' if one.at_most else 'least'} {one.limit} {one.unit}"


def _evidence(step: StepResult) -> Table | None:
    if not step.evidence:
        return None
    kept: Sequence[Evidence] = step.evidence[-MOST_EVIDENCE:]
    rows = [(seconds(line.at_ms), line.kind.value, _cell(line.what), _cell(line.found)) for line in kept]
    left = len(step.evidence) - len(kept)
    note = f"{left} earlier lines are in the run's file." if left else ""
    return Table(f"{step.number}-evidence", "What happened", ("at", "kind", "what", "found"), rows, note)


def _frames(step: StepResult) -> Table | None:
    if not step.frames:
        return None
    kept: Sequence[FrameSeen] = step.frames[-MOST_FRAMES:]
    arrows = {"to_pump": "→ pump", "from_pump": "← pump"}
    rows = [
        (
            seconds(frame.at_ms),
            arrows.get(frame.direction, frame.direction),
            frame.message,
            _cell(", ".join(f"{name}={value}" for name, value in frame.fields.items())),
            frame.fate,
        )
        for frame in kept
    ]
    left = len(step.frames) - len(kept) + step.frames_left_out
    note = f"{left} earlier frames are left out here." if left else ""
    columns = ("at", "", "message", "fields", "fate")
    return Table(f"{step.number}-frames", "What travelled", columns, rows, note)


def _cell(text: str) -> str:
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"
