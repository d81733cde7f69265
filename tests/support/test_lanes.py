"""The lanes and the leak check bite: each rule is broken once, in a suite of its own, and the breach is named."""

from __future__ import annotations

import asyncio
import fnmatch
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.support.virtual_loop import REFUSED_METHODS, VirtualDeadlock, VirtualLaneError, VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).resolve().parent.parent
IMPORTS = """
    import asyncio, os, socket, subprocess, sys, threading, time
    import pytest

    kept = []
"""


def run(pytester: pytest.Pytester, body: str, path: str = "tests/test_inner.py") -> pytest.RunResult:
    """Run a suite that consists of our own conftest, its helpers and the given tests."""
    place = pytester.path / "tests"
    shutil.copytree(TESTS / "support", place / "support", ignore=shutil.ignore_patterns("test_*", "__pycache__"))
    shutil.copy(TESTS / "conftest.py", place)
    shutil.copy(TESTS.parent / "pyproject.toml", pytester.path)
    inner = pytester.path / path
    inner.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(line.removeprefix("    ") for line in f"{IMPORTS}{body}".splitlines())
    inner.write_text(text, encoding="utf-8")
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", str(inner))


LEAKS = {
    "task": (
        """
    async def test_it():
        kept.append(asyncio.create_task(asyncio.Event().wait(), name="forgotten"))
    """,
        "*task forgotten: Event.wait (*",
    ),
    "thread": (
        """
    def test_it():
        kept.append(threading.Event())
        threading.Thread(target=kept[-1].wait, name="forgotten", daemon=True).start()
    """,
        "*thread 'forgotten'*",
    ),
    "thread of a coroutine test": (
        """
    @pytest.mark.real
    async def test_it():
        kept.append(threading.Event())
        threading.Thread(target=kept[-1].wait, name="forgotten", daemon=True).start()
    """,
        "*thread 'forgotten'*",
    ),
    "descriptor": (
        """
    def test_it():
        os.open("/dev/null", os.O_RDONLY)
    """,
        "*file descriptor * -> /dev/null*",
    ),
    "descriptor of a coroutine test": (
        """
    async def test_it():
        os.open("/dev/null", os.O_RDONLY)
    """,
        "*file descriptor * -> /dev/null*",
    ),
    "descriptor replaced": (
        """
    @pytest.fixture(scope="module")
    def first():
        return os.open("/dev/null", os.O_RDONLY)

    def test_it(first):
        os.close(first)
        assert os.open("/dev/zero", os.O_RDONLY) == first
    """,
        "*file descriptor * -> /dev/zero*",
    ),
    "server": (
        """
    @pytest.mark.real
    async def test_it():
        kept.append(await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0))
    """,
        "*file descriptor * -> socket:*",
    ),
    "child": (
        """
    def test_it():
        kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
    """,
        "*child process *: *-c input()*",
    ),
    "child never waited for": (
        """
    def test_it():
        kept.append(subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE))
        kept[-1].stdout.read()
        kept[-1].stdout.close()
    """,
        "*child process *: ended, but never waited for*",
    ),
    "fixture": (
        """
    @pytest.fixture
    async def broken():
        yield
        kept.append(asyncio.create_task(asyncio.Event().wait(), name="forgotten"))

    async def test_it(broken):
        pass
    """,
        "*task forgotten: Event.wait (*",
    ),
}


@pytest.mark.real
def test_a_leak_fails_the_test_and_is_named(pytester: pytest.Pytester) -> None:
    names = {title: f"test_{title.replace(' ', '_')}" for title in LEAKS}
    result = run(pytester, "".join(body.replace("test_it", names[title]) for title, (body, _) in LEAKS.items()))
    result.assert_outcomes(passed=len(LEAKS), errors=len(LEAKS))
    # Each report belongs to the test that leaked, so what one test left must not be held against the next.
    # The summary at the end repeats the messages, whole where CI is set.
    details, _, _ = result.stdout.str().partition(" short test summary info ")
    reports = re.split(r"_+ ERROR at teardown of (\w+) _+", details)
    reported = dict(zip(reports[1::2], reports[2::2], strict=True))
    for title, (_, line) in LEAKS.items():
        named = [text for text in reported[names[title]].splitlines() if text.startswith("  ")]
        # The pipes to a child that is still held are left behind with it.
        [leak] = [text for text in named if "-> pipe:" not in text]
        assert fnmatch.fnmatchcase(leak, line), leak


CLEAN = """
    from hypothesis import given, strategies

    def test_pure():
        with open(os.devnull): pass

    async def test_virtual():
        task = asyncio.create_task(asyncio.sleep(0))
        await task

    async def test_a_cancelled_task_is_given_time_to_end():
        task = asyncio.create_task(asyncio.Event().wait())
        await asyncio.sleep(0)
        task.cancel()

    @pytest.mark.real
    async def test_real():
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await reader.read()
            writer.close()
            await writer.wait_closed()

    @pytest.mark.real
    async def test_the_loops_own_threads_are_no_leak():
        await asyncio.to_thread(time.sleep, 0)

    @given(strategies.integers())
    async def test_property(x):
        await asyncio.sleep(0)

    @pytest.mark.real
    def test_child():
        subprocess.run([sys.executable, "-c", ""], check=True)
"""


@pytest.mark.real
def test_a_clean_test_is_left_alone(pytester: pytest.Pytester) -> None:
    run(pytester, CLEAN).assert_outcomes(passed=7)


BREACHES = {
    "sleep": ("await asyncio.sleep(1)", "*has no timer on host time*"),
    "timeout": ("async with asyncio.timeout(1): await asyncio.sleep(0)", "*has no timer on host time*"),
    "wait for": ("await asyncio.wait_for(asyncio.Event().wait(), 1)", "*has no timer on host time*"),
    "blocking sleep": ("time.sleep(0)", "*time.sleep is forbidden in this lane*"),
    "connection": ("await asyncio.open_connection('127.0.0.1', 9)", "*has no I/O: create_connection was called*"),
    "server": ("await asyncio.start_server(print, '127.0.0.1', 0)", "*has no I/O: create_server was called*"),
    "bare socket": ("socket.socket()", "*a socket is forbidden in this lane*"),
    "thread": ("await asyncio.to_thread(print)", "*has no thread (asyncio.to_thread)*"),
    "process": ("await asyncio.create_subprocess_exec('true')", "*has no child process*"),
    "deadlock": ("await asyncio.Event().wait()", "*VirtualDeadlock: deadlock: nothing is ready*"),
}


@pytest.mark.real
@pytest.mark.parametrize("mark", ["", "@pytest.mark.virtual"], ids=["default", "marked"])
def test_the_virtual_lane_refuses_the_host(pytester: pytest.Pytester, mark: str) -> None:
    body = "".join(
        f"\n    {mark}\n    async def test_{name.replace(' ', '_')}():\n        {statement}\n"
        for name, (statement, _) in BREACHES.items()
    )
    result = run(pytester, body)
    # The deadlocked test leaves its own coroutine behind, which is an error of its own.
    result.assert_outcomes(failed=len(BREACHES), errors=1)
    for _, line in BREACHES.values():
        result.stdout.fnmatch_lines([line])


@pytest.mark.real
@pytest.mark.parametrize("folder", ["tests/protocol", "tests/sim/pump/deeper"])
def test_the_pure_lane_cannot_sleep(pytester: pytest.Pytester, folder: str) -> None:
    result = run(pytester, "\n    def test_it():\n        time.sleep(0)\n", f"{folder}/test_inner.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*time.sleep is forbidden in this lane*"])


@pytest.mark.real
def test_elsewhere_a_plain_test_may_sleep(pytester: pytest.Pytester) -> None:
    result = run(pytester, "\n    def test_it():\n        time.sleep(0)\n", "tests/integration/test_inner.py")
    result.assert_outcomes(passed=1)


@pytest.mark.real
def test_a_test_belongs_to_one_lane(pytester: pytest.Pytester) -> None:
    result = run(pytester, "\n    @pytest.mark.real\n    @pytest.mark.virtual\n    async def test_it(): ...\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_it is marked both `real` and `virtual`*"])


@pytest.mark.real
def test_a_hanging_test_is_ended(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
    @pytest.mark.timeout(0.2)
    def test_it():
        threading.Event().wait()

    def test_next():
        pass
    """,
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*Timeout (>0.2s) from pytest-timeout*"])


def test_a_red_run_of_a_property_is_red_again() -> None:
    profile = hypothesis.settings.get_profile("ci")
    assert (profile.derandomize, profile.database, profile.deadline) == (True, None, None)


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def test_every_door_of_the_loop_is_shut() -> None:
    # What a selector loop can do beyond the abstract loop's bookkeeping is exactly what must be refused.
    inert = {name for name in dir(asyncio.AbstractEventLoop) if name in dir(asyncio.BaseEventLoop)}
    doors = {name for name in dir(asyncio.AbstractEventLoop) if not name.startswith("_")} & inert
    harmless = {
        "call_exception_handler",
        "call_soon",
        "call_soon_threadsafe",
        "close",
        "create_future",
        "create_task",
        "default_exception_handler",
        "get_debug",
        "get_exception_handler",
        "get_task_factory",
        "is_closed",
        "is_running",
        "run_forever",
        "run_until_complete",
        "set_debug",
        "set_default_executor",
        "set_exception_handler",
        "set_task_factory",
        "shutdown_asyncgens",
        "shutdown_default_executor",
        "stop",
        "time",
    }
    assert doors - harmless == REFUSED_METHODS


@pytest.mark.parametrize("name", sorted(REFUSED_METHODS))
def test_a_shut_door_says_which_and_what_to_do(loop: VirtualLoop, name: str) -> None:
    with pytest.raises(VirtualLaneError, match=rf"{name} was called; mark the test `real`"):
        getattr(loop, name)(None, None)


def test_time_stands_still(loop: VirtualLoop) -> None:
    assert {loop.time() for _ in range(10)} == {0.0}


def test_a_deadlock_says_who_waits_where(loop: VirtualLoop) -> None:
    async def inner() -> None:
        await asyncio.Event().wait()

    async def outer() -> None:
        await inner()

    async def main() -> None:
        await asyncio.gather(
            asyncio.create_task(outer(), name="one"),
            asyncio.create_task(inner(), name="two"),
        )

    with pytest.raises(VirtualDeadlock) as caught:
        loop.run_until_complete(main())
    text = str(caught.value)
    assert r"one: test_a_deadlock_says_who_waits_where.<locals>.outer (test_lanes.py:" in text
    assert ".inner (test_lanes.py:" in text.partition("two: ")[0].partition("one: ")[2]
    assert "Event.wait (locks.py:" in text
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))


def test_a_loop_without_a_deadlock_runs_to_its_end(loop: VirtualLoop) -> None:
    order: list[int] = []

    async def step(number: int, ready: asyncio.Event, next_one: asyncio.Event) -> None:
        await ready.wait()
        order.append(number)
        next_one.set()

    async def main() -> None:
        first, second, third = asyncio.Event(), asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(step(2, second, third)), asyncio.create_task(step(1, first, second))]
        first.set()
        await third.wait()
        await asyncio.gather(*tasks)

    loop.run_until_complete(main())
    assert order == [1, 2]
