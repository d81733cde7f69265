"""The bundle: valid by fhir.resources, whole in its references, equal to what the pump said, inventing nothing."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("fhir.resources", reason="the extra 'hospital' is not installed")

import telemetry
from telemetry import Concentration, DailyDose, Dose, Duration, FlowRate, Therapy, VirtualPump
from telemetry.errors import UsageError
from telemetry.hospital.fhir.bundle import bundle_of, text_of
from telemetry.hospital.fhir.checking import InvalidBundleError, check
from telemetry.interrogation import Interrogation, NotRead
from telemetry.model import Activity, AlarmKind, LogCode, LogRecord
from tests.hospital.looks import HAPPENINGS, UG, look, pump_after
from tests.hospital.test_metrics import UCUM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.real  # plain functions that run a loop of their own


def seen_of(pump: VirtualPump, **options: int) -> Interrogation:
    return asyncio.run(look(pump, **{"since": 1, **options}))


def made(seen: Interrogation | NotRead, since: int = 1) -> dict[str, Any]:
    """The bundle as a reader of its text gets it, checked."""
    text = text_of(bundle_of(seen, since=since))
    model = check(text)
    # Through the library's own text and back it is the same bundle, and no number has moved.
    theirs = model.model_dump_json()
    assert check(theirs) == model
    found: dict[str, Any] = json.loads(text, parse_float=Decimal)
    assert numbers(json.loads(theirs, parse_float=Decimal)) == numbers(found)
    return found


def numbers(value: object) -> list[object]:
    return [item["value"] for item in walk(value) if "value" in item]


def of(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind]


def value_of(bundle: dict[str, Any], handle: str) -> dict[str, Any]:
    (found,) = [item for item in of(bundle, "Observation") if item["code"]["coding"][-1]["code"] == handle]
    return found


def walk(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from walk(item)


def record(sequence: int, at_s: int, code: LogCode, detail: int, value: int = 0) -> LogRecord:
    return LogRecord(sequence, 1, at_s * 1_000, code, 0, detail, value)


@pytest.fixture(scope="module")
def first() -> Interrogation:
    return seen_of(VirtualPump(seed=3))


def test_a_stock_pump_is_a_valid_bundle_that_says_what_it_is(first: Interrogation) -> None:
    bundle = made(first)
    kinds = Counter(entry["resource"]["resourceType"] for entry in bundle["entry"])
    assert kinds == {"Device": 2, "DeviceMetric": 13, "Observation": 13, "Patient": 1, "MedicationAdministration": 1}
    assert bundle["type"] == "collection"
    for item in [bundle, *(entry["resource"] for entry in bundle["entry"])]:
        assert [tag["code"] for tag in item["meta"]["tag"]] == ["HTEST"]
    assert all("SIMULATED" in device["displayName"] for device in of(bundle, "Device"))
    (person,) = of(bundle, "Patient")
    assert person["name"][0]["text"] == "SIMULATED: no person"
    assert not person["active"]


def test_dose_flow_and_drug_are_those_of_the_status(first: Interrogation) -> None:
    bundle = made(first)
    (infusion,) = of(bundle, "MedicationAdministration")
    rate = infusion["dosage"]["rateQuantity"]
    assert (rate["value"], rate["code"]) == (340, "ug/d")
    assert infusion["status"] == "in-progress"
    assert infusion["medication"]["concept"]["coding"][0]["code"] == "M03BX01"
    assert value_of(bundle, "flow-rate")["valueQuantity"]["value"] == Decimal("0.17")
    assert value_of(bundle, "flow-rate")["code"]["coding"][0] == {
        "system": "urn:iso:std:iso:11073:10101",
        "code": "157784",
        "display": "MDC_FLOW_FLUID_PUMP",
    }
    volume = value_of(bundle, "reservoir-volume")
    assert volume["valueQuantity"]["value"] == 40
    assert "what is so may differ" in volume["note"][0]["text"]
    assert [coding["code"] for coding in volume["code"]["coding"]] == ["reservoir-volume"], (
        "the standard's is only near"
    )


def test_the_same_fact_has_the_same_identity_and_another_another(first: Interrogation) -> None:
    again, later = made(first), made(replace(first, status=replace(first.status, now_ms=first.status.now_ms + 1_000)))
    assert text_of(bundle_of(first)) == text_of(bundle_of(first))
    same = {kind: [item["id"] for item in of(again, kind)] for kind in ("Device", "DeviceMetric", "Patient")}
    assert same == {kind: [item["id"] for item in of(later, kind)] for kind in same}
    observed = {item["id"] for item in of(again, "Observation")}
    assert not observed & {item["id"] for item in of(later, "Observation")}
    assert again["id"] != later["id"]


def issue_of(bundle: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = [item for item in of(bundle, "DetectedIssue") if item["code"]["coding"][0]["code"] == f"alarm.{kind}"]
    return found


def test_an_alarm_is_an_issue_until_it_is_over_and_silencing_does_not_end_it() -> None:
    pump = VirtualPump(seed=3)
    pump.advance_until("alarm_raised", "low_reservoir")
    raised = issue_of(made(seen_of(pump)), "low_reservoir")
    assert (raised["status"], raised["severity"]) == ("final", "low")
    assert "mitigation" not in raised

    asyncio.run(quieten(pump))
    silenced = issue_of(made(seen_of(pump)), "low_reservoir")
    assert silenced["id"] == raised["id"]
    assert silenced["status"] == "final"
    assert silenced["identifiedDateTime"] == raised["identifiedDateTime"]
    assert [step["action"]["text"] for step in silenced["mitigation"]] == ["silenced for a time"]
    assert "stands all the same" in silenced["detail"]

    pump.advance(hours=2)
    pump.refill()
    over = issue_of(made(seen_of(pump)), "low_reservoir")
    assert over["id"] == raised["id"]
    assert over["status"] == "mitigated"
    assert over["identifiedPeriod"]["start"] == raised["identifiedDateTime"]
    assert over["identifiedPeriod"]["end"] > over["identifiedPeriod"]["start"]


async def quieten(pump: VirtualPump) -> None:
    async with telemetry.connect(pump=pump) as programmer:
        await programmer.silence_alarm(1_800_000)


def test_a_standing_alarm_is_the_same_with_and_without_its_record() -> None:
    pump = VirtualPump(seed=3)
    pump.advance_until("alarm_raised", "low_reservoir")
    seen = seen_of(pump)
    without = replace(seen, log=())
    assert issue_of(made(seen), "low_reservoir")["id"] == issue_of(made(without), "low_reservoir")["id"]


def test_severity_is_the_priority_of_the_moment() -> None:
    pump = VirtualPump(seed=3)
    pump.program(Therapy.simple_continuous(FlowRate.parse("0.9 ml/day")))
    pump.advance_until("alarm_raised", "low_reservoir")
    seen = seen_of(pump)
    assert issue_of(made(seen), "low_reservoir")["severity"] == "moderate", "53 hours are left"


def give(pump: VirtualPump, amount: Dose, over: str) -> None:
    async def order() -> None:
        async with telemetry.connect(pump=pump) as programmer:
            await programmer.bolus(amount, Duration.parse(over), accept=tuple(telemetry.model.Warn))

    asyncio.run(order())


def boluses_of(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in of(bundle, "MedicationAdministration") if "occurencePeriod" in item]


def test_a_bolus_is_in_progress_then_completed_with_the_volume_of_the_log() -> None:
    pump = VirtualPump(seed=3)
    give(pump, Dose.parse("20 ug"), "30 min")
    (running,) = boluses_of(made(seen_of(pump)))
    assert running["status"] == "in-progress"
    assert "end" not in running["occurencePeriod"]
    pump.advance(hours=1)
    (given_,) = boluses_of(made(seen_of(pump)))
    assert given_["id"] == running["id"]
    assert given_["status"] == "completed"
    assert (given_["dosage"]["dose"]["value"], given_["dosage"]["dose"]["code"]) == (Decimal("0.01"), "mL")
    assert "20 µg" in given_["dosage"]["text"]
    pump.refill(
        concentration=Concentration.parse("500 ug/ml"),
        therapy=Therapy.simple_continuous(DailyDose.parse("340 ug/day")),
    )
    (old,) = boluses_of(made(seen_of(pump)))
    assert old["dosage"]["dose"]["value"] == Decimal("0.01")
    assert "µg" not in old["dosage"]["text"], "the log does not keep the concentration of an earlier filling"


def test_a_stopped_pump_is_on_hold() -> None:
    pump = VirtualPump(seed=3)

    async def stop() -> None:
        async with telemetry.connect(pump=pump) as programmer:
            await programmer.stop()

    asyncio.run(stop())
    (infusion,) = of(made(seen_of(pump)), "MedicationAdministration")
    assert infusion["status"] == "on-hold"
    assert infusion["dosage"]["rateQuantity"]["value"] == 0


def test_what_the_log_has_lost_is_said_and_not_filled_in(first: Interrogation) -> None:
    bolus, low = tuple(Activity).index(Activity.BOLUS), tuple(AlarmKind).index(AlarmKind.LOW_RESERVOIR) + 1
    seen = replace(
        first,
        log_overwritten=7,
        log=(
            record(8, 10, LogCode.BOLUS_ENDED, bolus, 5_000),
            record(9, 20, LogCode.ALARM_CLEARED, low, 1),
            record(10, 30, LogCode.BOLUS_STARTED, bolus, 6_000),
        ),
    )
    bundle = made(seen)
    ended, lost = boluses_of(bundle)
    assert "start" not in ended["occurencePeriod"]
    assert ended["dosage"]["dose"]["value"] == Decimal("0.005")
    assert (lost["status"], lost["dosage"]["text"].split()[3]) == ("unknown", "ordered")
    over = issue_of(bundle, "low_reservoir")
    assert set(over["identifiedPeriod"]) == {"end"}
    (outcome,) = of(bundle, "OperationOutcome")
    assert outcome["issue"][0]["diagnostics"].startswith("7 records of the pump's log were overwritten")


def test_an_alarm_that_nobody_knows_is_said_and_not_guessed(first: Interrogation) -> None:
    seen = replace(first, log=(record(5, 1, LogCode.ALARM_RAISED, 200, 1), record(6, 2, LogCode.ALARM_CLEARED, 0, 1)))
    bundle = made(seen)
    assert not of(bundle, "DetectedIssue")
    (outcome,) = of(bundle, "OperationOutcome")
    assert [re.findall(r"record \d+", issue["diagnostics"])[0] for issue in outcome["issue"]] == [
        "record 5",
        "record 6",
    ]


def test_an_activity_that_nobody_knows_and_a_prime_are_no_boluses(first: Interrogation) -> None:
    prime = tuple(Activity).index(Activity.PRIME)
    records = (record(5, 1, LogCode.BOLUS_STARTED, 99, 1), record(6, 2, LogCode.BOLUS_CANCELLED, prime, 1))
    assert not boluses_of(made(replace(first, log=records)))


def test_a_pump_that_cannot_be_read_gives_its_reason_and_nothing_else() -> None:
    bundle = made(NotRead(1_700_000_000_123, "LinkTimeout", "no answer in time; hold the telemeter over the pump"))
    (outcome,) = [entry["resource"] for entry in bundle["entry"]]
    assert outcome["resourceType"] == "OperationOutcome"
    assert "hold the telemeter" in outcome["issue"][0]["diagnostics"]
    assert bundle["timestamp"] == "2023-11-14T22:13:20.123Z"


def test_a_clock_that_is_off_is_told(first: Interrogation) -> None:
    assert not of(made(first), "OperationOutcome")
    (outcome,) = of(made(replace(first, read_utc_ms=first.read_utc_ms + 121_000)), "OperationOutcome")
    assert "dated by the pump" in outcome["issue"][0]["diagnostics"]


def test_records_left_out_on_request_are_told(first: Interrogation) -> None:
    (outcome,) = of(made(first, since=40), "OperationOutcome")
    assert "from number 40 on" in outcome["issue"][0]["diagnostics"]


def test_a_pump_that_does_not_say_that_it_is_simulated_is_not_shown(first: Interrogation) -> None:
    with pytest.raises(UsageError, match="simulated pumps only"):
        bundle_of(replace(first, identity=replace(first.identity, simulated=False)))


@pytest.mark.parametrize(
    ("mend", "words"),
    [
        (lambda text: text.replace('"collection"', '"pile"'), "Bundle.type: 'pile' is none of"),
        (lambda text: text.replace('"in-progress"', '"flowing"'), "'flowing' is none of"),
        (lambda text: text.replace('"Observation"', '"Opinion"', 1), "not FHIR R5"),
        (lambda text: text.replace('"status": "final",', "", 1), "not FHIR R5"),
        (lambda text: text[:100], "not FHIR R5"),
        (lambda text: re.sub(r'("reference": "urn:uuid:)[0-9a-f]{8}', r"\g<1>00000000", text, count=1), "lead nowhere"),
        (lambda text: re.sub(r'"fullUrl": "[^"]*"', '"fullUrl": "urn:uuid:x"', text), "stand twice"),
    ],
)
def test_the_check_finds_what_is_wrong(first: Interrogation, mend: Callable[[str], str], words: str) -> None:
    with pytest.raises(InvalidBundleError, match=words):
        check(mend(text_of(bundle_of(first))))


@settings(max_examples=40)
@given(HAPPENINGS, st.integers(0, 10**6))
def test_any_pump_at_any_time_is_valid_and_says_what_its_status_says(happenings: list[Any], seed: int) -> None:
    seen = seen_of(pump_after(happenings, seed))
    bundle = made(seen)
    status = seen.status
    infusion = next(item for item in of(bundle, "MedicationAdministration") if "occurenceDateTime" in item)
    assert infusion["dosage"]["rateQuantity"]["value"] * UG == status.dose_ng_per_day
    assert (infusion["status"] == "in-progress") is (status.rate_nl_per_day > 0)
    assert value_of(bundle, "flow-rate")["valueQuantity"]["value"] * UG * UG == status.rate_nl_per_day
    assert value_of(bundle, "mode")["valueCodeableConcept"]["coding"][0]["code"] == f"mode.{status.mode}"
    standing = {item["code"]["coding"][0]["code"] for item in of(bundle, "DetectedIssue") if item["status"] == "final"}
    assert standing >= {f"alarm.{alarm.kind}" for alarm in seen.alarms}
    units = {found["code"] for found in walk(bundle) if found.get("system") == "http://unitsofmeasure.org"}
    assert units <= UCUM
