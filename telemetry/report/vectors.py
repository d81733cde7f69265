"""Matplotlib figures drawn straight onto a reportlab canvas: lines stay lines and letters stay letters in the print."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.path import Path
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Flowable

if TYPE_CHECKING:
    from matplotlib.backend_bases import GraphicsContextBase
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

REGULAR, BOLD = "DejaVuSans", "DejaVuSans-Bold"
_POINTS_PER_INCH = 72
_CAPS = {"butt": 0, "round": 1, "projecting": 2}
_JOINS = {"miter": 0, "round": 1, "bevel": 2}
_HEAVY = frozenset({"bold", "semibold", "heavy", "black", 600, 700, 800, 900})


def register_letters() -> None:
    """Make the letters that the pictures were measured with known to reportlab (they come with matplotlib)."""
    folder = FilePath(mpl.get_data_path()) / "fonts" / "ttf"
    for name in (REGULAR, BOLD):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    pdfmetrics.registerFontFamily(REGULAR, normal=REGULAR, bold=BOLD, italic=REGULAR, boldItalic=BOLD)


class Picture(Flowable):  # type: ignore[misc]  # reportlab publishes no types
    """A figure as a part of a page, at its own size."""

    def __init__(self, figure: Figure) -> None:
        super().__init__()
        figure.set_dpi(_POINTS_PER_INCH)
        self._figure = figure
        self.width, self.height = (side * _POINTS_PER_INCH for side in figure.get_size_inches())

    def wrap(self, _width: float, _height: float) -> tuple[float, float]:
        """How large it is."""
        return self.width, self.height

    def draw(self) -> None:
        """Draw it where the page is."""
        FigureCanvasAgg(self._figure)
        self._figure.draw(_Renderer(self.canv, self.width, self.height))


class _Renderer(RendererBase):
    """Draws paths and text; everything a figure of lines, bars and letters comes down to."""

    def __init__(self, canvas: Any, width: float, height: float) -> None:  # noqa: ANN401 - reportlab has no types
        super().__init__()
        self._canvas = canvas
        self._size = (width, height)

    def get_canvas_width_height(self) -> tuple[float, float]:
        return self._size

    def flipy(self) -> bool:
        return False

    def draw_path(
        self,
        gc: GraphicsContextBase,
        path: Path,
        transform: Any,  # noqa: ANN401 - theirs
        rgbFace: Any = None,  # noqa: ANN401, N803 - theirs
    ) -> None:
        canvas = self._canvas
        canvas.saveState()
        self._clip(gc)
        outline, filled, stroked = canvas.beginPath(), rgbFace is not None, gc.get_linewidth() > 0
        self._trace(outline, path, transform, whole=filled)
        alpha = gc.get_alpha()
        if filled:
            own = rgbFace[3] if len(rgbFace) > 3 else 1.0
            canvas.setFillColorRGB(*rgbFace[:3], alpha=alpha if gc.get_forced_alpha() else own)
        red, green, blue, own = gc.get_rgb()
        canvas.setStrokeColorRGB(red, green, blue, alpha=alpha if gc.get_forced_alpha() else own)
        canvas.setLineWidth(gc.get_linewidth())
        canvas.setLineCap(_CAPS[gc.get_capstyle()])
        canvas.setLineJoin(_JOINS[gc.get_joinstyle()])
        offset, dashes = gc.get_dashes()
        if dashes is not None:
            canvas.setDash([float(length) for length in np.asarray(dashes)], offset or 0)
        canvas.drawPath(outline, stroke=int(stroked), fill=int(filled))
        canvas.restoreState()

    def _trace(self, outline: Any, path: Path, transform: Any, *, whole: bool) -> None:  # noqa: ANN401 - as above
        at = (0.0, 0.0)
        for points, code in path.iter_segments(transform, simplify=False if whole else None, curves=True):
            if code == Path.MOVETO:
                outline.moveTo(*points)
            elif code == Path.LINETO:
                outline.lineTo(*points)
            elif code == Path.CURVE3:
                (x0, y0), (x1, y1, x2, y2) = at, points
                outline.curveTo((x0 + 2 * x1) / 3, (y0 + 2 * y1) / 3, (x2 + 2 * x1) / 3, (y2 + 2 * y1) / 3, x2, y2)
            elif code == Path.CURVE4:
                outline.curveTo(*points)
            elif code == Path.CLOSEPOLY:
                outline.close()
                continue
            at = (float(points[-2]), float(points[-1]))

    def _clip(self, gc: GraphicsContextBase) -> None:
        box = gc.get_clip_rectangle()
        if box is not None:
            rectangle = self._canvas.beginPath()
            rectangle.rect(*box.bounds)
            self._canvas.clipPath(rectangle, stroke=0, fill=0)

    def draw_text(
        self,
        gc: GraphicsContextBase,
        x: float,
        y: float,
        s: str,
        prop: FontProperties,
        angle: float,
        ismath: Any = False,  # noqa: ANN401, FBT002 - theirs
        mtext: Any = None,  # noqa: ANN401 - theirs
    ) -> None:
        if ismath:
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
            return
        canvas = self._canvas
        canvas.saveState()
        canvas.translate(x, y)
        canvas.rotate(angle)
        canvas.setFillColorRGB(*gc.get_rgb()[:3])
        canvas.setFont(BOLD if prop.get_weight() in _HEAVY else REGULAR, prop.get_size_in_points())
        canvas.drawString(0, 0, s)
        canvas.restoreState()
