"""Files that reports are written to: what stands in them, that they are whole, and that every one says SIMULATED."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq
import pytest
from matplotlib import image as mpl_image
from msgspec import structs
from pypdf import PdfReader

from telemetry import report as package
from telemetry.errors import UsageError
from telemetry.report import drawing, theme, write
from telemetry.report.building import DoseSpan, build
from telemetry.report.panels import panels
from telemetry.report.series import Series
from telemetry.sim.run import COLUMNS, RunEvent, RunVerdict, read_run
from telemetry.units import MS_PER_DAY
from tests.report.conftest import make_run

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.sim.run import Run

EVENTS = (
    RunEvent(at_ms=2 * MS_PER_DAY, kind="alarm_raised", detail="low_reservoir"),
    RunEvent(at_ms=4 * MS_PER_DAY, kind="alarm_cleared", detail="low_reservoir"),
    RunEvent(at_ms=5 * MS_PER_DAY, kind="alarm_raised", detail="motor_stall"),
)
ALL_PANELS = [
    "rates",
    "reservoir",
    "battery",
    "alarms",
    "tip-concentration",
    "tip-dose",
    "csf",
    "effect",
    "signs",
    "start-up",
    "trumpet",
]


@pytest.fixture(scope="module")
def run() -> Run:
    verdict = RunVerdict(at_ms=5, what="no alarm", passed=False, wanted="none", found="motor_stall")
    return make_run(days=12, events=EVENTS, verdicts=[verdict], title="A <visit> & more, 5 $ and 6 $")


def made(run: Run, folder: Path, name: str) -> Path:
    (path,) = write(run, folder / name)
    return path


class Page(HTMLParser):
    """Ids, links, tags and texts of a page; complains of what is not closed."""

    VOID = frozenset({"meta", "path", "use", "br", "link", "rect", "circle"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.ids += [value for name, value in known.items() if name == "id" and value]
        self.links += [value for name, value in known.items() if name in {"href", "src", "xlink:href"} and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.words.append(data)


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_is_whole_and_needs_no_network(run: Run, tmp_path: Path) -> None:
    text = made(run, tmp_path, "visit.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {link for link in page.links if not link.startswith("#")} == set()
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert "<script" not in text
    assert re.findall(r"url\((?!#)", text) == []
    assert "@import" not in text


def test_the_page_says_what_it_is_everywhere(run: Run, tmp_path: Path) -> None:
    text = made(run, tmp_path, "visit.html").read_text(encoding="utf-8")
    words = " ".join(Page(text).words)
    assert "SIMULATED – not a medical device, not for clinical use" in words
    assert words.count("SIMULATED. ") == len(ALL_PANELS)
    assert words.count("ILLUSTRATIVE MODEL") >= 3
    assert "A <visit> & more, 5 $ and 6 $" in words
    assert "<visit>" not in text
    for wanted in ("Dose at the tip in a window", "motor stall", "FAILED", "Identity card", "+6.00 %"):
        assert wanted in words
    for panel in build(run).panels:
        assert f'aria-label="{panel.title}"' in text


def test_the_page_is_light_and_dark_and_narrow(run: Run, tmp_path: Path) -> None:
    text = made(run, tmp_path, "visit.html").read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    pictures = re.findall(r"<svg .*?</svg>", text, re.DOTALL)
    assert len(pictures) == 2 * len(ALL_PANELS)
    for picture in pictures:
        # A colour that is no variable would not follow the page into the dark.
        assert set(re.findall(r"(?:fill|stroke): (#\w+)", picture)) == set()
        assert "var(--ink)" in picture
        ET.fromstring(picture.replace("<svg ", '<svg xmlns:x="x" ', 1))  # noqa: S314 - our own


def contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", theme.COLOURS, ids=lambda colour: colour.name)
def test_every_line_and_letter_stands_out_from_the_page(colour: theme.Colour) -> None:
    if colour in {theme.PAPER, theme.GRID}:
        return
    assert contrast(colour.light, theme.PAPER.light) >= 4.5
    assert contrast(colour.dark, theme.PAPER.dark) >= 4.5


def test_no_two_roles_share_a_colour() -> None:
    # A picture's colours are turned into variables by their value.
    assert len({colour.light.lower() for colour in theme.COLOURS}) == len(theme.COLOURS)


# --- print and pictures ----------------------------------------------------------------------------------------------


def test_the_print_has_numbered_stamped_pages_and_an_outline(run: Run, tmp_path: Path) -> None:
    reader = PdfReader(made(run, tmp_path, "visit.pdf"))
    count = len(reader.pages)
    assert count >= 3
    texts = [page.extract_text() for page in reader.pages]
    for number, text in enumerate(texts, start=1):
        assert "SIMULATED – not a medical device, not for clinical use" in text
        assert f"page {number} of {count}" in text
    whole = "\n".join(texts)
    for wanted in ("A <visit> & more", "Trumpet curve", "Ep(max)", "ILLUSTRATIVE", "hours since", "In an emergency"):
        assert wanted in whole
    assert reader.metadata is not None
    assert "SIMULATED" in str(reader.metadata.title)
    titles = [entry["/Title"] for part in reader.outline for entry in (part if isinstance(part, list) else [part])]  # type: ignore[call-overload]  # a nested list of destinations
    assert {"Trumpet curve", "Identity card", "Events"} <= set(titles)


def test_the_pictures_of_the_print_are_lines_and_letters(run: Run, tmp_path: Path) -> None:
    reader = PdfReader(made(run, tmp_path, "visit.pdf"))
    assert [image for page in reader.pages for image in page.images] == []
    assert any("years since" in page.extract_text() or "days since" in page.extract_text() for page in reader.pages)


def test_the_same_run_makes_the_same_files(run: Run, tmp_path: Path) -> None:
    for name in ("a.html", "a.pdf", "a.png", "a.csv", "a.zip", "a.parquet"):
        once, again = made(run, tmp_path, name).read_bytes(), made(run, tmp_path, name).read_bytes()
        assert once == again, name


def test_the_overview_is_a_picture(run: Run, tmp_path: Path) -> None:
    picture = mpl_image.imread(made(run, tmp_path, "visit.png"))
    height, width = picture.shape[:2]
    assert width > height > 1000
    # Not an empty page: a good part is neither paper nor ink.
    assert 0.01 < float((picture[..., :3].min(axis=2) < 0.9).mean()) < 0.6


def test_single_panels_are_written_by_name(run: Run, tmp_path: Path) -> None:
    write(run, tmp_path / "two.png", panels=("trumpet", "battery"))
    assert (tmp_path / "two.png").stat().st_size > 10_000
    with pytest.raises(UsageError, match=r"this run has no 'trompet'; it has: rates, reservoir"):
        write(run, tmp_path / "x.png", panels=("trompet",))
    short = make_run(days=1)
    with pytest.raises(UsageError, match=r"no 'trumpet'; it has: .* \(No start-up and trumpet curves: the longest"):
        write(short, tmp_path / "x.png", panels=("trumpet",))
    with pytest.raises(UsageError, match=r"single pictures are written as \.png, not x\.pdf"):
        write(run, tmp_path / "x.pdf", panels=("trumpet",))
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("days", [1, 3, 12, 900])
def test_every_panel_draws_runs_of_every_length(days: int) -> None:
    series = Series(make_run(days=days, every_ms=max(3_600_000, days * MS_PER_DAY // 400), events=EVENTS))
    for panel in panels(series):
        for narrow in (False, True):
            assert "<svg" in drawing.svg(panel, narrow=narrow)


def test_letters_do_not_leave_their_pictures(run: Run) -> None:
    # What runs over the edge is cut off in print and page alike.
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for width in (drawing.WIDE_INCHES, drawing.NARROW_INCHES):
        for panel in panels(Series(run)):
            with theme.letters(8 if width < 5 else 9):
                figure = drawing.figure(panel, width_inches=width)
                FigureCanvasAgg(figure)
                figure.draw_without_rendering()
                needs = figure.get_tightbbox()
            wide, high = figure.get_size_inches()
            assert -0.02 <= needs.x0 <= needs.x1 <= wide + 0.02, (panel.name, width)
            assert -0.02 <= needs.y0 <= needs.y1 <= high + 0.02, (panel.name, width)


# --- tables ----------------------------------------------------------------------------------------------------------


def test_the_samples_are_a_table_with_units_in_its_heading(run: Run, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(made(run, tmp_path, "visit.csv").read_text(encoding="utf-8"))))
    assert len(rows) == len(run.samples)
    assert set(COLUMNS) < set(rows[0])
    assert [int(row["at_ms"]) for row in rows] == run.samples.at_ms
    assert [int(row["delivered_ng"]) for row in rows] == run.samples.delivered_ng
    assert {row["simulated"] for row in rows} == {"true"}
    assert rows[0]["mean_true_nl_per_day_since_last"] == ""
    assert int(rows[1]["mean_true_nl_per_day_since_last"]) == pytest.approx(180_200, abs=30)
    assert float(rows[-1]["illustrative_csf_ng_per_ml"]) == pytest.approx(500, rel=0.01)


def test_an_archive_and_a_folder_hold_every_table(run: Run, tmp_path: Path) -> None:
    files = write(run, tmp_path / "tables")
    with zipfile.ZipFile(made(run, tmp_path, "visit.zip")) as archive:
        assert archive.testzip() is None
        inside = {name: archive.read(name).decode() for name in archive.namelist()}
    assert inside == {file.name: file.read_bytes().decode() for file in files}
    about = json.loads(inside["about.json"])
    assert about["simulated"] is True
    assert about["pump"]["serial"] == "SIM-0001"
    alarms = list(csv.DictReader(io.StringIO(inside["alarms.csv"])))
    assert [(row["kind"], row["open_end"]) for row in alarms] == [("low_reservoir", "false"), ("motor_stall", "true")]
    assert len(list(csv.DictReader(io.StringIO(inside["events.csv"])))) == len(EVENTS)
    assert next(csv.DictReader(io.StringIO(inside["expectations.csv"])))["found"] == "motor_stall"


def test_parquet_holds_the_samples_and_says_of_what(run: Run, tmp_path: Path) -> None:
    table = pq.read_table(made(run, tmp_path, "visit.parquet"))
    assert table.num_rows == len(run.samples)
    assert table.column("true_nl").to_pylist() == run.samples.true_nl
    assert str(table.schema.field("true_nl").type) == "int64"
    assert table.schema.metadata[b"simulated"] == b"true"
    assert json.loads(table.schema.metadata[b"about"])["simulated"] is True


def test_a_run_can_be_written_on(run: Run, tmp_path: Path) -> None:
    assert read_run(made(run, tmp_path, "again.run.json")) == run


# --- refused ---------------------------------------------------------------------------------------------------------


def test_what_cannot_be_written_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the ending \.docx is unknown; known: \.html, \.pdf"):
        write(run, tmp_path / "visit.docx")
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        write(run, tmp_path / "nowhere" / "visit.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written: File exists"):
        write(run, tmp_path / "file")
    with pytest.raises(UsageError, match="does not fit"):
        write(run, tmp_path / "visit.html", asked=DoseSpan(99 * MS_PER_DAY))
    assert not (tmp_path / "visit.html").exists()


def test_without_the_extra_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "find_spec", lambda name: None if name in {"numpy", "reportlab"} else object())
    with pytest.raises(UsageError, match=r"need numpy, reportlab, .*pip install 'itb-telemetry\[report\]'"):
        package.need()
    package.need("jinja2")
    with pytest.raises(UsageError, match="reports need numpy"):
        package.build(make_run(days=1))


def test_a_title_is_a_title_however_it_is_written(tmp_path: Path) -> None:
    for title in ("", "x" * 300 + r"\alpha $ \frac µ → ≤ ₂"):
        run = structs.replace(make_run(days=1), title=title)
        for ending in ("html", "pdf", "png"):
            assert made(run, tmp_path, f"a.{ending}").stat().st_size > 1000
