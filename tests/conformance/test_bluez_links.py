"""Stock bleak on a D-Bus of its own, against bluezoo, holds to the suite."""

from __future__ import annotations

import pytest

from tests.conformance.links import BLE_BLUEZOO
from tests.conformance.suite import conforming

pytestmark = pytest.mark.real

TestBleBluezoo = conforming(BLE_BLUEZOO)
