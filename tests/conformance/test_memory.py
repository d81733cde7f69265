"""The memory link holds to the suite, as datagrams and as a stream."""

from __future__ import annotations

from tests.conformance.links import MEMORY, MEMORY_STREAM
from tests.conformance.suite import conforming

TestMemory = conforming(MEMORY)
TestMemoryStream = conforming(MEMORY_STREAM)
