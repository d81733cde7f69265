"""Where a machine lacks a program: a reason to skip at home, a failure where everything must run."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test with the reason; with CI=true fail it instead."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"this must run where CI=true: {reason}", pytrace=False)
    pytest.skip(reason)
