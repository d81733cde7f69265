"""The coroutine fixtures behind ``programmer``, one for each loop of pytest-asyncio; loaded where that is active.

Their decorator is pytest-asyncio's own, so that they run in its strict mode and in its auto mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest_asyncio

from telemetry.testing.plugin import entropy_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telemetry.programmer import Programmer
    from telemetry.testing.faults import LinkFaults
    from telemetry.testing.watching import WatchedPump

    _Scope = Literal["function", "class", "module", "package", "session"]


def _on_loop(scope: _Scope) -> object:
    @pytest_asyncio.fixture(loop_scope=scope, name=f"_programmer_on_{scope}_loop")
    async def connected(virtual_pump: WatchedPump, link_faults: LinkFaults) -> AsyncIterator[Programmer]:
        from telemetry.programmer import connect  # noqa: PLC0415 - a run without a pump must not wait for it

        async with connect(pump=virtual_pump, faults=link_faults, entropy=entropy_of(virtual_pump)) as programmer:
            yield programmer

    return connected


on_function_loop = _on_loop("function")
on_class_loop = _on_loop("class")
on_module_loop = _on_loop("module")
on_package_loop = _on_loop("package")
on_session_loop = _on_loop("session")
