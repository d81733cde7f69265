"""Matplotlib keeps the files of its letters open for good once it has used them; no test is to blame for that."""

from __future__ import annotations

from matplotlib.figure import Figure

from telemetry.report import theme
from telemetry.report.drawing import png


def open_letters() -> None:
    """Let matplotlib open what it will need, before a test is watched for what it leaves behind."""
    with theme.letters():
        figure = Figure()
        figure.text(0, 0, "regular µ")
        figure.text(0, 0, "bold µ", weight="bold")
        png(figure)
