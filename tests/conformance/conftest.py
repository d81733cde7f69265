"""What the modules of the suite share: the wrappers as parameters, and the rig that a test is handed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.links import WRAPPERS, Rig
from tests.conformance.suite import Suite, wrappers_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of the suite in every wrapper that fits."""
    if metafunc.cls is not None and issubclass(metafunc.cls, Suite):
        metafunc.parametrize("wrapper", wrappers_for(metafunc.cls.kind, metafunc.function))


@pytest.fixture
async def rig(
    request: pytest.FixtureRequest, wrapper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rig]:
    """Open a place of the kind under test, and check at the end that every receiver was treated by the rules."""
    rig = Rig(request.cls.kind, WRAPPERS[wrapper], tmp_path, monkeypatch)
    try:
        await rig.start()
    except BaseException:  # a skip among them, where a program is missing
        await rig.surroundings.aclose()
        raise
    yield rig
    await rig.stop()
