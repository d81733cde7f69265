"""Furniture of a printed page: letters, tables, facts, pictures, page numbers, and the stamp at the top of each.

Whatever is printed here (a run, a conformance run, a flow measurement) is made of these.
"""

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
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate, Paragraph
from reportlab.platypus import Table as PrintedTable

from telemetry.report import theme, words
from telemetry.report.vectors import BOLD, REGULAR, register_letters

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

MARGIN = 18 * mm
WIDTH = A4[0] - 2 * MARGIN
"""Of what stands on a page, in points."""
PICTURE_INCHES = WIDTH / 72
_SHORT = 24
INK = colors.HexColor(theme.INK.light)
MUTED = colors.HexColor(theme.MUTED.light)
GRID = colors.HexColor(theme.GRID.light)
RED = colors.HexColor(theme.CRITICAL.light)
VIOLET = colors.HexColor(theme.ILLUSTRATION.light)

TEXT = ParagraphStyle("text", fontName=REGULAR, fontSize=8.5, leading=11.5, textColor=INK)
TITLE = ParagraphStyle("title", parent=TEXT, fontName=BOLD, fontSize=17, leading=21, spaceAfter=6)
HEADING = ParagraphStyle("heading", parent=TEXT, fontName=BOLD, fontSize=11.5, leading=15, spaceBefore=9, spaceAfter=3)
NOTE = ParagraphStyle("note", parent=TEXT, fontSize=7.5, leading=10, textColor=MUTED)
CELL = ParagraphStyle("cell", parent=TEXT, fontSize=7.2, leading=9.2)
_NUMBER = ParagraphStyle("number", parent=CELL, alignment=TA_RIGHT)
_HEAD = ParagraphStyle("head", parent=CELL, fontName=BOLD, textColor=MUTED)
_HEAD_NUMBER = ParagraphStyle("head number", parent=_HEAD, alignment=TA_RIGHT)


def printed(
    story: Sequence[Any],
    *,
    title: str,
    foot: str | None = None,
    stamp: str = words.SIMULATED,
    mark: str = words.SIMULATED_MARK,
) -> bytes:
    """A whole file of these parts; the stamp stands above each page, ``foot`` (else the title) and its number below."""
    register_letters()
    out = io.BytesIO()
    document = _Document(
        out,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=20 * mm,
        bottomMargin=18 * mm,
        title=f"{mark} - {title}",
        author="itb-telemetry",
        subject=stamp,
        invariant=1,
    )
    document.build(list(story), canvasmaker=partial(_Numbered, foot=foot or title, stamp=stamp))
    return out.getvalue()


def facts(rows: Sequence[tuple[str, str]]) -> PrintedTable:
    """Labels and what stands beside them."""
    shown = [[Paragraph(escape(label), NOTE), Paragraph(escape(value), TEXT)] for label, value in rows]
    return PrintedTable(shown, colWidths=[32 * mm, None], style=style(lines=False), hAlign="LEFT")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numeric: Collection[int] = (),
    strong: Collection[str] = (),
) -> PrintedTable:
    """A table with a head that stands on each of its pages; cells that are one of ``strong`` are red and bold."""
    head = [
        Paragraph(escape(_whole(text)), _HEAD_NUMBER if index in numeric else _HEAD)
        for index, text in enumerate(columns)
    ]
    shown = [
        [
            Paragraph(bold(text) if text in strong else escape(_whole(text)), _NUMBER if index in numeric else CELL)
            for index, text in enumerate(row)
        ]
        for row in rows
    ]
    return PrintedTable(
        [head, *shown], colWidths=_widths(columns, rows), repeatRows=1, style=style(lines=True), hAlign="LEFT"
    )


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[float]:
    """No word is broken while there is room, and what is left goes to the columns that want it."""
    texts = list(zip(*[[_whole(text) for text in row] for row in (columns, *rows)], strict=True))
    least = [max(_width(word) for text in column for word in text.split(" ")) for column in texts]
    wanted = [max(_width(text) for text in column) for column in texts]
    if sum(least) >= WIDTH:
        return [WIDTH * width / sum(least) for width in least]
    more = [want - width for want, width in zip(wanted, least, strict=True)]
    share = min(1.0, (WIDTH - sum(least)) / sum(more)) if sum(more) else 0.0
    spare = max(0.0, WIDTH - sum(wanted)) / len(texts)
    return [width + share * extra + spare for width, extra in zip(least, more, strict=True)]


def _whole(text: str) -> str:
    """A short cell (an instant, a name) stays on one line."""
    return text.replace(" ", "\u00a0") if len(text) <= _SHORT else text


def _width(text: str) -> float:
    """Of a cell that holds this on one line."""
    return float(stringWidth(text, BOLD, CELL.fontSize)) + 7


def style(*, lines: bool) -> list[tuple[Any, ...]]:
    """Close rows, flush left; ``lines``: a thin one below each."""
    common: list[tuple[Any, ...]] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 6),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
    ]
    return [*common, ("LINEBELOW", (0, 0), (-1, -1), 0.4, GRID)] if lines else common


def bold(text: str, colour: theme.Colour = theme.CRITICAL) -> str:
    """Text in bold letters of a colour, as a paragraph's markup."""
    return f'<font name="{BOLD}" color="{colour.light}">{escape(text)}</font>'


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

    def __init__(self, *arguments: Any, foot: str, stamp: str, **settings: Any) -> None:  # noqa: ANN401 - theirs
        super().__init__(*arguments, **settings)
        self._pages: list[dict[str, Any]] = []
        self._foot = foot
        self._stamp = stamp

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
        self.setFillColor(RED)
        self.drawCentredString(width / 2, height - 12 * mm, self._stamp)
        self.setFont(REGULAR, 7)
        self.setFillColor(MUTED)
        self.drawString(MARGIN, 10 * mm, textwrap.shorten(self._foot, 110, placeholder=" …"))
        self.drawRightString(width - MARGIN, 10 * mm, f"page {number} of {len(self._pages)}")
