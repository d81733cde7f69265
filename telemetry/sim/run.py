"""The run file: what a recorded run leaves behind, for reports and for other programs (``*.run.json``).

Versioned JSON, read back strictly. Every count is an integer in the unit that its name ends in; instants are pump time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from telemetry.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "itb-run"
VERSION = 1
SUFFIX = ".run.json"


class RunPump(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who was recorded. ``refill_cap_ms``: no fill lasts longer (domain.md 2.9); ``critical_alarms``: their kinds."""

    profile: str
    model: str
    serial: str
    drug: str
    seed: int | None
    epoch_utc_s: int
    activated_ms: int
    reservoir_capacity_nl: int
    tubing_volume_nl: int
    catheter_volume_nl: int
    stroke_volume_nl: int
    low_reservoir_alarm_nl: int
    refill_cap_ms: int
    critical_alarms: list[str]


class RunEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something that happened in the pump at its exact instant."""

    at_ms: int
    kind: str
    detail: str = ""


class RunAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something that somebody did. ``by``: ``wire``, ``bench``, ``fault``, ``patient``."""

    at_ms: int
    by: str
    what: str
    outcome: str = ""


class RunVerdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was expected, and what was found."""

    at_ms: int
    what: str
    passed: bool
    wanted: str = ""
    found: str = ""


class RunDose(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Drug that the patient got from somebody else than the pump. ``way``: ``lumbar``."""

    at_ms: int
    way: str
    ng: int


class RunPatient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The illustrative patient of the run: parameters by name, the dose he or she was used to, doses besides."""

    parameters: dict[str, float]
    accustomed_to_ng_per_day: int
    doses: list[RunDose] = []
    illustrative: bool = True


class RunFinal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What telemetry said at the end: the identity card is made of it."""

    at_ms: int
    mode: str
    rate_nl_per_day: int
    dose_ng_per_day: int
    concentration_ng_per_ml: int
    reservoir_nl: int
    battery_percent: int
    replace_by_ms: int
    low_reservoir_at_ms: int | None
    last_refill_ms: int
    alarms: list[str]


class Samples(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One column a quantity, one row an instant (rising).

    Rates, mode, activity and alarms are those from the instant on; volumes and masses are sums or levels at it.
    ``out_nl``: true volume that the pump pushed out; ``pocket_ng``: the part of ``lost_ng`` that lies around the pump.
    ``mixed_tip_ng_per_ml`` is illustrative (domain.md 2.7).
    """

    at_ms: list[int] = []
    programmed_nl_per_day: list[int] = []
    commanded_nl_per_day: list[int] = []
    true_nl_per_day: list[int] = []
    calculated_nl: list[int] = []
    true_nl: list[int] = []
    out_nl: list[int] = []
    delivered_nl: list[int] = []
    delivered_ng: list[int] = []
    lost_nl: list[int] = []
    lost_ng: list[int] = []
    pocket_ng: list[int] = []
    tip_dose_ng_per_day: list[int] = []
    tip_ng_per_ml: list[int] = []
    mixed_tip_ng_per_ml: list[int] = []
    battery_percent: list[int] = []
    battery_pc: list[int] = []
    mode: list[str] = []
    activity: list[str] = []
    alarms: list[list[str]] = []

    def __len__(self) -> int:
        return len(self.at_ms)


COLUMNS = Samples.__struct_fields__


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A recorded run. ``every_ms``: the grid of the samples; events have rows of their own between."""

    format: str = FORMAT
    version: int = VERSION
    simulated: bool = True
    title: str
    pump: RunPump
    every_ms: int
    samples: Samples
    events: list[RunEvent]
    events_left_out: int = 0
    actions: list[RunAction] = []
    verdicts: list[RunVerdict] = []
    patient: RunPatient
    final: RunFinal

    def to_json(self) -> bytes:
        """The file's content."""
        return msgspec.json.encode(self)

    def write(self, path: Path) -> None:
        """Write the file; raises ``OSError``."""
        path.write_bytes(self.to_json())


def read_run(path: Path) -> Run:
    """The run in a file; raises ``UsageError`` naming the file and what is wrong with it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_run(data, str(path))


def parse_run(data: bytes, where: str = "run") -> Run:
    """The run in these bytes; raises ``UsageError``."""
    try:
        head: Any = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise UsageError(f"{where}: is no run file: {error}") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise UsageError(f'{where}: is no run file: it has no "format": "{FORMAT}"')
    if head.get("version") != VERSION:
        raise UsageError(f"{where}: is version {head.get('version')!r}; this program reads version {VERSION}")
    try:
        run = msgspec.json.decode(data, type=Run)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {error}") from error
    if not run.simulated or not run.patient.illustrative:
        raise UsageError(f"{where}: says of pump or patient that they are real; only simulated runs are read")
    _check_samples(run.samples, where)
    return run


def _check_samples(samples: Samples, where: str) -> None:
    for name in COLUMNS:
        if len(getattr(samples, name)) != len(samples):
            raise UsageError(
                f"{where}: samples.{name} has {len(getattr(samples, name))} rows, samples.at_ms has {len(samples)}"
            )
    if not len(samples):
        raise UsageError(f"{where}: samples has no row")
    for row, (before, after) in enumerate(zip(samples.at_ms, samples.at_ms[1:], strict=False)):
        if after <= before:
            raise UsageError(f"{where}: samples.at_ms: row {row + 1}, {after}, is not after {before}")
