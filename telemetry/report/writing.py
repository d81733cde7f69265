"""A run into the file that its path's ending asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.report import drawing, need, theme
from telemetry.report.building import DoseSpan, build
from telemetry.sim.run import SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.sim.run import Run

KINDS = (".html", ".pdf", ".png", ".csv", ".zip", ".parquet", SUFFIX)


def write(run: Run, path: Path, *, asked: DoseSpan | None = None, panels: tuple[str, ...] = ()) -> list[Path]:
    """Write it; the files made. Raises ``UsageError`` for an ending, panel or place that cannot be."""
    if panels and path.suffix != ".png":
        raise UsageError(f"panels: single pictures are written as .png, not {path.name}")
    if path.is_dir() or not path.suffix:
        return _folder(run, path)
    if not any(path.name.endswith(kind) for kind in KINDS):
        raise UsageError(f"{path}: the ending {path.suffix} is unknown; known: {', '.join(KINDS)}, or a folder")
    data = _content(run, path, asked, panels)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    return [path]


def _content(run: Run, path: Path, asked: DoseSpan | None, panels: tuple[str, ...]) -> bytes:
    if path.name.endswith(SUFFIX):
        return run.to_json()
    if path.suffix == ".html":
        need("jinja2")
        from telemetry.report.page import page  # noqa: PLC0415 - each kind of file has a library of its own

        return page(build(run, asked)).encode()
    if path.suffix == ".pdf":
        need("reportlab")
        from telemetry.report.printing import printed  # noqa: PLC0415 - as above

        return printed(build(run, asked))
    if path.suffix == ".png":
        return _png(run, asked, panels)
    from telemetry.report import tabling  # noqa: PLC0415 - as above

    if path.suffix == ".zip":
        return tabling.as_zip(run)
    return tabling.as_parquet(run) if path.suffix == ".parquet" else tabling.as_csv(tabling.samples(run)).encode()


def _png(run: Run, asked: DoseSpan | None, panels: tuple[str, ...]) -> bytes:
    report = build(run, asked)
    known = [panel.name for panel in report.panels]
    for name in panels:
        if name not in known:
            hint = f" ({report.notes[0]})" if report.notes and name in {"trumpet", "start-up"} else ""
            raise UsageError(f"panel: this run has no {name!r}; it has: {', '.join(known)}{hint}")
    with theme.letters(9):
        if panels:
            made = drawing.overview(report.series, report.panels, names=panels, columns=1)
        else:
            made = drawing.overview(report.series, report.panels)
        return drawing.png(made)


def _folder(run: Run, path: Path) -> list[Path]:
    from telemetry.report import tabling  # noqa: PLC0415 - as above

    written: list[Path] = []
    try:
        path.mkdir(parents=True, exist_ok=True)
        for name, text in tabling.files(run).items():
            written.append(path / name)
            written[-1].write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    return written
