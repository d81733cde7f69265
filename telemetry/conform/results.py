"""What a conformance run leaves behind: one versioned JSON file (``*.conform.json``), read back strictly.

Shape, from the outside in::

    Run ── equipment: who was tested, and with what      ── Equipment
        ── claims, limits, fields: what the manifest said
        ── steps: every step of the catalogue, in order    ── StepResult
        │     ├─ verdict: pass | fail | not_claimed | inconclusive | blocked
        │     ├─ findings: expected against observed        ── Finding  (a step has failed exactly when it has one)
        │     ├─ evidence: what was done, seen and measured ── Evidence
        │     ├─ measurements: numbers with their limits    ── Measurement
        │     └─ frames: what travelled, opened             ── FrameSeen
        └─ deviations: what was not done as the catalogue has it, and why  ── Deviation

Instants ``…_ms`` are link time in ms since the run began; ``…_utc_ms`` is the host's calendar. Every count is an
integer in the unit that its name ends in.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

from telemetry.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "itb-conformance-run"
VERSION = 1
SUFFIX = ".conform.json"
SCHEMA_FILE = "run.schema.json"
LARGEST_BYTES = 64 << 20


class Subject(StrEnum):
    """What kind of equipment a run is of; its steps are numbered P-nn, D-nn, S-nn."""

    PROGRAMMER = "programmer"
    DEVICE = "device"
    SUBSCRIBER = "subscriber"


class Verdict(StrEnum):
    """How a step ended.

    ``pass``: everything that was expected was observed. ``fail``: something was not, see the findings. ``not_claimed``:
    the manifest does not claim it, so it was not tried. ``inconclusive``: it could not be judged (the operator skipped
    it, an answer was missing). ``blocked``: it could not be tried (no link, the operator's program ended).
    Only ``pass`` counts for the equipment.
    """

    PASS = "pass"  # noqa: S105 - a verdict, no secret
    FAIL = "fail"
    NOT_CLAIMED = "not_claimed"
    INCONCLUSIVE = "inconclusive"
    BLOCKED = "blocked"


class EvidenceKind(StrEnum):
    """Where a piece of evidence comes from."""

    ACT = "act"
    """What the operator was asked to do; ``found`` is the answer."""
    SHOWN = "shown"
    """What stood on the screen: ``what`` names the field, ``found`` is its text."""
    PUMP = "pump"
    """What the pump says or its ledger holds."""
    DISTURBANCE = "disturbance"
    """What the kit did to link, pump or time."""
    JUDGED = "judged"
    """An expectation that held; one that did not is a finding."""
    NOTE = "note"


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record that is read back strictly."""


class Evidence(_Strict, frozen=True, kw_only=True):
    """One line of what happened in a step."""

    at_ms: int
    kind: EvidenceKind
    what: str
    found: str = ""


class Finding(_Strict, frozen=True, kw_only=True):
    """An expectation that did not hold."""

    at_ms: int
    expected: str
    observed: str


class Measurement(_Strict, frozen=True, kw_only=True):
    """Numbers that were measured, and the limit they were held against.

    ``unit`` is text for a person ("ms"); ``at_most``: whether the limit is an upper one; ``limit`` None: told only.
    """

    name: str
    unit: str
    values: list[int]
    limit: int | None = None
    at_most: bool = True

    @property
    def held(self) -> bool:
        """Whether every value keeps the limit."""
        if self.limit is None:
            return True
        limit = self.limit
        return all(value <= limit if self.at_most else value >= limit for value in self.values)


class FrameSeen(_Strict, frozen=True, kw_only=True):
    """A frame on the wire. ``direction``: ``to_pump`` or ``from_pump``; ``message``: its name or the frame's type.

    ``fields`` are those of the opened message as text; ``fate``: "" when it passed, else what the kit did to it.
    """

    at_ms: int
    direction: str
    message: str
    size: int
    fields: dict[str, str] = {}
    fate: str = ""


class Cited(_Strict, frozen=True, kw_only=True):
    """Who asks for a step: a document and the place in it."""

    document: str
    section: str

    def __str__(self) -> str:
        return f"{self.document} {self.section}"


class StepResult(_Strict, frozen=True, kw_only=True):
    """One step of the catalogue and how it ended. ``reason`` says why it is neither passed nor failed.

    ``observed`` sums up in a sentence what was seen. ``started_ms`` and ``ended_ms`` are equal where it was not tried.
    """

    number: str
    group: str
    title: str
    purpose: str
    stimulus: str
    expected: str
    sources: list[Cited]
    claims: list[str]
    verdict: Verdict
    observed: str = ""
    reason: str = ""
    started_ms: int = 0
    ended_ms: int = 0
    findings: list[Finding] = []
    evidence: list[Evidence] = []
    measurements: list[Measurement] = []
    frames: list[FrameSeen] = []
    frames_left_out: int = 0


class Equipment(_Strict, frozen=True, kw_only=True):
    """A thing that took part. ``role``: ``under_test`` or ``test_equipment``."""

    role: str
    name: str
    maker: str = ""
    model: str = ""
    version: str = ""
    serial: str = ""
    simulated: bool = False
    note: str = ""


class Deviation(_Strict, frozen=True, kw_only=True):
    """Something that was not done as the catalogue has it. ``step`` "" concerns the whole run."""

    step: str
    text: str


class Counts(_Strict, frozen=True, kw_only=True):
    """How many steps ended how."""

    passed: int
    failed: int
    not_claimed: int
    inconclusive: int
    blocked: int


class Run(_Strict, frozen=True, kw_only=True):
    """A whole conformance run.

    ``simulated``: the kit's pump (programmer runs) or the device is a simulated one. ``command``: how to repeat it.
    ``manifest`` is the manifest's text as it was read ("" without one); ``limits`` holds its numbers by name, with the
    unit in the name; ``fields`` what each field is called on the equipment's own screen.
    """

    format: str = FORMAT
    version: int = VERSION
    simulated: bool
    subject: Subject
    title: str
    tool_version: str
    python: str
    platform: str
    seed: int
    command: str
    started_utc_ms: int
    ended_utc_ms: int
    link: str
    equipment: list[Equipment]
    claims: list[str]
    limits: dict[str, int]
    fields: dict[str, str]
    manifest: str = ""
    steps: list[StepResult]
    deviations: list[Deviation]

    @property
    def counts(self) -> Counts:
        """How many steps ended how."""
        verdicts = [step.verdict for step in self.steps]
        return Counts(
            passed=verdicts.count(Verdict.PASS),
            failed=verdicts.count(Verdict.FAIL),
            not_claimed=verdicts.count(Verdict.NOT_CLAIMED),
            inconclusive=verdicts.count(Verdict.INCONCLUSIVE),
            blocked=verdicts.count(Verdict.BLOCKED),
        )

    @property
    def passed(self) -> bool:
        """Whether everything that was claimed passed, and something did."""
        counts = self.counts
        return bool(counts.passed) and not (counts.failed or counts.inconclusive or counts.blocked)

    def findings(self) -> list[tuple[StepResult, Finding]]:
        """Every finding with its step, in order."""
        return [(step, finding) for step in self.steps for finding in step.findings]

    def digest(self) -> str:
        """SHA-256 over all that is the same when a run in process is repeated with its seed: hexadecimal.

        The host's calendar, Python and platform, and the command are left out.
        """
        plain: dict[str, Any] = msgspec.to_builtins(self)
        for name in ("started_utc_ms", "ended_utc_ms", "python", "platform", "command"):
            del plain[name]
        return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def to_json(self) -> bytes:
        """The file's content."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    def write(self, path: Path) -> None:
        """Write the file; raises ``UsageError`` when it cannot be written."""
        try:
            path.write_bytes(self.to_json())
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}; give another path") from error


def read_run(path: Path) -> Run:
    """The run in a file; raises ``UsageError`` naming the file and what is wrong with it."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_run(data, str(path))


def parse_run(data: bytes, where: str = "run") -> Run:
    """The run in these bytes; raises ``UsageError``."""
    if len(data) > LARGEST_BYTES:
        raise UsageError(f"{where}: is larger than the {LARGEST_BYTES} bytes that are read; it is no run of this kit")
    try:
        head: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{where}: is no conformance run: {error}") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise UsageError(f'{where}: is no conformance run: it has no "format": "{FORMAT}"')
    if head.get("version") != VERSION:
        raise UsageError(f"{where}: is version {head.get('version')!r}; this program reads version {VERSION}")
    try:
        run = msgspec.json.decode(data, type=Run)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {error}") from error
    _check(run, where)
    return run


def _check(run: Run, where: str) -> None:
    """What the types alone cannot say."""
    seen: set[str] = set()
    for step in run.steps:
        if step.number in seen:
            raise UsageError(f"{where}: step {step.number} stands in it twice")
        seen.add(step.number)
        if (step.verdict is Verdict.FAIL) != bool(step.findings):
            raise UsageError(f"{where}: step {step.number}: verdict {step.verdict} with {len(step.findings)} findings")
        if step.ended_ms < step.started_ms:
            raise UsageError(f"{where}: step {step.number}: ends at {step.ended_ms} ms, before {step.started_ms} ms")


def schema_text() -> str:
    """The JSON schema of the file, as it is published."""
    made: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A conformance run (SIMULATED equipment says so in it)",
        **msgspec.json.schema(Run),
    }
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def published_schema() -> str:
    """The schema that came with this package."""
    return files("telemetry.conform").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")


__all__ = [
    "Cited",
    "Counts",
    "Deviation",
    "Equipment",
    "Evidence",
    "EvidenceKind",
    "Finding",
    "FrameSeen",
    "Measurement",
    "Run",
    "StepResult",
    "Subject",
    "Verdict",
    "parse_run",
    "published_schema",
    "read_run",
    "schema_text",
]
