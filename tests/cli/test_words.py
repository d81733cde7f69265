"""Everything that a pump can say has words for people: no table has a gap, none says a thing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from telemetry.cli import logbook, reading_values, refusals, schedules, words
from telemetry.cli.app import _COMMANDS
from telemetry.cli.proposals import shift_text
from telemetry.errors import Refused, UsageError
from telemetry.model import (
    Activity,
    AlarmKind,
    AlarmSignal,
    Drive,
    Drug,
    LogCode,
    LogRecord,
    PumpLimits,
    PumpMode,
    RefusalReason,
    Warn,
)
from telemetry.programmer.therapy import program_from
from telemetry.therapy import Program, Therapy
from telemetry.units import DailyDose, Dose, Duration, FlowRate, Volume

LIMITS = PumpLimits(
    48_000, 24_000_000, 6_000, 2_000_000, 5_000, 2_000_000, 22_000, 1_000_000, 200_000, 10**6, 10**5, 2 * 10**5
)


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (words.MODES, PumpMode),
        (words.ACTIVITIES, Activity),
        (words.ALARMS, AlarmKind),
        (words.SIGNALS, AlarmSignal),
        (words.WARNINGS, Warn),
        (words.LOG, LogCode),
        (words.DRIVES, Drive),
    ],
)
def test_no_name_is_without_words(table: dict[object, str], kind: type) -> None:
    assert list(table) == list(kind)  # type: ignore[call-overload]
    assert all(text.strip() for text in table.values())
    assert len(set(table.values())) == len(table)


@pytest.mark.parametrize("reason", RefusalReason)
def test_every_refusal_says_what_it_means_and_not_only_its_name(reason: RefusalReason) -> None:
    told = refusals.explain(Refused(reason.value, reason.value, value=7_000_000, limit=3_000_000), LIMITS)
    text = str(told)
    if reason is RefusalReason.WARNINGS_NOT_ACCEPTED:
        text = str(refusals.explain(Refused(reason.value, warnings=("bolus_dose_high",)), LIMITS))
        assert "--accept-warning bolus_dose_high" in text
        assert "100 µg" in text
        return
    assert text.startswith("refused: ")
    name = reason.value.replace("_", " ")
    assert "_" not in text  # a name for programs is no word for people
    assert len(text.removeprefix("refused: ")) > len(name) + 15
    assert (told.reason, told.value, told.limit) == (reason.value, 7_000_000, 3_000_000)


@pytest.mark.parametrize("reason", RefusalReason)
def test_every_refusal_is_told_without_its_numbers_too(reason: RefusalReason) -> None:
    text = str(refusals.explain(Refused(reason.value, f"not applied: {reason.value}")))
    assert text.startswith("refused: ")
    assert "_" not in text
    assert "None" not in text


def test_a_refusal_keeps_its_notes() -> None:
    refused = Refused("locked_out", value=90, limit=7_200)
    refused.add_note("applied before that: refill")
    told = refusals.explain(refused)
    assert told.__notes__ == ["applied before that: refill"]
    assert str(told) == "refused: the lock-out of 2 h is not over: wait 1 min 30 s"


@pytest.mark.parametrize(
    ("mask", "text"),
    [(127, "every day"), (31, "mon–fri"), (96, "sat, sun"), (5, "mon, wed"), (0b1110100, "wed, fri–sun"), (1, "mon")],
)
def test_days_are_written_as_people_say_them(mask: int, text: str) -> None:
    assert words.days(mask) == text


def test_clocks_and_zones() -> None:
    assert words.clock(0, 90) == "1970-01-01 01:30:00 UTC+01:30"
    assert words.clock(0, -300) == "1969-12-31 19:00:00 UTC−05:00"
    assert words.minute(1_440) == "24:00"
    assert words.hours(53 * 3_600_000 + 3_600_000 * 728 // 1_000) == "53.73 h"
    assert words.factor(998_500) == "0.998500"
    assert "1 h 0 min later" in shift_text(-60, scheduled=True)
    assert "1 h 0 min earlier" in shift_text(60, scheduled=True)
    assert shift_text(60, scheduled=False) == "none runs: nothing moves"
    assert shift_text(0, scheduled=True) == "does not move"


def made(therapy: Therapy) -> Program:
    return program_from(
        therapy,
        drug=Drug.BACLOFEN,
        concentration_ng_per_ml=2_000_000,
        reservoir_generation=1,
        keep_alive_rate_nl_per_day=6_000,
    )


def test_two_schedules_stand_side_by_side_at_every_time_at_which_one_changes() -> None:
    old = made(Therapy.flex({"00:00": DailyDose(300_000), "08:00": DailyDose(340_000)}))
    new = made(
        Therapy.weekday(
            {
                "mon-fri": {"00:00": DailyDose(300_000), "06:00": DailyDose(340_000)},
                "sat,sun": {"00:00": DailyDose(320_000)},
            }
        )
    )
    low, mid, high = "300 µg/day = 0.150 ml/day", "320 µg/day = 0.160 ml/day", "340 µg/day = 0.170 ml/day"
    assert schedules.schedule_rows(old, new) == [
        ("mon–fri 00:00–06:00", low, low),
        ("mon–fri 06:00–08:00", low, high),
        ("mon–fri 08:00–24:00", high, high),
        ("sat, sun 00:00–08:00", low, mid),
        ("sat, sun 08:00–24:00", high, mid),
    ]
    ramp = made(Therapy.titration([(1, DailyDose(300_000)), (3, DailyDose(320_000)), (9, DailyDose(340_000))]))
    assert schedules.schedule_rows(ramp, old)[0] == ("00:00–08:00", "–", low)
    assert schedules.part_rows(ramp) == [
        ("titration", f"day 1: {low}\nday 2 to 4: {mid}\nfrom day 5: {high}"),
    ]


def test_a_periodic_bolus_says_every_unit() -> None:
    program = made(
        Therapy.periodic_bolus(
            FlowRate(125_000), Dose(20_000), Duration.parse("5 min"), Duration.parse("6 h"), Duration(0)
        )
    )
    assert program.bolus is not None
    assert schedules.periodic_bolus(program.bolus) == "20 µg = 0.010 ml over 5 min every 6 h, the first at once"


@pytest.mark.parametrize(
    ("text", "ppm"), [("+15%", 150_000), ("-7.5 %", -75_000), ("−10%", -100_000), ("20%", 200_000), ("0.0001%", 1)]
)
def test_shares(text: str, ppm: int) -> None:
    assert reading_values.share_ppm(text) == ppm


@pytest.mark.parametrize("text", ["15", "+15", "15 percent", "1e1%", "--5%", "0.00001%"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(UsageError, match=r"write \+15%"):
        reading_values.share_ppm(text)


def test_what_else_a_person_types() -> None:
    assert reading_values.amount("50 ug") == Dose(50_000)
    assert reading_values.amount("0.025 ml") == Volume(25_000)
    with pytest.raises(UsageError, match=r"or a volume, as in 0\.025 ml"):
        reading_values.amount("50 ug/day")
    assert reading_values.zone_minutes("+01:00") == 60
    assert reading_values.zone_minutes("UTC-5") == -300
    assert reading_values.zone_minutes("UTC") == 0
    for wrong in ("+15:00", "Berlin", "+1:60"):
        with pytest.raises(UsageError, match="zone"):
            reading_values.zone_minutes(wrong)
    assert reading_values.utc_s("2027-03-28T01:00:00Z") == 1_806_195_600
    assert reading_values.utc_s("2027-03-28T03:00:00+02:00") == 1_806_195_600
    assert reading_values.utc_s("now") == "now"
    for wrong in ("2027-03-28T01:00:00", "tomorrow"):
        with pytest.raises(UsageError, match="time"):
            reading_values.utc_s(wrong)
    assert reading_values.factor_ppm("0.9985") == 998_500
    with pytest.raises(UsageError, match="as on the package"):
        reading_values.factor_ppm("1,0")
    with pytest.raises(UsageError, match="write 2027-06-30"):
        reading_values.day("30.6.2027")


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_is_in_the_page_about_them(name: str) -> None:
    page = (Path(__file__).resolve().parent.parent.parent / "docs" / "cli.md").read_text(encoding="utf-8")
    assert f"`{name}" in page or f"telemetry {name}" in page


@pytest.mark.parametrize(
    ("code", "detail", "value", "shown", "amount"),
    [
        (LogCode.CLOCK_SET, 60, 1_767_283_380, "UTC+01:00", "2026-01-01 16:03:00 UTC+00:00"),
        (LogCode.CLOCK_SET, 0x10000 - 300, 0, "UTC−05:00", "1970-01-01 00:00:00 UTC+00:00"),
        (LogCode.BOLUS_ENDED, 3, 10_000, "periodic bolus", "0.010 ml"),
        (LogCode.PRIME_STARTED, 4, 195_800, "", "0.1958 ml"),
        (LogCode.PROGRAM_COMMITTED, 7, 170_000, "program number 7", "0.170 ml/day"),
        (LogCode.REFILLED, 2, 40_000_000, "fill number 2", "40.000 ml"),
        (LogCode.TITRATION_STEP, 2, 57_500, "step 2", "0.0575 ml/day"),
        (LogCode.DELIVERY_WITHHELD, 0, 2_000_000, "", "2000 µg in 24 h"),
        (LogCode.PATIENT_BOLUS_DENIED, 1, 0, "unknown message", ""),
        (LogCode.STALL_DETECTED, 0, 12, "", "12 strokes missed"),
        (LogCode.LIMITS_CHANGED, 0, 900_000, "", "at most 900 µg/day"),
        (LogCode.ALARMS_CONFIGURED, 2, 3_000_000, "", "3.000 ml"),
        (LogCode.SESSION_OPENED, 5, 0, "5", ""),
    ],
)
def test_a_line_of_the_log_is_in_units(code: LogCode, detail: int, value: int, shown: str, amount: str) -> None:
    record = LogRecord(1, 1, 0, code, 0, detail, value)
    assert (logbook.detail(record), logbook.value(record)) == (shown, amount)
