"""The run in the emulated machine takes minutes and is a target of its own: ``make test-bluez`` asks for it."""

from __future__ import annotations

import os

collect_ignore = [] if os.environ.get("TELEMETRY_BLUEZ") == "1" else ["test_real_bluez.py"]
