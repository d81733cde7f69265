"""A report as a PDF to print: headings, tables, vector pictures, page numbers, and the card at its true size."""

from __future__ import annotations

import io
import textwrap
from functools import partial
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, CondPageBreak, Frame, KeepTogether, PageTemplate, Paragraph, Spacer
from reportlab.platypus import Table as PrintedTable

from telemetry.report import card, drawing, theme, words
from telemetry.report.vectors import BOLD, REGULAR, Picture, register_letters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry.report.building import Report, Table

_MARGIN = 18 * mm
_PICTURE_INCHES = (A4[0] - 2 * _MARGIN) / 72
_SHORT = 24
_INK = colors.HexColor(theme.INK.light)
_MUTED = colors.HexColor(theme.MUTED.light)
_GRID = colors.HexColor(theme.GRID.light)
_RED = colors.HexColor(theme.CRITICAL.light)
_VIOLET = colors.HexColor(theme.ILLUSTRATION.light)

_TEXT = ParagraphStyle("text", fontName=REGULAR, fontSize=8.5, leading=11.5, textColor=_INK)
_TITLE = ParagraphStyle("title", parent=_TEXT, fontName=BOLD, fontSize=17, leading=21, spaceAfter=6)
_HEADING = ParagraphStyle(
    "heading", parent=_TEXT, fontName=BOLD, fontSize=11.5, leading=15, spaceBefore=9, spaceAfter=3
)
_NOTE = ParagraphStyle("note", parent=_TEXT, fontSize=7.5, leading=10, textColor=_MUTED)
_ILLUSTRATIVE = ParagraphStyle("illustrative", parent=_NOTE, fontName=BOLD, textColor=_VIOLET)
_CELL = ParagraphStyle("cell", parent=_TEXT, fontSize=7.2, leading=9.2)
_NUMBER = ParagraphStyle("number", parent=_CELL, alignment=TA_RIGHT)
_HEAD = ParagraphStyle("head", parent=_CELL, fontName=BOLD, textColor=_MUTED)
_HEAD_NUMBER = ParagraphStyle("head number", parent=_HEAD, alignment=TA_RIGHT)
_CARD = ParagraphStyle("card", parent=_TEXT, fontSize=7, leading=8.6)
_CARD_LABEL = ParagraphStyle("card label", parent=_CARD, textColor=_MUTED)
_CARD_HEAD = ParagraphStyle("card head", parent=_CARD, fontName=BOLD, fontSize=8.8, leading=11.5)
_CARD_SAMPLE = ParagraphStyle("card sample", parent=_CARD, fontName=BOLD, fontSize=5.4, leading=7, textColor=_RED)


def printed(report: Report) -> bytes:
    """The whole file."""
    register_letters()
    out = io.BytesIO()
    document = _Document(
        out,
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=20 * mm,
        bottomMargin=18 * mm,
        title=f"SIMULATED - {report.title}",
        author="itb-telemetry",
        subject=words.SIMULATED,
        invariant=1,
    )
    document.build(_story(report), canvasmaker=partial(_Numbered, title=report.title))
    return out.getvalue()


def _story(report: Report) -> list[Any]:
    story: list[Any] = [Paragraph(escape(report.title), _TITLE), _facts(report.facts)]
    story += [Paragraph(escape(note), _NOTE) for note in report.notes]
    for panel in report.panels:
        with theme.letters(7.5):
            picture = Picture(drawing.figure(panel, width_inches=_PICTURE_INCHES, height=0.84))
        parts = [Paragraph(escape(panel.title), _HEADING)]
        if panel.illustrative:
            parts.append(Paragraph(words.ILLUSTRATIVE, _ILLUSTRATIVE))
        story.append(KeepTogether([*parts, picture, Paragraph(f"SIMULATED. {escape(panel.caption)}", _NOTE)]))
    for table in report.tables:
        story += [CondPageBreak(40 * mm), Paragraph(escape(table.title), _HEADING)]
        if table.rows:
            story.append(_table(table))
        if table.note:
            story += [Spacer(1, 2), Paragraph(escape(table.note), _NOTE)]
    story.append(KeepTogether([Paragraph("Identity card", _HEADING), *_cards(report.card)]))
    return story


def _facts(facts: Sequence[tuple[str, str]]) -> PrintedTable:
    rows = [[Paragraph(escape(label), _NOTE), Paragraph(escape(value), _TEXT)] for label, value in facts]
    return PrintedTable(rows, colWidths=[32 * mm, None], style=_style(lines=False), hAlign="LEFT")


def _table(table: Table) -> PrintedTable:
    head = [
        Paragraph(escape(_whole(text)), _HEAD_NUMBER if index in table.numeric else _HEAD)
        for index, text in enumerate(table.columns)
    ]
    rows = [
        [
            Paragraph(
                _strong(text) if text == "FAILED" else escape(_whole(text)),
                _NUMBER if index in table.numeric else _CELL,
            )
            for index, text in enumerate(row)
        ]
        for row in table.rows
    ]
    widths = _widths(table)
    return PrintedTable([head, *rows], colWidths=widths, repeatRows=1, style=_style(lines=True), hAlign="LEFT")


def _widths(table: Table) -> list[float]:
    """No word is broken while there is room, and what is left goes to the columns that want it."""
    columns = list(zip(*[[_whole(text) for text in row] for row in (table.columns, *table.rows)], strict=True))
    least = [max(_width(word) for text in column for word in text.split(" ")) for column in columns]
    wanted = [max(_width(text) for text in column) for column in columns]
    room = A4[0] - 2 * _MARGIN
    if sum(least) >= room:
        return [room * width / sum(least) for width in least]
    more = [want - width for want, width in zip(wanted, least, strict=True)]
    share = min(1.0, (room - sum(least)) / sum(more)) if sum(more) else 0.0
    spare = max(0.0, room - sum(wanted)) / len(columns)
    return [width + share * extra + spare for width, extra in zip(least, more, strict=True)]


def _whole(text: str) -> str:
    """A short cell (an instant, a name) stays on one line."""
    return text.replace(" ", "\u00a0") if len(text) <= _SHORT else text


def _width(text: str) -> float:
    """Of a cell that holds this on one line."""
    return float(stringWidth(text, BOLD, _CELL.fontSize)) + 7


def _style(*, lines: bool) -> list[tuple[Any, ...]]:
    style: list[tuple[Any, ...]] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 6),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
    ]
    return [*style, ("LINEBELOW", (0, 0), (-1, -1), 0.4, _GRID)] if lines else style


def _strong(text: str) -> str:
    return f'<font name="{BOLD}" color="{theme.CRITICAL.light}">{escape(text)}</font>'


def _cards(shown: card.Card) -> list[Any]:
    lines = [[Paragraph(escape(label), _CARD_LABEL), Paragraph(escape(value), _CARD)] for label, value in shown.front]
    front = [
        Paragraph("Implanted drug pump", _CARD_HEAD),
        PrintedTable(lines, colWidths=[24 * mm, 54 * mm], style=[("VALIGN", (0, 0), (-1, -1), "TOP"), *_TIGHT]),
        Paragraph(escape(shown.sample), _CARD_SAMPLE),
    ]
    back = [
        Paragraph("In an emergency", _CARD_HEAD),
        Paragraph(escape(shown.emergency), _CARD),
        Spacer(1, 3),
        Paragraph(escape(shown.travel), _CARD),
        Spacer(1, 3),
        Paragraph(escape(shown.sample), _CARD_SAMPLE),
    ]
    side = [
        ("BOX", (0, 0), (-1, -1), 0.6, _MUTED),
        ("LINEAFTER", (0, 0), (0, 0), 0.6, _MUTED),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 3.5 * mm),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3.5 * mm),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5 * mm),
    ]
    size = {"colWidths": [card.WIDTH_MM * mm] * 2, "rowHeights": [card.HEIGHT_MM * mm], "hAlign": "LEFT"}
    note = "Two sides of a credit card when printed at 100 %: cut along the lines, fold, laminate."
    return [PrintedTable([[front, back]], style=side, **size), Spacer(1, 2), Paragraph(note, _NOTE)]


_TIGHT = (
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 2),
    ("TOPPADDING", (0, 0), (-1, -1), 0),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 0.6),
)


class _Document(BaseDocTemplate):  # type: ignore[misc]  # reportlab publishes no types
    """Every heading becomes an entry of the outline."""

    def __init__(self, out: io.BytesIO, **settings: Any) -> None:  # noqa: ANN401 - theirs
        super().__init__(out, **settings)
        frame = Frame(self.leftMargin, self.bottomMargin, self.width, self.height, 0, 0, 0, 0)
        self.addPageTemplates([PageTemplate("page", [frame])])

    def afterFlowable(self, flowable: Any) -> None:  # noqa: ANN401, N802 - theirs
        if isinstance(flowable, Paragraph) and flowable.style.name in {"title", "heading"}:
            text = flowable.getPlainText()
            key = f"{self.page}-{text}"
            self.canv.bookmarkPage(key)
            self.canv.addOutlineEntry(text, key, level=0 if flowable.style.name == "title" else 1)


class _Numbered(Canvas):  # type: ignore[misc]  # as above
    """Keeps the pages until their number is known, then writes head and foot on each."""

    def __init__(self, *arguments: Any, title: str, **settings: Any) -> None:  # noqa: ANN401 - theirs
        super().__init__(*arguments, **settings)
        self._pages: list[dict[str, Any]] = []
        self._run_title = title

    def showPage(self) -> None:  # noqa: N802 - theirs
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        for number, page in enumerate(self._pages, start=1):
            self.__dict__.update(page)
            self._edge(number)
            super().showPage()
        super().save()

    def _edge(self, number: int) -> None:
        width, height = A4
        self.setFont(BOLD, 8)
        self.setFillColor(_RED)
        self.drawCentredString(width / 2, height - 12 * mm, words.SIMULATED)
        self.setFont(REGULAR, 7)
        self.setFillColor(_MUTED)
        self.drawString(_MARGIN, 10 * mm, textwrap.shorten(self._run_title, 110, placeholder=" …"))
        self.drawRightString(width - _MARGIN, 10 * mm, f"page {number} of {len(self._pages)}")
