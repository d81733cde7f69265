"""Ports for servers that are to come back at the same place: tests that run side by side must not meet there."""

from __future__ import annotations

import os
import socket
from itertools import count

_FIRST, _SPAN = 10_000, 20_000
"""Below the range from which a system takes ports by itself (on Linux from 32768 on): there, somebody else's connection
may have the port that a server has just let go."""
_STEP, _SCATTER = 101, 7_919
_COUNT = count()


def free_port() -> int:
    """A port of the loopback that nobody has at this moment; never the same twice from one process."""
    for number in _COUNT:
        port = _FIRST + (os.getpid() * _SCATTER + number * _STEP) % _SPAN
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("the count does not end")
