"""``python -m telemetry`` is the ``telemetry`` command."""

from __future__ import annotations

from telemetry.cli import main

if __name__ == "__main__":
    main()
