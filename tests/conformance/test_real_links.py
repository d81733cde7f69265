"""TCP, the pseudo-terminal and pyserial hold to the suite."""

from __future__ import annotations

import pytest

from tests.conformance.links import PTY_SERIAL, SERIAL_SOCKET, TCP
from tests.conformance.suite import conforming

pytestmark = pytest.mark.real

TestTcp = conforming(TCP)
TestPtyAndSerial = conforming(PTY_SERIAL)
TestSerialOverSocket = conforming(SERIAL_SOCKET)
