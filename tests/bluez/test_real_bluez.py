"""Debian's kernel, bluetoothd, D-Bus, stock bleak and our central, against our peripheral on a virtual controller.

One boot for all tests of this file: a test a step, so that what failed has a name. Run by ``make test-bluez``.
"""

from __future__ import annotations

import pytest

from tests.support.skips import skip_or_fail
from tools.bluez import run
from tools.bluez.steps import STEPS, WHAT
from tools.debian import Failed, NotHere

# Boot included, and on a first run the kernel's download; the machine's own limit is shorter.
pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(run.LIMIT_S + 600)]

Outcome = tuple[list[dict[str, object]], str]


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """What was reported, and what was wrong with the run as a whole."""
    try:
        return list(run.play().reports), ""
    except NotHere as error:
        skip_or_fail(str(error))
    except Failed as error:
        return run.last_reports(), str(error)


@pytest.mark.parametrize("step", STEPS)
def test_step(step: str, outcome: Outcome) -> None:
    reports, _ = outcome
    found = next((report for report in reports if report["step"] == step), None)
    assert found is not None, f"not reached: {WHAT[step]}"
    assert found["ok"] is True, f"{WHAT[step]}: {found['error']}"


def test_the_run_is_whole_and_leaves_nothing_running(outcome: Outcome) -> None:
    _, problem = outcome
    if problem:
        pytest.fail(problem, pytrace=False)
