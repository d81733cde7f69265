"""Pictures and reports of a recorded run (extra ``report``). Everything here says SIMULATED.

``build(run)`` works a run out, ``write(run, path)`` makes the file that the path's ending asks for.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from telemetry.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.report.building import DoseSpan, Report
    from telemetry.sim.run import Run

__all__ = ["build", "need", "write"]
LIBRARIES = ("numpy", "matplotlib", "jinja2", "reportlab", "pyarrow")


def need(*libraries: str) -> None:
    """Raises ``UsageError`` saying what to install when a library of the extra is missing."""
    missing = [name for name in libraries or LIBRARIES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"reports need {', '.join(missing)}, which came not with this install: pip install 'itb-telemetry[report]'"
        )


def build(run: Run, asked: DoseSpan | None = None) -> Report:
    """Everything that a report of this run says; raises ``UsageError`` for a dose window that does not fit into it."""
    need("numpy", "matplotlib")
    from telemetry.report.building import build as work_out  # noqa: PLC0415 - the libraries are there only now

    return work_out(run, asked)


def write(run: Run, path: Path, *, asked: DoseSpan | None = None, panels: tuple[str, ...] = ()) -> list[Path]:
    """Write the report that the path's ending asks for; the files made.

    ``.html``, ``.pdf``, ``.png`` (an overview, or the named ``panels``), ``.csv`` (the samples), ``.parquet``
    (the samples), ``.zip`` or a folder (every table as CSV), ``.run.json`` (the run itself). Raises ``UsageError``.
    """
    need("numpy", "matplotlib")
    from telemetry.report.writing import write as write_file  # noqa: PLC0415 - as above

    return write_file(run, path, asked=asked, panels=panels)
