"""TCP, the pseudo-terminal, pyserial and the serial port server hold to the suite."""

from __future__ import annotations

import pytest

from tests.conformance.links import PTY_SERIAL, RFC2217, SERIAL_SOCKET, TCP
from tests.conformance.suite import conforming

pytestmark = pytest.mark.real

TestTcp = conforming(TCP)
TestPtyAndSerial = conforming(PTY_SERIAL)
TestSerialOverSocket = conforming(SERIAL_SOCKET)
TestRfc2217 = conforming(RFC2217)
