"""The commands of therapies, orders, settings and workflows: what is shown, asked, refused, and told."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click
import pytest

from telemetry.cli import therapy_file
from telemetry.cli.proposals import Shown, proposal_tables
from telemetry.model import OperationKind, PumpMode, TherapyState, Warn
from telemetry.programmer.opening import connect
from telemetry.programmer.records import Proposal
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.therapy import PatientBolusRule, Therapy
from telemetry.units import DailyDose, Duration, FlowRate, Volume

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Done

pytestmark = pytest.mark.real  # on the command line sim: runs on the host's clock

REFILL = ("refill", "sim:", "--volume", "40 ml", "--withdrawn", "40 ml")
EVERY_WARNING = tuple(word for warning in Warn for word in ("--accept-warning", warning.value))


class Terminal(io.StringIO):
    """A keyboard with somebody at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Answer the questions that are asked, the last answer over and over."""

    def prepare(*replies: bool) -> list[str]:
        asked: list[str] = []

        def confirm(question: str, **_options: object) -> bool:
            asked.append(question)
            return replies[min(len(asked), len(replies)) - 1]

        monkeypatch.setattr(sys, "stdin", Terminal())
        monkeypatch.setattr(click, "confirm", confirm)
        return asked

    return prepare


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "therapy.yaml"
        path.write_text(therapy_file.TEMPLATES.get(text, text), encoding="utf-8")
        return str(path)

    return write


def flat(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


# --- program --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in therapy_file.TEMPLATES if name != "patient"])
def test_every_template_is_programmed_and_shown_in_80_columns(
    telemetry: Callable[..., Done], file: Callable[[str], str], name: str
) -> None:
    written = telemetry("program", "--template", name)
    assert written.out == therapy_file.TEMPLATES[name]
    done = telemetry("program", "sim:", file(written.out), "--yes", *EVERY_WARNING)
    assert done.status == 0, done.err
    assert "Applied" in done.out
    assert max(len(line) for line in done.out.splitlines()) <= 80


def test_a_schedule_is_shown_step_by_step_beside_the_one_before(
    telemetry: Callable[..., Done], file: Callable[[str], str]
) -> None:
    done = telemetry("program", "sim:", file("flex"), "--yes")
    for line in (
        "00:00–06:00 340 µg/day = 0.170 ml/day 280 µg/day = 0.140 ml/day",
        "06:00–22:00 340 µg/day = 0.170 ml/day 340 µg/day = 0.170 ml/day",
        "22:00–24:00 340 µg/day = 0.170 ml/day 300 µg/day = 0.150 ml/day",
        "dose (largest day) 340 µg/day 321.666 µg/day",
        "321.666 µg in 0.160833 ml",
    ):
        assert line in flat(done.out), done.out


def test_the_object_of_a_program_has_every_part(telemetry: Callable[..., Done], file: Callable[[str], str]) -> None:
    found = telemetry("program", "sim:", file("weekday"), "--yes", "--json").json
    assert (found["outcome"], found["operation"], found["simulated"]) == ("applied", "program", True)
    assert [step["days"] for step in found["order"]["steps"]] == [31, 31, 96, 96]
    assert found["order"] == found["proposal"]["order"]
    assert found["order"]["steps"][1] == {
        "days": 31,
        "start_minute": 420,
        "rate_nl_per_day": 170_000,
        "dose_ng_per_day": 340_000,
    }


def test_the_patients_bolus_is_refused_and_says_why(telemetry: Callable[..., Done], file: Callable[[str], str]) -> None:
    text = "rate: 340 ug/day\npatient_bolus: {amount: 5 ug, over: 2 min, lockout: 4 h, max_per_24h: 2}\n"
    for arguments in (("program", "sim:", file(text)), ("bolus", "sim:", "--patient")):
        done = telemetry(*arguments, "--yes", "--json")
        assert done.status == 1
        assert done.json["error"]["reason"] == "patient_bolus_forbidden"
        assert "baclofen" in done.err
        assert "overdose" in done.err


def test_a_mistake_in_a_file_is_told_before_anything_is_sent(
    telemetry: Callable[..., Done], file: Callable[[str], str]
) -> None:
    path = file("steps:\n  00:00: 280 ug/day\n  06:00: 300 mcg\n")
    done = telemetry("program", "tcp://127.0.0.1:1", path, "--yes")
    assert done.status == 2
    assert f"{path}:3:10" in done.err


# --- orders ---------------------------------------------------------------------------------------------------------


def test_a_bolus_shows_dose_volume_span_and_the_24_hours_it_makes(telemetry: Callable[..., Done]) -> None:
    done = telemetry("bolus", "sim:", "50 ug", "--over", "10min", "--yes")
    assert done.status == 0
    for words in (
        "50 µg = 0.025 ml",
        "over 10 min",
        "3.770 ml/day (basal 0.170 ml/day)",
        "largest 24 h (pump's sum)",
        "390 µg in 0.195 ml",
        "2000 µg/day",
        "now: bolus, on top of the basal, ends",
    ):
        assert words in flat(done.out), done.out
    found = telemetry("bolus", "sim:", "0.025 ml", "--over", "10min", "--yes", "--json").json
    assert found["order"]["dose_ng"] == 50_000
    assert found["before"] == found["after"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("bolus", "sim:", "300 ug", "--over", "10min"), 1, "300 µg is above the greatest of 200 µg"),
        (("bolus", "sim:", "150 ug", "--over", "10min"), 1, "--accept-warning bolus_dose_high"),
        (("bolus", "sim:", "50 ug", "--over", "10"), 2, "no unit"),
        (("bolus", "sim:", "50 ug"), 2, "--over"),
        (("bolus", "sim:", "50 ug", "--over", "1min", "--patient"), 2, "prescribed"),
        (("prime", "sim:", "1 ml"), 1, "twice what tubing and catheter hold"),
        (("prime", "sim:", "--where", "leg"), 2, "leg"),
        (("refill", "sim:", "--volume", "40 ml"), 2, "--withdrawn"),
        (("refill", "sim:", "--volume", "41 ml", "--withdrawn", "1 ml"), 2, "never overfilled"),
        ((*REFILL, "--port-check", "5ml,3ml"), 2, "may be in the pocket"),
        ((*REFILL, "--port-check", "5ml"), 2, "5ml,4.9ml"),
        ((*REFILL, "--rate", "300 ug/day", "--file", "x"), 2, "give one of them"),
        ((*REFILL, "--expires", "soon"), 2, "2027-06-30"),
        ((*REFILL, "--concentration", "500 ug/ml", "--no-bridge"), 1, "--accept-warning bridge_omitted"),
        (("titrate", "sim:"), 2, "STEP is missing"),
        (("titrate", "sim:", "15"), 2, "write +15%"),
        (("titrate", "sim:", "+15%", "--ramp"), 2, "--to"),
        (("titrate", "sim:", "-10%", "--ramp", "--to", "450 ug/day"), 2, "do not lead"),
        (("titrate", "sim:", "+150%"), 1, "smaller steps"),
        (("limits", "sim:"), 2, "at least one limit"),
        (("limits", "sim:", "--bolus-dose-hard-max", "300 ug"), 1, "those of the device"),
        (("clock", "sim:"), 2, "--utc now"),
        (("clock", "sim:", "--zone", "Berlin"), 2, "+01:00"),
        (("alarm-settings", "sim:"), 2, "at least one setting"),
        (("alarm-settings", "sim:", "--low-reservoir-at", "3"), 2, "no unit"),
        (("refill", "sim:", "--volume", "40", "--withdrawn", "5 ml"), 2, "--volume: volume '40' has no unit"),
        (("refill", "sim:", "--volume", "40 ml", "--withdrawn", "5"), 2, "--withdrawn: volume '5' has no unit"),
        (("prime", "sim:", "0.1 ml", "--rate", "24"), 2, "--rate: "),
        (("limits", "sim:", "--bolus-dose-hard-max", "300"), 2, "--bolus-dose-hard-max: "),
        (("implant", "sim:?age=shelf", "--volume", "40 ml"), 2, "--concentration"),
        (("replace", "sim:?seed=1"), 2, "NEW-URL"),
        (("replace", "sim:?seed=1", "sim:?seed=1", "--volume", "40 ml"), 2, "the old pump itself"),
    ],
)
def test_what_is_refused_and_what_cannot_be_meant(
    telemetry: Callable[..., Done], arguments: tuple[str, ...], status: int, words: str
) -> None:
    done = telemetry(*arguments, "--yes")
    assert (done.status, done.out) == (status, ""), done.err
    assert words in done.err


def test_what_is_applied_names_the_boluses_too(telemetry: Callable[..., Done], file: Callable[[str], str]) -> None:
    done = telemetry("program", "sim:", file("periodic"), "--yes", *EVERY_WARNING)
    assert done.status == 0, done.err
    applied = flat(done.out.partition("Applied")[2])
    assert "periodic bolus: " in applied
    assert " every " in applied


def test_a_prime_shows_what_it_fills_and_how_long_it_takes(telemetry: Callable[..., Done]) -> None:
    done = telemetry("prime", "sim:", "--where", "path", "--yes")
    for words in ("0.3358 ml (671.6 µg of drug)", "24.000 ml/day", "20 min 8 s; the basal waits", "PRIME"):
        assert words in flat(done.out), done.out


def test_a_refill_shows_the_bridge_and_tells_what_a_clinic_writes_down(telemetry: Callable[..., Done]) -> None:
    done = telemetry(*REFILL, "--concentration", "500 ug/ml", "--rate", "300 ug/day", "--yes")
    for words in (
        "40.000 ml expected 40.000 ml (as expected)",
        "baclofen 2000 µg/ml baclofen 500 µg/ml",
        "0.150 ml/day (300 µg/day of",
        "for 53.73 h: 0.3358 ml",
        "then 300 µg/day = 0.600 ml/day",
        "finding within the tolerance",
        "refill by",
        "the reservoir would reach its alarm volume",
        "replace the pump by",
        "now: bridge: the old drug leaves the catheter",
    ):
        assert words in flat(done.out), done.out
    assert max(len(line) for line in done.out.splitlines()) <= 80
    assert "Confirm the port" in done.err
    found = telemetry(*REFILL, "--expires", "2099-01-01", "--port-check", "5ml,4.9ml", "--yes", "--json")
    assert "Confirm the port" not in found.err
    assert found.json["refill_by_bound"] == "six_months"
    assert found.json["refill_by_utc"].endswith("Z")
    assert found.json["withdrawn"]["finding"] == "as_expected"
    assert found.json["order"]["withdrawn_nl"] == 40_000_000


def test_a_finding_at_the_needle_is_told(telemetry: Callable[..., Done]) -> None:
    arguments = ("refill", "sim:", "--volume", "40 ml", "--withdrawn", "30 ml", "--yes")
    refused = telemetry(*arguments)
    assert (refused.status, "--accept-warning withdrawn_differs" in refused.err) == (1, True)
    done = telemetry(*arguments, "--accept-warning", "withdrawn_differs")
    assert "30.000 ml (−10.000 ml)" in flat(done.out)
    assert "pocket fill at the refill before" in flat(done.out)


def test_titration_says_whether_the_step_is_usual(telemetry: Callable[..., Done]) -> None:
    done = telemetry("titrate", "sim:", "+15%", "--patient-kind", "child", "--yes", "--json")
    assert "usual step for child" in done.err
    assert done.json["after"]["dose_ng_per_day"] == 391_000
    done = telemetry("titrate", "sim:", "-18%", "--patient-kind", "child", "--yes", "--json")
    assert "WARNING" in done.err
    assert done.json["after"]["dose_ng_per_day"] == 278_800


def test_a_ramp_is_the_pumps_own(telemetry: Callable[..., Done]) -> None:
    done = telemetry("titrate", "sim:", "+10%", "--ramp", "--to", "450 ug/day", "--every", "3", "--yes", "--json")
    assert [(step["days"], step["dose_ng_per_day"]) for step in done.json["order"]["ramp"]] == [
        (3, 374_000),
        (3, 411_400),
        (3, 450_000),
    ]


# --- settings -------------------------------------------------------------------------------------------------------


def test_limits_clock_and_alarm_settings_stand_before_beside_after(telemetry: Callable[..., Done]) -> None:
    done = telemetry("limits", "sim:", "--daily-dose-hard-max", "1500 ug/day", "--change-soft", "15%", "--yes")
    assert "daily dose, refused above 2000 µg/day 1500 µg/day" in flat(done.out)
    assert "warns above +20.0 % +15.0 %" in flat(done.out)
    done = telemetry("alarm-settings", "sim:", "--low-reservoir-at", "3 ml", "--low-reservoir", "off", "--yes")
    assert "low-reservoir alarm at 2.000 ml 3.000 ml" in flat(done.out)
    assert "low-reservoir alarm on OFF" in flat(done.out)
    done = telemetry("clock", "sim:", "--zone", "+02:00", "--yes", "--json")
    assert done.json["order"]["zone_minutes"] == 120
    assert done.json["proposal"]["shift_minutes"] == 120


# --- workflows ------------------------------------------------------------------------------------------------------

IMPLANT = (
    *("implant", "sim:?age=shelf", "--volume", "40 ml", "--concentration", "500 ug/ml", "--rate", "100 ug/day"),
    *("--calibration", "1.000000"),
)


def test_an_implantation_is_two_changes_each_asked_about(
    telemetry: Callable[..., Done], answer: Callable[..., list[str]]
) -> None:
    asked = answer(True)
    done = telemetry(*IMPLANT)
    assert done.status == 0, done.err
    assert len(asked) == 2
    assert done.out.count("Applied") == 2
    assert "drug none yet" in flat(done.out), "what a pump in its box is told to hold is not in it"
    found = telemetry(*IMPLANT, "--yes", "--json").json
    assert [change["operation"] for change in found["changes"]] == ["refill", "prime"]
    assert len(found["proposals"]) == 2


def test_what_is_applied_already_is_told_when_the_second_is_declined(
    telemetry: Callable[..., Done], answer: Callable[..., list[str]]
) -> None:
    answer(True, False)
    done = telemetry(*IMPLANT, "--json")
    assert done.status == 1
    assert done.json["error"]["reason"] == "declined"
    assert "applied before that: refill (operation" in done.json["error"]["message"]
    assert "applied before that: refill" in done.err


def test_a_wrong_calibration_constant_stops_the_implantation(telemetry: Callable[..., Done]) -> None:
    done = telemetry(*IMPLANT[:-1], "0.998", "--yes")
    assert done.status == 2
    assert "do not implant" in done.err


def test_a_pump_is_replaced_from_another(telemetry: Callable[..., Done]) -> None:
    urls = ("sim:?seed=1", "sim:?seed=2&age=shelf&serial=SIM-0002")
    done = telemetry("replace", *urls, "--volume", "40 ml", "--yes", "--json")
    assert done.status == 0, done.err
    assert "The old pump SIM-0001" in done.err
    assert [change["operation"] for change in done.json["changes"]] == ["refill", "prime"]
    refused = telemetry("replace", *urls, "--volume", "40 ml", "--concentration", "500 ug/ml", "--yes")
    assert (refused.status, "prime the new pump's tubing" in refused.err) == (2, True)
    done = telemetry(
        *("replace", *urls, "--volume", "40 ml", "--concentration", "500 ug/ml", "--tubing-primed", "--yes")
    )
    assert "bridge first" in flat(done.out)


def test_the_patients_own_bolus_is_granted_once_where_it_is_prescribed(
    telemetry: Callable[..., Done], answer: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = telemetry("bolus", "sim:?profile=valve-20", "--patient", "--yes")
    assert (refused.status, "no bolus was prescribed" in refused.err) == (1, True)
    pump = VirtualPump(profile="valve-20", seed=6)
    rule = PatientBolusRule(Volume(5_000), Duration.parse("5 min"), Duration.parse("2 h"), 3)
    pump.program(Therapy(PumpMode.SIMPLE_CONTINUOUS, FlowRate(100_000), patient_bolus=rule))
    monkeypatch.setattr("telemetry.programmer.connect", lambda _url, *, clock, role: connect(pump=pump, role=role))
    asked = answer(False, True)
    assert telemetry("bolus", "sim:", "--patient").status == 1
    assert pump.device.delivery().patient_boluses_24h == 0
    granted = telemetry("bolus", "sim:", "--patient")
    assert granted.status == 0, granted.err
    assert "Granted" in granted.out
    assert "0.005 ml, until" in granted.out
    assert asked == ["Ask for a bolus?"] * 2
    pump.advance(minutes=5)
    again = telemetry("bolus", "sim:", "--patient", "--yes", "--json")
    assert again.json["error"]["reason"] == "locked_out"
    assert "the lock-out after the last bolus is not over" in again.err
    assert "(in 2 h 0 min)" in again.err
    pump.advance(hours=2)
    found = telemetry("bolus", "sim:", "--patient", "--yes", "--json").json
    assert (found["operation"], found["delivery"]["patient_boluses_24h"]) == ("patient_bolus", 2)


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("delivery", ("last 24 h", "rate changes next", "the pump's clock", "UTC+00:00")),
        ("alarm-settings", ("low-reservoir alarm at 2.000 ml", "elective-replacement alarm on")),
        ("limits", ("one bolus, refused above 200 µg", "FORBIDDEN for this drug", "concentrations listed")),
        ("identity", ("pump tubing 0.140 ml", "catheter 0.1958 ml", "calibration 1.000000", "no level sensor")),
        ("program", ("rate 0.170 ml/day = 340 µg/day",)),
    ],
)
def test_readings_say_the_new_things(telemetry: Callable[..., Done], what: str, words: tuple[str, ...]) -> None:
    done = telemetry("read", "sim:", what)
    assert done.status == 0, done.err
    for word in words:
        assert word in flat(done.out), done.out
    assert max(len(line) for line in done.out.splitlines()) <= 90
    assert json.loads(telemetry("read", "sim:", what, "--json").out)["simulated"] is True


def test_a_titrated_schedule_is_compared_day_with_day_whatever_the_hour() -> None:
    pump = VirtualPump()
    pump.program(Therapy.flex({"00:00": DailyDose(300_000), "08:00": DailyDose(360_000)}))
    program = pump.device.program_report().program
    pump.advance(hours=9)
    status = pump.status
    assert status.dose_ng_per_day != program.dose_ng_per_day
    after = replace(program, rate_nl_per_day=195_500, dose_ng_per_day=391_000)
    before = TherapyState(status.mode, status.rate_nl_per_day, status.dose_ng_per_day, status.concentration_ng_per_ml)
    proposal = Proposal(
        operation=OperationKind.PROGRAM,
        before=before,
        after=replace(before, rate_nl_per_day=after.rate_nl_per_day, dose_ng_per_day=after.dose_ng_per_day),
        dose_24h_ng=after.dose_ng_per_day,
        volume_24h_nl=after.rate_nl_per_day,
        peak_nl_per_day=after.rate_nl_per_day,
        lowest_nl_per_day=after.rate_nl_per_day,
        change_ppm=150_000,
        empty_in_s=None,
        warnings=(),
        order=after,
    )
    shown = Shown(pump.device.identity(), status, pump.device.limits(), program)
    rows = {
        str(label): (str(old), str(new))
        for label, old, new in zip(
            *(column.cells for column in proposal_tables(shown, proposal)[0].columns), strict=True
        )
    }
    assert rows["dose (largest day)"] == ("340 µg/day", "[bold]391 µg/day[/]")
    assert rows["change"] == ("", "+15.0 %")
