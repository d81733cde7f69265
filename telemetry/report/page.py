"""A report as one HTML file: pictures inline, no network, light and dark, readable on a telephone."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from telemetry.report import drawing, theme, words

if TYPE_CHECKING:
    from telemetry.report.building import Printable


@dataclass(frozen=True, slots=True)
class _Pictures:
    wide: object
    narrow: object


def page(report: Printable) -> str:
    """The whole file."""
    from markupsafe import Markup  # noqa: PLC0415 - only who writes pages pays for it

    pictures = {
        panel.name: _Pictures(Markup(drawing.svg(panel)), Markup(drawing.svg(panel, narrow=True)))  # noqa: S704 - ours
        for panel in report.panels
    }
    return render(
        "report.html.j2",
        title=report.title,
        stamp=report.stamp,
        mark=report.mark,
        report=report,
        pictures=pictures,
        illustrative=words.ILLUSTRATIVE,
    )


def render(
    template: str,
    *rooms: str,
    title: str,
    stamp: str = words.SIMULATED,
    mark: str = words.SIMULATED_MARK,
    **content: object,
) -> str:
    """A page from a template of these packages, or of this one, whose base has stamp, colours and letters."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - as above

    surroundings = Environment(
        loader=ChoiceLoader([PackageLoader(room) for room in (*rooms, "telemetry.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return surroundings.get_template(template).render(
        title=title, stamp=stamp, mark=mark, colours=theme.COLOURS, version=version("itb-telemetry"), **content
    )
