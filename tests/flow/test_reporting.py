"""What is made of a measurement: pages, prints, pictures, tables."""

from __future__ import annotations

import asyncio
import csv
import io
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from pypdf import PdfReader

from telemetry.errors import UsageError
from telemetry.flow.reporting import MEASURED, build, write
from telemetry.flow.scale import ScaleSettings, parse_mishap
from telemetry.flow.simulating import PumpSettings, simulate
from telemetry.units import MS_PER_HOUR
from tests.flow.conftest import RATE, plan
from tests.support.letters import open_letters

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.flow.document import FlowRun

PUMP = PumpSettings("itb-40", RATE, 7, 60_000, 20_000, 12 * MS_PER_HOUR)


@pytest.fixture(scope="module", autouse=True)
def _letters() -> None:
    open_letters()


@pytest.fixture(scope="module")
def run() -> FlowRun:
    mishaps = (parse_mishap("tare@20h"), parse_mishap("silent@40h+2h"))
    asked = plan(100, title="A <pump> & a balance", stabilise_ms=10 * MS_PER_HOUR)
    return asyncio.run(simulate(asked, PUMP, ScaleSettings(), mishaps=mishaps))


def test_a_report_says_all_of_it(run: FlowRun) -> None:
    report = build(run)
    assert [panel.name for panel in report.panels] == ["trumpet", "start-up", "mass", "difference"]
    names = [table.name for table in report.tables]
    assert names == ["trumpet", "closed-form", "uncertainty", "equipment", "marks"]
    facts = dict(report.facts)
    assert facts["Set rate"] == "0.48 ml/day"
    assert facts["Known error"] == "rate +6.00 %, cyclic ±2 % every 12 h (built into the virtual pump)"
    assert facts["Made of"] == "profile itb-40, seed 7, stroke 250 nl"
    assert facts["Length"] == "4.167 d, 99 readings of 101 samples"
    marks = report.tables[-1]
    assert [row[1] for row in marks.rows] == ["tared", "gap", "gap ended"]
    assert "SIMULATED" in report.stamp


def test_a_page_stands_alone_and_escapes(run: FlowRun, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    write(run, path)
    text = path.read_text(encoding="utf-8")
    assert "A &lt;pump&gt; &amp; a balance" in text
    assert "<pump>" not in text
    assert "SIMULATED – not a medical device" in text
    for wanted in ("Trumpet curve", "SIMULATED-BALANCE", "Closed form", "Identity card"):
        assert (wanted in text) == (wanted != "Identity card")
    assert "http://" not in text.replace("http://www.w3.org/", "")


def test_a_print_has_numbered_stamped_pages(run: FlowRun, tmp_path: Path) -> None:
    path = tmp_path / "r.pdf"
    write(run, path)
    pages = PdfReader(path).pages
    for number, page in enumerate(pages, start=1):
        text = page.extract_text()
        assert "SIMULATED" in text
        assert f"page {number} of {len(pages)}" in text
    whole = "".join(page.extract_text() for page in pages)
    for wanted in ("seed 7", "SIMULATED-BALANCE", "itb-telemetry", "Uncertainty", "Deviations"):
        assert wanted in whole


def test_pictures_whole_and_single(run: FlowRun, tmp_path: Path) -> None:
    for name, only in (("all.png", ()), ("one.png", ("trumpet",))):
        write(run, tmp_path / name, only=only)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match=r"no 'csf'; it has: trumpet, start-up, mass, difference"):
        write(run, tmp_path / "x.png", only=("csf",))
    with pytest.raises(UsageError, match=r"written as \.png"):
        write(run, tmp_path / "x.pdf", only=("trumpet",))
    with pytest.raises(UsageError, match=r"the ending \.doc is unknown"):
        write(run, tmp_path / "x.doc")
    with pytest.raises(UsageError, match="cannot be written"):
        write(run, tmp_path / "nowhere" / "x.png")


def test_a_table_leaves_empty_what_was_not_measured(run: FlowRun, tmp_path: Path) -> None:
    write(run, tmp_path / "r.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 101
    gap = rows[40]
    assert (gap["mass_ng"], gap["measured_nl"], gap["outcome"]) == ("", "", "silent")
    assert rows[0]["simulated"] == "true"
    assert [row["piece"] for row in rows[19:21]] == ["0", "1"]


def test_a_real_measurement_is_not_called_simulated(run: FlowRun, tmp_path: Path) -> None:
    equipment = replace(run.equipment, model="XPE205", serial="B021002593", simulated=False)
    truths: list[int | None] = [None] * len(run.readings)
    real = replace(
        run,
        title="A bench run",
        simulated=False,
        pump=None,
        known=None,
        equipment=equipment,
        readings=replace(run.readings, truth_nl=truths),
    )
    report = build(real)
    assert (report.stamp, report.mark) == (MEASURED, "MEASURED")
    assert "difference" not in [panel.name for panel in report.panels]
    write(real, tmp_path / "r.pdf")
    whole = "".join(page.extract_text() for page in PdfReader(tmp_path / "r.pdf").pages)
    assert MEASURED in whole
    assert "SIMULATED" not in whole.replace("SIMULATED 1", "")


def test_boluses_and_blanks_have_reports_too(tmp_path: Path) -> None:
    boluses = asyncio.run(simulate(plan(25, kind="bolus", bolus_nl=20_000), PUMP, ScaleSettings()))
    report = build(boluses)
    assert [panel.name for panel in report.panels] == ["boluses", "mass", "difference"]
    assert report.tables[0].rows[0][0] == "mean"
    write(boluses, tmp_path / "b.png")
    blank = asyncio.run(simulate(plan(24, kind="blank", rate_nl_per_day=0), PUMP, ScaleSettings(noise_ng=50_000)))
    assert build(blank).tables[0].name == "blank"
    write(blank, tmp_path / "blank.pdf")
    write(blank, tmp_path / "blank.csv")


@pytest.mark.parametrize("hours", [1, 9, 11])
def test_a_short_measurement_says_what_it_is_too_short_for(hours: int, tmp_path: Path) -> None:
    run = asyncio.run(simulate(plan(hours, stabilise_ms=10 * MS_PER_HOUR), PUMP, ScaleSettings()))
    report = build(run)
    assert ("trumpet" in [panel.name for panel in report.panels]) == (hours > 10)
    assert report.notes
    write(run, tmp_path / "short.png")
