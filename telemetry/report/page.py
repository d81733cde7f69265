"""A report as one HTML file: pictures inline, no network, light and dark, readable on a telephone."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from telemetry.report import drawing, theme, words

if TYPE_CHECKING:
    from telemetry.report.building import Report


@dataclass(frozen=True, slots=True)
class _Pictures:
    wide: object
    narrow: object


def page(report: Report) -> str:
    """The whole file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - only who writes pages pays for it
    from markupsafe import Markup  # noqa: PLC0415 - as above

    surroundings = Environment(
        loader=PackageLoader("telemetry.report"), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    pictures = {
        panel.name: _Pictures(Markup(drawing.svg(panel)), Markup(drawing.svg(panel, narrow=True)))  # noqa: S704 - ours
        for panel in report.panels
    }
    return surroundings.get_template("report.html.j2").render(
        report=report,
        pictures=pictures,
        colours=theme.COLOURS,
        simulated=words.SIMULATED,
        illustrative=words.ILLUSTRATIVE,
        version=version("itb-telemetry"),
    )
