"""A reading as one Bundle of FHIR R5: type ``collection``, because nobody is asked to carry test data into a record.

What could not be read, or is missing from the log, stands in it as an OperationOutcome; nothing is filled in.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

from telemetry.hospital import codes
from telemetry.hospital.fhir import alarms, devices, drug
from telemetry.hospital.fhir.parts import Resource, identity_of, instant, resource
from telemetry.hospital.readable import need_simulated
from telemetry.interrogation import Interrogation
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from telemetry.interrogation import NotRead, Sighting

CLOCK_SLACK_MS = 120_000
"""Two minutes: more than a pump's clock drifts between two visits, less than a mistake in setting it."""
FIRST_RECORD = 1
"""The pump numbers the records of its log from here on."""


def bundle_of(sighting: Sighting, *, since: int = FIRST_RECORD) -> Resource:
    """Everything that this sighting tells. ``since`` is the first record of the log that was asked for.

    Raises ``UsageError`` for a pump that is not simulated.
    """
    if not isinstance(sighting, Interrogation):
        return _bundle(
            str(codes.named("fhir", "not-read", sighting.at_utc_ms)), sighting.at_utc_ms, [_not_read(sighting)]
        )
    need_simulated(sighting.identity)
    status = sighting.status
    identity = identity_of(sighting.identity, "bundle", status.boot_epoch, status.now_ms, since)
    return _bundle(
        identity,
        sighting.read_utc_ms,
        [
            *devices.devices(sighting),
            *devices.metrics(sighting),
            *devices.observations(sighting),
            drug.patient(sighting),
            drug.rate_in_force(sighting),
            *drug.boluses(sighting),
            *alarms.issues(sighting),
            *_outcome(sighting, since),
        ],
    )


def text_of(bundle: Resource) -> str:
    """The bundle as JSON text: every number as it was, none in powers of ten."""
    return json.dumps(_plain(bundle), ensure_ascii=False, indent=2)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        # Shortest text of a float gives up to 15 digits back as they were; no number here has more.
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _bundle(identity: str, utc_ms: int, found: list[Resource]) -> Resource:
    return resource(
        "Bundle",
        identity,
        type="collection",
        timestamp=instant(utc_ms),
        entry=[{"fullUrl": f"urn:uuid:{item['id']}", "resource": item} for item in found],
    )


def _not_read(sighting: NotRead) -> Resource:
    words = f"SIMULATED. The pump could not be read, so that nothing is known of it: {sighting.reason}"
    return resource(
        "OperationOutcome",
        str(codes.named("fhir", "not-read", "outcome", sighting.at_utc_ms)),
        issue=[_problem("error", "transient", words)],
    )


def _outcome(seen: Interrogation, since: int) -> list[Resource]:
    """What a reader of the bundle has to know of what is not in it; nothing when all is."""
    problems = []
    if seen.log_overwritten:
        problems.append(
            _problem(
                "warning",
                "incomplete",
                f"{seen.log_overwritten} records of the pump's log were overwritten before this reading: boluses and "
                "alarms of that time are not in this bundle",
            )
        )
    if since > FIRST_RECORD:
        problems.append(
            _problem(
                "information", "incomplete", f"only records from number {since} on were asked for; older ones exist"
            )
        )
    problems += [
        _problem("warning", "not-supported", f"record {sequence} is of an alarm that this release does not know")
        for sequence in alarms.unknown_alarms(seen)
    ]
    pump_ms = seen.identity.epoch_utc_s * MS_PER_SECOND + seen.status.now_ms
    if abs(pump_ms - seen.read_utc_ms) > CLOCK_SLACK_MS:
        problems.append(
            _problem(
                "information",
                "informational",
                f"the pump's time at this reading was {instant(pump_ms)} and the reader's {instant(seen.read_utc_ms)}: "
                "alarms and boluses are dated by the pump, observations by the reader",
            )
        )
    if not problems:
        return []
    identity = identity_of(seen.identity, "outcome", seen.status.boot_epoch, seen.status.now_ms, since)
    return [resource("OperationOutcome", identity, issue=problems)]


def _problem(severity: str, code: str, words: str) -> dict[str, object]:
    return {"severity": severity, "code": code, "diagnostics": words}
