"""Where a gateway's spool lies unless it is told: one folder for each pair of pump URL and destination."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from telemetry.publish.topics import level

if TYPE_CHECKING:
    from telemetry.publish.topics import Destination


def default_folder(url: str, destination: Destination) -> Path:
    """``$XDG_STATE_HOME/itb-telemetry/publish/SITE-…`` (XDG base directory specification).

    The query of the broker's URL does not count: credentials may change without leaving anything behind.
    """
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    parts = (url, destination.broker.partition("?")[0], destination.site, destination.place)
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return Path(state) / "itb-telemetry" / "publish" / f"{level(destination.site)}-{name}"
