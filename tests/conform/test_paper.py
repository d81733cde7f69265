"""The report of a conformance run: everything is in it, on every page what must be, and the same run gives the same."""

from __future__ import annotations

import html
import io
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from telemetry.conform.paper import write
from telemetry.conform.paper.building import MOST_EVIDENCE, SIGNERS, WORDS, build, seconds, sentence
from telemetry.conform.results import Evidence, EvidenceKind, FrameSeen, Subject, Verdict
from telemetry.errors import UsageError
from tests.conform.papers import run, step
from tests.support.letters import open_letters

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.conform.results import Run


@pytest.fixture(scope="module", autouse=True)
def letters() -> None:
    open_letters()


SIMULATED = "SIMULATED – not a medical device, not for clinical use"


def printed(shown: Run, folder: Path) -> list[str]:
    """The text of every page, white space folded."""
    reader = PdfReader(io.BytesIO(write(shown, folder / "run.pdf").read_bytes()))
    return [" ".join(page.extract_text().split()) for page in reader.pages]


def page(shown: Run, folder: Path) -> str:
    return write(shown, folder / "run.html").read_text(encoding="utf-8")


def words_of(text: str) -> str:
    body = re.sub(r"<style>.*?</style>", " ", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_everything_of_a_run_is_in_its_report(tmp_path: Path, kind: str) -> None:
    shown = run()
    text = " ".join(printed(shown, tmp_path)) if kind == "pdf" else words_of(page(shown, tmp_path))
    text = text.replace("\u00a0", " ")
    for found in shown.steps:
        assert f"{found.number} {found.title}" in text or found.verdict is Verdict.NOT_CLAIMED
        assert found.title in text
    for word in WORDS.values():
        assert word in text
    for item in shown.equipment:
        assert item.name in text
        assert item.serial in text
    assert "FAILED: 1 of 5 steps failed, 1 inconclusive, 1 blocked" in text
    for wanted in (
        "340 mg/day <b>",
        "gives up after",
        "NOT HELD",
        "at most 30000 ms",
        "rate_nl_per_day=170000",
        "dropped",
        "done with the second tablet; the first was charging",
        "blocked: the operator has no such control",
        "telemetry conform --listen tcp://127.0.0.1:7410 --seed 42",
        "itb-telemetry 0.1.0, Python 3.11.7, Linux",
        "poll_interval_ms = 5 000",
        "Tagesdosis",
        "IEC 60601-1-8 6.3",
        shown.digest(),
        *(role for role, _ in SIGNERS),
        "date",
        "signature",
    ):
        assert wanted in text, wanted


def test_every_printed_page_has_the_stamp_its_number_and_the_runs_digest(tmp_path: Path) -> None:
    shown = run(*(step(number, Verdict.PASS, group=f"group {number % 4}") for number in range(1, 40)))
    pages = printed(shown, tmp_path)
    assert len(pages) > 5
    for number, text in enumerate(pages, start=1):
        assert SIMULATED in text
        assert f"page {number} of {len(pages)}" in text
        assert f"run {shown.digest()[:16]}" in text


def test_the_places_for_signatures_are_together_on_the_last_page(tmp_path: Path) -> None:
    pages = printed(run(), tmp_path)
    for role, _ in SIGNERS:
        assert [role in text for text in pages] == [False] * (len(pages) - 1) + [True]
    assert "FAILED: 1 of 5 steps failed" in pages[-1], "what is signed stands above the signatures"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((Verdict.PASS, Verdict.PASS), "PASSED: all 2 steps that are claimed"),
        ((Verdict.PASS, Verdict.NOT_CLAIMED), "PASSED: all 1 steps that are claimed"),
        ((Verdict.NOT_CLAIMED,), "NOTHING TRIED: no step is claimed"),
        ((Verdict.PASS, Verdict.FAIL), "FAILED: 1 of 2 steps failed"),
        ((Verdict.PASS, Verdict.INCONCLUSIVE), "NOT COMPLETE: 1 inconclusive"),
        ((Verdict.BLOCKED,), "NOT COMPLETE: 1 blocked"),
    ],
)
def test_the_result_is_one_sentence(verdicts: tuple[Verdict, ...], expected: str, tmp_path: Path) -> None:
    shown = run(*(step(number, verdict) for number, verdict in enumerate(verdicts, start=1)))
    assert sentence(shown) == expected
    assert ('class="result clean"' in page(shown, tmp_path)) == expected.startswith("PASSED")


def test_the_same_run_makes_the_same_bytes(tmp_path: Path) -> None:
    for kind in ("pdf", "html"):
        first, second = (write(run(), tmp_path / f"{name}.{kind}").read_bytes() for name in ("a", "b"))
        assert first == second


@pytest.mark.parametrize("subject", list(Subject))
def test_each_subject_has_its_title(subject: Subject, tmp_path: Path) -> None:
    shown = run(subject=subject)
    assert build(shown).title.startswith("Conformance of a ")
    assert "Tablet A" in page(shown, tmp_path)


def test_what_is_left_out_of_a_long_step_is_counted(tmp_path: Path) -> None:
    lines = [Evidence(at_ms=n, kind=EvidenceKind.NOTE, what=f"line {n}") for n in range(MOST_EVIDENCE + 25)]
    frames = [FrameSeen(at_ms=n, direction="to_pump", message=f"Frame{n}", size=1) for n in range(50)]
    shown = run(step(1, Verdict.FAIL, evidence=lines, frames=frames, frames_left_out=7))
    text = words_of(page(shown, tmp_path))
    assert "25 earlier lines are in the run's file." in text
    assert f"line {MOST_EVIDENCE + 24} " in text
    assert "line 24 " not in text
    assert "17 earlier frames are left out here." in text


def test_failed_steps_stand_open_and_passed_ones_closed(tmp_path: Path) -> None:
    text = page(run(), tmp_path)
    assert re.findall(r'<details id="(P-\d\d)"( open)?>', text) == [
        ("P-01", ""),
        ("P-02", ""),
        ("P-03", " open"),
        ("P-04", " open"),
        ("P-05", " open"),
    ]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not [value for name, value in attrs if name in {"src", "href"} and value and value.startswith("http")]


def test_a_page_needs_no_network_and_no_script(tmp_path: Path) -> None:
    tags = _Tags()
    tags.feed(page(run(), tmp_path))
    assert not {"script", "link", "img", "iframe"} & set(tags.seen)
    assert "svg" in tags.seen


HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@settings(max_examples=5)
@given(HOSTILE, HOSTILE)
def test_no_text_of_the_equipment_can_break_the_report(
    tmp_path_factory: pytest.TempPathFactory, one: str, other: str
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    text = f"<script>alert(1)</script>{one}"
    shown = run(step(1, Verdict.FAIL, observed=text, title=f"title {other}"), title=text)
    assert len(printed(shown, folder)) >= 3
    assert "<script>" not in page(shown, folder)


@pytest.mark.parametrize("name", ["run.docx", "run", "run.PDF.txt"])
def test_another_ending_is_refused_with_those_that_are_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"known: \.html, \.pdf"):
        write(run(), tmp_path / name)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none/run\.pdf: cannot be written"):
        write(run(), tmp_path / "none" / "run.pdf")


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0.000 s"), (1_234, "1.234 s"), (3_600_000, "3 600.000 s"), (-5, "−0.005 s")]
)
def test_seconds_are_exact(ms: int, text: str) -> None:
    assert seconds(ms) == text
