"""The file of a measurement: ``*.flow.json``. Versioned JSON, read back strictly.

Every count is an integer in the unit that its name ends in; instants are ms since the start of the measurement. What
was not measured is null, never a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from telemetry.errors import UsageError
from telemetry.flow.lines import MASSES, Outcome

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "itb-flow-run"
VERSION = 1
SUFFIX = ".flow.json"
LARGEST_FILE = 64_000_000
MOST_SAMPLES = 100_000
KINDS = ("flow", "bolus", "blank")
_LARGEST = (1 << 62) - 1


class Equipment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The balance, as it said of itself. ``step_ng``: the worth of its last digit."""

    protocol: str
    model: str = ""
    serial: str = ""
    software: str = ""
    step_ng: int
    simulated: bool


class MeasuredPump(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The pump, where it is one of ours."""

    model: str
    serial: str
    profile: str = ""
    seed: int | None = None
    stroke_nl: int | None = None
    speed: str = ""


class KnownError(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was built into a virtual pump: the closed form of its curve follows from it.

    The flow is ``rate x (1 + rate_error + cyclic x sin)``, one turn of the sine a ``cycle_ms`` at the set rate;
    ``phase_ms`` of the first turn had passed when the measurement began.
    """

    rate_error_ppm: int
    cyclic_error_ppm: int = 0
    cycle_ms: int = 0
    phase_ms: int = 0


class Corrections(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How mass becomes volume, and how well each number is known.

    ``loss_ng_per_h``: what left the beaker by itself (evaporation, drift), from ``loss_source``; added back.
    ``repeatability_ng``: standard deviation of one reading. ``drop_nl``: 0 for a tip under the surface.
    """

    density_ug_per_ml: int
    density_uncertainty_ppm: int
    air_ug_per_ml: int
    loss_ng_per_h: int = 0
    loss_uncertainty_ng_per_h: int = 0
    loss_source: str = ""
    repeatability_ng: int = 0
    drop_nl: int = 0


class Readings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row a sample. ``due_ms`` rises by the interval; ``at_ms``, ``spread_ms``: when it was read, and how surely.

    ``mass_ng`` null: there was no reading, and ``outcome`` says why. ``truth_nl``: past the tip since the start.
    """

    due_ms: list[int]
    at_ms: list[int]
    spread_ms: list[int]
    outcome: list[str]
    mass_ng: list[int | None]
    truth_nl: list[int | None]

    def __len__(self) -> int:
        return len(self.due_ms)


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something that the reader of a curve must know. ``gap``, ``tared``, ``jump``, ``ended``."""

    at_ms: int
    kind: str
    text: str


class FlowRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A measurement. ``simulated``: pump or balance is virtual. ``ended``: why before its time, or empty."""

    format: str = FORMAT
    version: int = VERSION
    simulated: bool
    kind: str
    title: str
    scheme: str
    every_ms: int
    stabilise_ms: int
    windows_ms: list[int]
    rate_nl_per_day: int
    bolus_nl: int | None = None
    equipment: Equipment
    pump: MeasuredPump | None = None
    known: KnownError | None = None
    corrections: Corrections
    readings: Readings
    marks: list[Mark] = []
    ended: str = ""
    started_utc_ms: int | None = None
    versions: dict[str, str]

    def to_json(self) -> bytes:
        """The file's content."""
        return msgspec.json.encode(self)

    def write(self, path: Path) -> None:
        """Write the file in one step; raises ``UsageError`` naming file and reason."""
        beside = path.with_name(f".{path.name}.new")
        try:
            beside.write_bytes(self.to_json())
            beside.replace(path)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def read_flow(path: Path) -> FlowRun:
    """The measurement in a file; raises ``UsageError`` naming the file and what is wrong with it."""
    try:
        with path.open("rb") as source:
            data = source.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > LARGEST_FILE:
        raise UsageError(f"{path}: is larger than {LARGEST_FILE} bytes, which no measurement is")
    return parse_flow(data, str(path))


def parse_flow(data: bytes, where: str = "measurement") -> FlowRun:
    """The measurement in these bytes; raises ``UsageError``."""
    try:
        head: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{where}: is no measurement: {error}") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise UsageError(
            f'{where}: is no measurement: it has no "format": "{FORMAT}" (telemetry flow measure -o x{SUFFIX})'
        )
    if head.get("version") != VERSION:
        raise UsageError(f"{where}: is version {head.get('version')!r}; this program reads version {VERSION}")
    try:
        run = msgspec.json.decode(data, type=FlowRun)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: {error}") from error
    _check(run, where)
    return run


def _check(run: FlowRun, where: str) -> None:
    if run.kind not in KINDS:
        raise UsageError(f"{where}: kind {run.kind!r} is none of {', '.join(KINDS)}")
    for name, value, least in (
        ("every_ms", run.every_ms, 1),
        ("stabilise_ms", run.stabilise_ms, 0),
        ("rate_nl_per_day", run.rate_nl_per_day, 0 if run.kind == "blank" else 1),
        ("equipment.step_ng", run.equipment.step_ng, 1),
        ("corrections.repeatability_ng", run.corrections.repeatability_ng, 0),
        ("corrections.loss_uncertainty_ng_per_h", run.corrections.loss_uncertainty_ng_per_h, 0),
        ("corrections.density_uncertainty_ppm", run.corrections.density_uncertainty_ppm, 0),
        ("corrections.drop_nl", run.corrections.drop_nl, 0),
        *((("bolus_nl", run.bolus_nl or 0, 1),) if run.kind == "bolus" else ()),
    ):
        if not least <= value <= _LARGEST:
            raise UsageError(f"{where}: {name}: {value} is outside {least} to {_LARGEST}")
    if not 500_000 <= run.corrections.density_ug_per_ml <= 2_000_000:
        raise UsageError(
            f"{where}: corrections.density_ug_per_ml: {run.corrections.density_ug_per_ml} is outside 0.5 to 2 g/ml"
        )
    if not 0 <= run.corrections.air_ug_per_ml <= 2_000:
        raise UsageError(
            f"{where}: corrections.air_ug_per_ml: {run.corrections.air_ug_per_ml} is outside 0 to 0.002 g/ml"
        )
    if any(not 0 < window <= _LARGEST for window in run.windows_ms):
        raise UsageError(f"{where}: windows_ms: {run.windows_ms} holds what is no window")
    known = run.known
    if known is not None and (known.cycle_ms < 0 or (known.cyclic_error_ppm and not known.cycle_ms)):
        raise UsageError(f"{where}: known.cycle_ms: {known.cycle_ms} is no length of a cycle")
    _check_readings(run.readings, run.every_ms, where)


def _check_readings(readings: Readings, every_ms: int, where: str) -> None:
    columns = {name: getattr(readings, name) for name in Readings.__struct_fields__}
    for name, column in columns.items():
        if len(column) != len(readings):
            raise UsageError(f"{where}: readings.{name} has {len(column)} rows, readings.due_ms has {len(readings)}")
    if len(readings) > MOST_SAMPLES:
        raise UsageError(f"{where}: readings has {len(readings)} rows; {MOST_SAMPLES} are the most")
    known = {outcome.value for outcome in Outcome}
    masses = {outcome.value for outcome in MASSES}
    last_ms = -1
    for row, due_ms in enumerate(readings.due_ms):
        if due_ms != row * every_ms:
            raise UsageError(
                f"{where}: readings.due_ms: row {row} is {due_ms}; one every {every_ms} ms is {row * every_ms}"
            )
        if not last_ms < readings.at_ms[row] <= _LARGEST or readings.spread_ms[row] < 0:
            raise UsageError(f"{where}: readings.at_ms: row {row}, {readings.at_ms[row]}, is not after {last_ms}")
        last_ms = readings.at_ms[row]
        outcome, mass = readings.outcome[row], readings.mass_ng[row]
        if outcome not in known or (mass is not None) != (outcome in masses):
            raise UsageError(f"{where}: readings: row {row}: outcome {outcome!r} does not go with mass_ng {mass}")
        if any(abs(value) > _LARGEST for value in (mass, readings.truth_nl[row]) if value is not None):
            raise UsageError(f"{where}: readings: row {row} has a number beyond {_LARGEST}")
