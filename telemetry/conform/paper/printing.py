"""A conformance run as a PDF to sign and file: page numbers, run digest on every page, places for signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import CondPageBreak, KeepTogether, PageBreak, Paragraph, Spacer
from reportlab.platypus import Table as PrintedTable

from telemetry.conform.paper.building import SIGNERS, STATEMENT
from telemetry.conform.paper.pictures import pictures
from telemetry.conform.results import Verdict
from telemetry.report import sheet, theme
from telemetry.report.vectors import BOLD, Picture, register_letters

if TYPE_CHECKING:
    from telemetry.conform.paper.building import Paper, StepText
    from telemetry.report.building import Table

_STRONG = frozenset({"FAILED", "NOT HELD"})
_RESULT = ParagraphStyle("result", parent=sheet.TEXT, fontName=BOLD, fontSize=12.5, leading=17)
_STEP = ParagraphStyle("step", parent=sheet.HEADING, fontSize=9.5, leading=12.5, spaceBefore=8, spaceAfter=1)
_SMALL_HEAD = ParagraphStyle("small head", parent=sheet.NOTE, fontName=BOLD, spaceBefore=4, spaceAfter=1)
_VERDICTS = {
    Verdict.PASS: theme.GOOD,
    Verdict.FAIL: theme.CRITICAL,
    Verdict.INCONCLUSIVE: theme.WARNING,
    Verdict.BLOCKED: theme.ILLUSTRATION,
    Verdict.NOT_CLAIMED: theme.MUTED,
}


def printed(paper: Paper) -> bytes:
    """The whole file."""
    register_letters()
    return sheet.printed(_story(paper), title=paper.title, foot=paper.foot)


def _story(paper: Paper) -> list[Any]:
    story: list[Any] = [Paragraph(escape(paper.title), sheet.TITLE), _result(paper), Spacer(1, 6)]
    story += [sheet.facts(paper.facts), Spacer(1, 6), Paragraph(escape(STATEMENT), sheet.NOTE)]
    tables = {table.name: table for table in paper.tables}
    story += _grid(tables["equipment"]) + _grid(tables["groups"])
    for picture in pictures(paper.run):
        with theme.letters(7.5):
            drawn = Picture(picture.figure(sheet.PICTURE_INCHES))
        story.append(
            KeepTogether(
                [
                    Paragraph(escape(picture.title), sheet.HEADING),
                    drawn,
                    Paragraph(f"SIMULATED. {escape(picture.caption)}", sheet.NOTE),
                ]
            )
        )
    for name in ("findings", "deviations", "summary", "claims"):
        story += _grid(tables[name])
    story += [CondPageBreak(60 * mm), Paragraph("Step by step", sheet.HEADING)]
    for step in paper.steps:
        story += _step(step)
    return [*story, PageBreak(), *_signatures(paper)]


def _result(paper: Paper) -> PrintedTable:
    colour = theme.GOOD if paper.passed else theme.CRITICAL
    box = [
        ("BOX", (0, 0), (-1, -1), 1.2, colour.light),
        ("LEFTPADDING", (0, 0), (-1, -1), 8),
        ("TOPPADDING", (0, 0), (-1, -1), 5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 6),
    ]
    text = Paragraph(sheet.bold(paper.sentence, colour), _RESULT)
    return PrintedTable([[text]], colWidths=[sheet.WIDTH - 2], style=box, hAlign="LEFT")


def _grid(grid: Table) -> list[Any]:
    parts: list[Any] = [CondPageBreak(30 * mm), Paragraph(escape(grid.title), sheet.HEADING)]
    return parts + _body(grid)


def _body(grid: Table) -> list[Any]:
    parts: list[Any] = []
    if grid.rows:
        parts.append(sheet.table(grid.columns, grid.rows, numeric=grid.numeric, strong=_STRONG))
    if grid.note:
        parts += [Spacer(1, 2), Paragraph(escape(grid.note), sheet.NOTE)]
    return parts


def _step(step: StepText) -> list[Any]:
    verdict = sheet.bold(step.word, _VERDICTS[step.verdict])
    head = Paragraph(f"{escape(step.number)} {escape(step.title)} – {verdict}", _STEP)
    parts: list[Any] = [KeepTogether([head, sheet.facts(step.facts)])]
    for grid in step.grids:
        parts += [CondPageBreak(16 * mm), Paragraph(escape(grid.title), _SMALL_HEAD), *_body(grid)]
    return parts


def _signatures(paper: Paper) -> list[Any]:
    rows: list[list[Any]] = [[Paragraph(text, sheet.NOTE) for text in ("", "name and function", "date", "signature")]]
    rows += [
        [[Paragraph(escape(role), _STEP), Paragraph(escape(meaning), sheet.NOTE)], "", "", ""]
        for role, meaning in SIGNERS
    ]
    style = [
        *sheet.style(lines=False),
        ("LINEBELOW", (1, 1), (-1, -1), 0.6, sheet.MUTED),
        ("LINEBELOW", (0, 1), (0, -1), 0.2, sheet.GRID),
    ]
    widths = [0.32 * sheet.WIDTH, 0.28 * sheet.WIDTH, 0.15 * sheet.WIDTH, 0.25 * sheet.WIDTH]
    table = PrintedTable(rows, colWidths=widths, rowHeights=[None, *[21 * mm] * len(SIGNERS)], style=style)
    lines = [
        ("purpose of the test", ""),
        ("room, temperature", ""),
        ("attachments", "the run's file with the digest of the first page; captures, if any:"),
        ("remarks", ""),
    ]
    ruled = PrintedTable(
        [[Paragraph(escape(label), sheet.NOTE), Paragraph(escape(value), sheet.TEXT)] for label, value in lines],
        colWidths=[32 * mm, sheet.WIDTH - 32 * mm],
        rowHeights=[12 * mm] * len(lines),
        style=[*sheet.style(lines=False), ("LINEBELOW", (1, 0), (1, -1), 0.6, sheet.MUTED)],
        hAlign="LEFT",
    )
    return [
        Paragraph("Signatures", sheet.HEADING),
        Paragraph(escape(f"{paper.title}. {paper.sentence}."), sheet.TEXT),
        Spacer(1, 8),
        table,
        Spacer(1, 10),
        ruled,
        Spacer(1, 8),
        Paragraph(escape(STATEMENT), sheet.NOTE),
    ]
