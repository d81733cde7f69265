"""A report as a PDF to print: headings, tables, vector pictures, page numbers, and the card at its true size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import CondPageBreak, KeepTogether, Paragraph, Spacer
from reportlab.platypus import Table as PrintedTable

from telemetry.report import card, drawing, sheet, theme, words
from telemetry.report.vectors import BOLD, Picture, register_letters

if TYPE_CHECKING:
    from telemetry.report.building import Printable

_ILLUSTRATIVE = ParagraphStyle("illustrative", parent=sheet.NOTE, fontName=BOLD, textColor=sheet.VIOLET)
_CARD = ParagraphStyle("card", parent=sheet.TEXT, fontSize=7, leading=8.6)
_CARD_LABEL = ParagraphStyle("card label", parent=_CARD, textColor=sheet.MUTED)
_CARD_HEAD = ParagraphStyle("card head", parent=_CARD, fontName=BOLD, fontSize=8.8, leading=11.5)
_CARD_SAMPLE = ParagraphStyle("card sample", parent=_CARD, fontName=BOLD, fontSize=5.4, leading=7, textColor=sheet.RED)


def printed(report: Printable) -> bytes:
    """The whole file."""
    register_letters()
    return sheet.printed(_story(report), title=report.title, stamp=report.stamp, mark=report.mark)


def _story(report: Printable) -> list[Any]:
    story: list[Any] = [Paragraph(escape(report.title), sheet.TITLE), sheet.facts(report.facts)]
    story += [Paragraph(escape(note), sheet.NOTE) for note in report.notes]
    for panel in report.panels:
        with theme.letters(7.5):
            picture = Picture(drawing.figure(panel, width_inches=sheet.PICTURE_INCHES, height=0.84))
        parts = [Paragraph(escape(panel.title), sheet.HEADING)]
        if panel.illustrative:
            parts.append(Paragraph(words.ILLUSTRATIVE, _ILLUSTRATIVE))
        story.append(KeepTogether([*parts, picture, Paragraph(escape(f"{panel.mark}. {panel.caption}"), sheet.NOTE)]))
    for table in report.tables:
        story += [CondPageBreak(40 * mm), Paragraph(escape(table.title), sheet.HEADING)]
        if table.rows:
            story.append(sheet.table(table.columns, table.rows, numeric=table.numeric, strong={"FAILED"}))
        if table.note:
            story += [Spacer(1, 2), Paragraph(escape(table.note), sheet.NOTE)]
    if report.card is not None:
        story.append(KeepTogether([Paragraph("Identity card", sheet.HEADING), *_cards(report.card)]))
    return story


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
        ("BOX", (0, 0), (-1, -1), 0.6, sheet.MUTED),
        ("LINEAFTER", (0, 0), (0, 0), 0.6, sheet.MUTED),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 3.5 * mm),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3.5 * mm),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5 * mm),
    ]
    size = {"colWidths": [card.WIDTH_MM * mm] * 2, "rowHeights": [card.HEIGHT_MM * mm], "hAlign": "LEFT"}
    note = "Two sides of a credit card when printed at 100 %: cut along the lines, fold, laminate."
    return [PrintedTable([[front, back]], style=side, **size), Spacer(1, 2), Paragraph(note, sheet.NOTE)]


_TIGHT = (
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 2),
    ("TOPPADDING", (0, 0), (-1, -1), 0),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 0.6),
)
