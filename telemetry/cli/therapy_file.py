"""Therapies in files: YAML or JSON, held against the published schema, every mistake with its line and column."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from telemetry.errors import UsageError
from telemetry.scenario.document import Document, parse
from telemetry.scenario.schema import published
from telemetry.scenario.therapy_text import therapy_of
from telemetry.scenario.validation import validate
from telemetry.units import parse_delivery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry.scenario.problems import Problem
    from telemetry.therapy import Therapy

SCHEMA_ID = "https://itb-telemetry.example/schemas/therapy-1.json"
_WITHIN = ("pump", "therapy")
"""Where a therapy stands in a scenario, whose schema and checks are the one truth for both."""

TEMPLATES = {
    "simple": """\
# A constant rate: a flow (ml/day, ul/h), a dose per day (ug/day) or a dose per hour (ug/h).
rate: 300 ug/day
""",
    "minimum": """\
# The pump's own keep-alive flow, which keeps the tube from taking a set.
minimum_rate: true
""",
    "flex": """\
# The same day every day, by the pump's clock. The first step is at 00:00.
steps:
  00:00: 280 ug/day
  06:00: 340 ug/day
  22:00: 300 ug/day
""",
    "weekday": """\
# A day for each group of days; every day of the week stands in one of them.
days:
  mon-fri:
    00:00: 280 ug/day
    07:00: 340 ug/day
  sat,sun:
    00:00: 290 ug/day
    09:00: 320 ug/day
""",
    "periodic": """\
# A basal rate, and a bolus every interval on top of it. Mind the units: minutes and hours are a factor of 60 apart.
rate: 250 ug/day
periodic_bolus:
  amount: 20 ug
  over: 5 min
  every: 6 h
  first_in: 2 h
""",
    "titration": """\
# A step-dose titration: so many days of delivery each; the last rate stays.
ramp:
  - {days: 7, rate: 310 ug/day}
  - {days: 7, rate: 340 ug/day}
  - {days: 7, rate: 370 ug/day}
""",
    "patient": """\
# A constant rate and what a patient may give. Pumps for baclofen refuse this in every role.
rate: 1 mg/day
patient_bolus:
  amount: 50 ug
  over: 5 min
  lockout: 4 h
  max_per_24h: 3
""",
}
"""A file to start from, for each kind of therapy."""


class _TherapyDocument(Document):
    """A file that is a therapy by itself, seen as the part of a scenario that a therapy is; places stay its own."""

    def __init__(self, document: Document) -> None:
        super().__init__(document.file, {"title": document.file, "pump": {"therapy": document.data}}, {})
        self._document = document

    def place(self, path: Sequence[str | int]) -> tuple[int, int]:
        return self._document.place(_own(path))

    def key_place(self, path: Sequence[str | int], key: str) -> tuple[int, int]:
        return self._document.key_place(_own(path), key)

    def problem(self, path: Sequence[str | int], message: str, *, key: str | None = None) -> Problem:
        return self._document.problem(_own(path), message, key=key)


def _own(path: Sequence[str | int]) -> Sequence[str | int]:
    return path[len(_WITHIN) :] if tuple(path[: len(_WITHIN)]) == _WITHIN else path


def read_therapy(path: Path) -> Therapy:
    """The therapy in a file; raises ``UsageError`` with file, line, column, what is wrong and what would be right."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"therapy file {path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    return parse_therapy(text, str(path))


def parse_therapy(text: str, file: str) -> Therapy:
    """The therapy in a text; raises as ``read_therapy`` does."""
    document = parse(text, file)
    if not isinstance(document.data, dict):
        raise document.error((), "a therapy is a table; 'telemetry program --template flex' shows one")
    validate(_TherapyDocument(document))
    try:
        return therapy_of(document.data)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error


def therapy_given(rate: str | None, file: str | None) -> Therapy | None:
    """What the options of a refill say: a rate, a file, or neither; raises ``UsageError`` for both."""
    from telemetry.therapy import Therapy  # noqa: PLC0415 - for this one only

    if rate is not None and file is not None:
        raise UsageError("--rate and --file: each is a whole therapy; give one of them")
    if file is not None:
        return read_therapy(Path(file))
    return None if rate is None else Therapy.simple_continuous(parse_delivery(rate))


def schema_text() -> str:
    """The JSON schema of a therapy file."""
    made: dict[str, Any] = copy.deepcopy(published()["$defs"]["therapy"])
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "A therapy for a SIMULATED intrathecal pump (not for clinical use)",
    }
    return json.dumps(head | made, indent=2, ensure_ascii=False) + "\n"
