"""A conformance run as one HTML file: no network, light and dark; failed steps stand open."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from telemetry.conform.paper.building import SIGNERS, STATEMENT
from telemetry.conform.paper.pictures import pictures
from telemetry.report import drawing, theme
from telemetry.report.page import render

if TYPE_CHECKING:
    from telemetry.conform.paper.building import Paper
    from telemetry.conform.paper.pictures import Picture

_WIDE_INCHES = 8.6


def page(paper: Paper) -> str:
    """The whole file."""
    from markupsafe import Markup  # noqa: PLC0415 - only who writes pages pays for it

    shown = [(picture, Markup(_svg(picture))) for picture in pictures(paper.run)]  # noqa: S704 - our own drawing
    return render(
        "conformance.html.j2",
        "telemetry.conform.paper",
        title=paper.title,
        paper=paper,
        pictures=shown,
        statement=STATEMENT,
        signers=SIGNERS,
    )


def _svg(picture: Picture) -> str:
    salt = f"conform-{picture.name}"
    out = io.StringIO()
    with theme.letters(10, salt=salt):
        made = picture.figure(_WIDE_INCHES)
        made.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return drawing.themed(out.getvalue(), salt, picture.title)
