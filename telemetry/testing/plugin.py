"""Fixtures ``virtual_pump``, ``pump_clock``, ``link_faults``, ``programmer``, ``blocking_programmer``; marker ``pump``.

pytest loads this in every run of everybody who has the package: at import it needs pytest and nothing else, and
what it provides loads the simulator only when a test asks for it.
"""

from __future__ import annotations

import inspect
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from telemetry.clock import ManualClock
    from telemetry.programmer import BlockingProgrammer, Programmer
    from telemetry.testing.faults import LinkFaults
    from telemetry.testing.reporting import Scene
    from telemetry.testing.watching import WatchedPump

_MARKER = (
    "pump(profile='itb-40', seed=0, fill=None, concentration=None, age=None, ...): the virtual pump of this test, "
    "by name: settings of telemetry.VirtualPump and any field of its profile; the mark closest to the test wins "
    "(plug-in of itb-telemetry)"
)
_SCENE: pytest.StashKey[Scene] = pytest.StashKey()
# Names of pytest-asyncio, the one plug-in that can run our coroutine fixture.
_ASYNC_PLUGIN = "asyncio"
_ASYNC_FIXTURES = "telemetry.testing.coroutines"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the coroutine fixtures where something can run them."""
    config.addinivalue_line("markers", _MARKER)
    if config.pluginmanager.hasplugin(_ASYNC_PLUGIN):
        config.pluginmanager.import_plugin(_ASYNC_FIXTURES)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give the report of a failure the last frames and the state of the pump."""
    report = yield
    scene = item.stash.get(_SCENE, None)
    if scene is not None:
        if report.failed:
            report.sections.extend(scene.sections())
        if report.when == "teardown":
            del item.stash[_SCENE]  # items live as long as the run; their pumps need not
    return report


@pytest.fixture
def virtual_pump(request: pytest.FixtureRequest) -> WatchedPump:
    """A virtual pump of the test's own, on a manual clock of its own; ``@pytest.mark.pump`` says which."""
    return _scene(request).pump


@pytest.fixture
def pump_clock(virtual_pump: WatchedPump) -> ManualClock:
    """The clock of ``virtual_pump``: ``pump_clock.advance(days=90)`` and the pump has lived them."""
    return cast("ManualClock", virtual_pump.clock)  # it was made with one, and the mark cannot give another


@pytest.fixture
def link_faults(virtual_pump: WatchedPump, request: pytest.FixtureRequest) -> LinkFaults:
    """What goes wrong on the programmer's link: ``link_faults.add("drop:1@rx/VerdictReport*1")``; nothing at first."""
    scene = _scene(request)
    if virtual_pump is not scene.pump:
        _fail(
            request,
            "virtual_pump: a fixture of yours gives another pump than the plug-in's; say what you need with "
            "@pytest.mark.pump, or prepare the plug-in's pump in your fixture and return it",
        )
    return scene.faults


@pytest.fixture
def blocking_programmer(
    virtual_pump: WatchedPump, link_faults: LinkFaults, request: pytest.FixtureRequest
) -> Iterator[BlockingProgrammer]:
    """A programmer with blocking calls, connected to ``virtual_pump``; for tests that are no coroutines."""
    if _is_coroutine(request.node):
        _fail(request, "blocking_programmer: the test is a coroutine and cannot block its loop; ask for `programmer`")
    from telemetry.programmer import connect_sync  # noqa: PLC0415 - a run without a pump must not wait for it

    with connect_sync(pump=virtual_pump, faults=link_faults, entropy=entropy_of(virtual_pump)) as programmer:
        yield programmer


@pytest.fixture
def programmer(request: pytest.FixtureRequest) -> Programmer | BlockingProgrammer:
    """A programmer connected to ``virtual_pump``: to be awaited in a coroutine test, blocking in a plain one."""
    if not _is_coroutine(request.node):
        blocking: BlockingProgrammer = request.getfixturevalue("blocking_programmer")
        return blocking
    if request.node.get_closest_marker("anyio") is not None:
        _fail(
            request,
            "programmer: it runs under pytest-asyncio, and this test under anyio's plug-in; there write "
            "`async with telemetry.connect(pump=virtual_pump, faults=link_faults) as programmer:`",
        )
    if not request.config.pluginmanager.hasplugin(_ASYNC_PLUGIN):
        _fail(
            request,
            "programmer: a coroutine test needs pytest-asyncio, which is not active here; "
            "`pip install 'itb-telemetry[testing]'` (and no `-p no:asyncio`), or make it a plain `def`: "
            "there the programmer is a blocking one",
        )
    connected: Programmer = request.getfixturevalue(f"_programmer_on_{_loop_scope(request)}_loop")
    return connected


def entropy_of(pump: WatchedPump) -> Callable[[int], bytes]:
    """Random bytes for the programmer of this pump, from its seed: the same test sends the same operation numbers."""
    return Random(f"programmer of pump {pump.seed}").randbytes  # noqa: S311 - repeatable on purpose


def _scene(request: pytest.FixtureRequest) -> Scene:
    """What this test has, made when its first fixture asks."""
    stash: pytest.Stash = request.node.stash
    scene = stash.get(_SCENE, None)
    if scene is None:
        scene = stash[_SCENE] = _new_scene(request)
    return scene


def _new_scene(request: pytest.FixtureRequest) -> Scene:
    from telemetry.testing.faults import LinkFaults  # noqa: PLC0415 - a run without a pump must not wait for it
    from telemetry.testing.reporting import Scene  # noqa: PLC0415 - as above

    wanted = _wanted(request)
    if isinstance(wanted, str):  # out here, so that the report shows this one line and not what led to it
        _fail(request, f"@pytest.mark.pump: {wanted}")
    settings, pump = wanted
    return Scene(settings, pump, LinkFaults(pump, seed=pump.seed or 0))


def _wanted(request: pytest.FixtureRequest) -> tuple[dict[str, Any], WatchedPump] | str:
    """The pump that the marks ask for, with their settings; or what is wrong with them."""
    from telemetry.errors import UsageError  # noqa: PLC0415 - as above
    from telemetry.testing.marker import build_pump, settings_of  # noqa: PLC0415 - as above

    try:
        settings = settings_of(request.node.iter_markers("pump"))
        return settings, build_pump(settings)
    except (UsageError, TypeError) as error:
        return str(error)


def _fail(request: pytest.FixtureRequest, message: str) -> NoReturn:
    """Fail this test in its setup with one line; a traceback would point into this file."""
    pytest.fail(f"{request.node.nodeid}: {message}", pytrace=False)


def _is_coroutine(item: pytest.Item) -> bool:
    """Whether a loop runs this test."""
    function = getattr(item, "obj", None)
    property_of = getattr(function, "hypothesis", None)  # @given puts a plain function around the coroutine
    return inspect.iscoroutinefunction(getattr(property_of, "inner_test", function))


def _loop_scope(request: pytest.FixtureRequest) -> str:
    """On which of pytest-asyncio's loops this test runs: a link must be closed on the loop that opened it."""
    marker = request.node.get_closest_marker("asyncio")
    scope = None if marker is None else marker.kwargs.get("loop_scope") or marker.kwargs.get("scope")
    return str(scope or request.config.getini("asyncio_default_test_loop_scope") or "function")
