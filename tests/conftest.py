"""The three lanes and the leak check, for every test of the suite.

* pure: a plain function; time is an argument.
* virtual: every coroutine test, unless it says otherwise; runs on `VirtualLoop`.
* real: marked `real`; the host's clock and I/O.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import hypothesis
import pytest

from tests.support import leaks
from tests.support.virtual_loop import ADVICE, VirtualLaneError, VirtualLoop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

# Two workers whose linear algebra each takes every core for a small sound spend their time waiting for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

pytest_plugins = ["pytester"]

TESTS = Path(__file__).parent
# What runs here is pure: bytes and instants in, bytes and instants out.
PURE_FOLDERS = (TESTS / "protocol", TESTS / "sim" / "pump")

hypothesis.settings.register_profile(
    "ci",
    derandomize=True,  # a red run must be red again when it is repeated
    database=None,
    deadline=None,  # the per-test timeout bounds time; a busy machine must not fail a property
    max_examples=100,
    stateful_step_count=40,
    print_blob=True,
)
hypothesis.settings.register_profile("dev", deadline=None, max_examples=50, stateful_step_count=30)
hypothesis.settings.register_profile(
    "long",
    database=None,
    deadline=None,
    max_examples=5_000,
    stateful_step_count=200,
    print_blob=True,
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def _is_coroutine_test(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and (
        item.get_closest_marker("asyncio") is not None or inspect.iscoroutinefunction(item.obj)
    )


def _is_virtual(item: pytest.Item) -> bool:
    if item.get_closest_marker("real") is not None:
        return False
    return item.get_closest_marker("virtual") is not None or _is_coroutine_test(item)


def pytest_asyncio_loop_factories(
    config: pytest.Config,
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Choose the loop by lane; a coroutine test without a mark is virtual, the lane that cannot flake."""
    if item.get_closest_marker("real") is not None:
        return {"real": asyncio.SelectorEventLoop}
    return {"virtual": VirtualLoop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test belongs to one lane."""
    for item in items:
        if item.get_closest_marker("real") is not None and item.get_closest_marker("virtual") is not None:
            raise pytest.UsageError(
                f"{item.nodeid} is marked both `real` and `virtual`: virtual time never meets real I/O"
            )


def _forbidden(what: str) -> Callable[..., NoReturn]:
    def refuse(*_args: object, **_kwargs: object) -> NoReturn:
        raise VirtualLaneError(f"{what} is forbidden in this lane: {ADVICE}")

    return refuse


@pytest.fixture(autouse=True)
def _lane_guard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take sleeping from the pure lane, and sleeping and sockets from the virtual one."""
    virtual = _is_virtual(request.node)
    if virtual or any(folder in request.node.path.parents for folder in PURE_FOLDERS):
        monkeypatch.setattr(time, "sleep", _forbidden("time.sleep"))
    if virtual:
        monkeypatch.setattr(socket.socket, "__init__", _forbidden("a socket"))


def _fail_on(found: list[str]) -> None:
    if found:
        pytest.fail("the test left behind:\n" + "\n".join(f"  {name}" for name in found), pytrace=False)


@pytest.fixture
async def _no_leaks_on_loop() -> AsyncIterator[None]:
    before = leaks.Snapshot.take()
    yield
    await leaks.settle()
    _fail_on(leaks.leaked_tasks() + before.leaks())


@pytest.fixture(autouse=True)
def _no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a task, a thread, a descriptor or a child process behind, and name it."""
    if _is_coroutine_test(request.node):
        # On the test's own loop and set up before every other fixture, hence torn down after them and before the loop.
        request.getfixturevalue("_no_leaks_on_loop")
        yield
        return
    before = leaks.Snapshot.take()
    yield
    _fail_on(before.leaks())
