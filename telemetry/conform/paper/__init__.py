"""A conformance run on paper (extra ``report``): to be read, signed and filed. Everything says SIMULATED.

``write(run, path)`` makes the file that the path's ending asks for: ``.pdf`` or ``.html``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.report import need

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.conform.results import Run

KINDS = (".html", ".pdf")

__all__ = ["KINDS", "write"]


def write(run: Run, path: Path) -> Path:
    """Write the report of a run; the file made.

    Raises ``UsageError`` for another ending than those of ``KINDS``, for a place that cannot be written, and when a
    library of the extra is missing. The same run makes the same bytes.
    """
    if path.suffix not in KINDS:
        raise UsageError(f"{path}: the ending {path.suffix or 'is missing and'} is unknown; known: {', '.join(KINDS)}")
    need("numpy", "matplotlib", "jinja2", "reportlab")
    from telemetry.conform.paper.building import build  # noqa: PLC0415 - the libraries are there only now

    paper = build(run)
    if path.suffix == ".pdf":
        from telemetry.conform.paper.printing import printed  # noqa: PLC0415 - each kind of file has its own library

        data = printed(paper)
    else:
        from telemetry.conform.paper.page import page  # noqa: PLC0415 - as above

        data = page(paper).encode()
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}; give another path") from error
    return path
