"""What may not stand in the code, checked on its syntax: floats in the safety core, host time outside the clock."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

assert telemetry.__file__ is not None
PACKAGE = Path(telemetry.__file__).parent
SAFETY_CORE = ("protocol", "sim/pump")

# Integer functions of the standard library's math; everything else in it gives floats.
INTEGER_MATH = {"comb", "factorial", "gcd", "isqrt", "lcm", "perm", "prod"}


def floats(tree: ast.AST) -> Iterator[str]:
    """Yield every place at which a float could come to be."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float() | complex()):
                yield f"line {node.lineno}: {ast.unparse(node)}"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield f"line {node.lineno}: true division in {ast.unparse(node)}"
            case ast.Name(id="float" | "complex" | "round"):
                yield f"line {node.lineno}: {node.id}"
            case ast.Attribute(attr="truediv" | "fsum"):
                yield f"line {node.lineno}: {node.attr}"
            case ast.ImportFrom(module="math", names=names):
                for name in names:
                    if name.name not in INTEGER_MATH:
                        yield f"line {node.lineno}: math.{name.name}"
            case ast.Attribute(value=ast.Name(id="math"), attr=attr) if attr not in INTEGER_MATH:
                yield f"line {node.lineno}: math.{attr}"
            case _:
                continue


HOST_TIME_MODULES = {"time", "sched", "timeit"}
HOST_TIME_CALLS = {
    "asyncio.timeout",
    "asyncio.timeout_at",
    "asyncio.wait_for",
    "date.today",
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "datetime.now",
    "datetime.today",
    "datetime.utcnow",
    "threading.Timer",
}
HOST_TIME_METHODS = {"call_at", "call_later", "time"}


def _is_zero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 0


def host_time(tree: ast.AST) -> Iterator[str]:
    """Yield what reads the host's clock or waits on it, by name and without the line, so that it can be listed."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (f"import {name.name}" for name in names if name.name in HOST_TIME_MODULES)
            case ast.ImportFrom(module=module) if module in HOST_TIME_MODULES:
                yield f"import {module}"
            case ast.ImportFrom(module="asyncio", names=names):
                # By its bare name a call could not be told from one of ours.
                yield from (f"from asyncio import {name.name}" for name in names if name.name in {"sleep", "wait_for"})
            case ast.Call(func=function, args=arguments, keywords=keywords):
                name = ast.unparse(function)
                if name in HOST_TIME_CALLS:
                    yield name
                elif name == "asyncio.sleep":
                    if not (arguments and _is_zero(arguments[0])):
                        yield name
                elif name == "asyncio.wait":
                    if any(keyword.arg == "timeout" for keyword in keywords):
                        yield name
                elif isinstance(function, ast.Attribute) and function.attr in HOST_TIME_METHODS and "loop" in name:
                    yield f"loop.{function.attr}"
            case _:
                continue


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (PACKAGE / folder).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.inv(44)
@pytest.mark.parametrize("folder", SAFETY_CORE)
def test_inv_44_the_safety_core_is_found(folder: str) -> None:
    # Without this a moved folder would make the next test pass on nothing.
    assert len(sources(folder)) > 3


@pytest.mark.inv(44)
@pytest.mark.parametrize("path", sources(*SAFETY_CORE), ids=relative)
def test_inv_44_no_float_in_the_safety_core(path: Path) -> None:
    assert list(floats(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.inv(44)
@pytest.mark.parametrize(
    "snippet",
    [
        "x = 0.5",
        "x = 1e3",
        "x = 2j",
        "x = a / b",
        "a /= b",
        "x = float(a)",
        "x: float",
        "def f(a: int) -> float: ...",
        "x = round(a)",
        "from math import ceil",
        "x = math.floor(a)",
        "x = math.pi",
        "x = operator.truediv(a, b)",
        "class C:\n  def f(self):\n    return lambda: [i / 2 for i in x]",
    ],
)
def test_inv_44_the_check_sees_every_kind_of_float(snippet: str) -> None:
    assert len(list(floats(ast.parse(snippet)))) == 1


@pytest.mark.inv(44)
@pytest.mark.parametrize(
    "snippet",
    ["x = a // b", "x, y = divmod(a, b)", "a //= b", "from math import gcd", "x = math.isqrt(a)", '"""1.5 / 2"""'],
)
def test_inv_44_the_check_lets_integers_pass(snippet: str) -> None:
    assert list(floats(ast.parse(snippet))) == []


# Every entry says why it cannot be a Clock's; an entry that is not used any more fails the test below.
HOST_TIME_ALLOWED: dict[str, dict[str, str]] = {
    "sim/station.py": {"asyncio.sleep": "how long a served pump naps, as told by its ScaledClock"},
    "transport/ble.py": {
        "asyncio.timeout": "how long the system's Bluetooth may take over one write",
        "asyncio.wait": "how long to look for a telemeter that may not be there; how long the writer may take to end",
        "asyncio.wait_for": "how long the telemeter may take over the last frames of a close",
        "loop.time": "when the opening of a radio link, in several steps, is over",
    },
    "transport/ble_errors.py": {"asyncio.wait": "how long the system's Bluetooth may take over any call"},
    "transport/ble_peripheral.py": {
        "asyncio.sleep": "how soon to try again to advertise",
        "asyncio.timeout": "how long an adapter may take to come up and to go down",
    },
    "transport/ble_scan.py": {"asyncio.sleep": "how long a person wants to listen for advertisements"},
    "transport/ble_service.py": {
        "asyncio.timeout": "how long an adapter may take to disconnect a central",
        "asyncio.wait_for": "how long a central may take over the last frames of a close",
    },
    "transport/bleak_bumble.py": {
        "asyncio.timeout": "bleak's time-outs are host time, and bumble's adapters run on it"
    },
    "transport/bleak_bumble_client.py": {
        "asyncio.timeout": "how long an adapter may take to disconnect a device",
        "asyncio.timeout_at": "bleak's time-out of a connection is host time",
        "asyncio.wait": "how long a device may take over one request, and an adapter over what was written",
        "loop.time": "what is left of bleak's time-out of a connection",
    },
    "transport/bumble_hci.py": {"asyncio.timeout": "how long a controller may take to open and to close"},
    "transport/bumble_link.py": {
        "loop.call_at": "when a packet arrives over a radio whose controllers run on host timers",
        "loop.call_later": "when an advertisement arrives, and when contact has been away for too long",
        "loop.time": "when the air is free again",
    },
    "transport/mqtt.py": {"asyncio.wait": "how long a telemeter may take to answer through its broker"},
    "transport/mqtt_broker.py": {"asyncio.wait": "how long a broker may take to acknowledge"},
    "transport/mqtt_embedded.py": {"asyncio.wait": "how long a broker's clients may take to be told of its end"},
    "transport/mqtt_listener.py": {"asyncio.sleep": "how soon to look again for a broker that has gone"},
    "transport/mqtt_pipe.py": {
        "asyncio.wait_for": "how long the other end may take over the last bytes of a close",
        "loop.call_later": "when the next sign of life is due",
        "loop.time": "since when neither end has said anything",
    },
    "transport/mqtt_wire.py": {
        "asyncio.wait": "how long a broker may take to let us in, and over the last messages of a close",
        "loop.time": "what is left of the time for letting us in, after TCP and TLS",
    },
    "transport/pipe.py": {"asyncio.wait_for": "how long the operating system may take over the last bytes of a close"},
    "transport/pty.py": {"loop.call_later": "how soon to look again for the next opener of the terminal"},
    "transport/rfc2217.py": {"loop.call_later": "how long a second client may wait for the first one to hang up"},
    "transport/serialport.py": {
        "asyncio.sleep": "how often to look whether the kernel has sent what a closing port still holds",
        "asyncio.wait": "how long the operating system, or a far end, may take to open a port",
    },
    "transport/stream.py": {
        "asyncio.timeout": "how long the operating system may take to connect",
        "loop.call_later": "how long to wait with the next connection when no descriptor is left",
    },
}


@pytest.mark.parametrize("path", sources("."), ids=relative)
def test_only_the_clock_reads_the_hosts_time(path: Path) -> None:
    found = set(host_time(ast.parse(path.read_text(encoding="utf-8"))))
    if relative(path) == "clock.py":
        assert "import time" in found
    else:
        assert found == HOST_TIME_ALLOWED.get(relative(path), {}).keys()


def test_every_exception_is_for_a_file_that_exists() -> None:
    assert HOST_TIME_ALLOWED.keys() <= {relative(path) for path in sources(".")}


@pytest.mark.parametrize(
    ("snippet", "name"),
    [
        ("import time", "import time"),
        ("from time import monotonic", "import time"),
        ("def f():\n  import time", "import time"),
        ("now = datetime.now(tz)", "datetime.now"),
        ("now = datetime.datetime.now(tz)", "datetime.datetime.now"),
        ("day = date.today()", "date.today"),
        ("async def f():\n  await asyncio.sleep(1)", "asyncio.sleep"),
        ("async def f():\n  await asyncio.sleep(delay)", "asyncio.sleep"),
        ("async def f():\n  await asyncio.sleep(delay=0.1)", "asyncio.sleep"),
        ("from asyncio import sleep", "from asyncio import sleep"),
        ("async def f():\n  async with asyncio.timeout(5): ...", "asyncio.timeout"),
        ("async def f():\n  await asyncio.wait_for(x, 5)", "asyncio.wait_for"),
        ("async def f():\n  await asyncio.wait(x, timeout=5)", "asyncio.wait"),
        ("now = loop.time()", "loop.time"),
        ("now = asyncio.get_running_loop().time()", "loop.time"),
        ("self._loop.call_later(5, f)", "loop.call_later"),
        ("threading.Timer(5, f)", "threading.Timer"),
    ],
)
def test_the_check_sees_every_way_to_host_time(snippet: str, name: str) -> None:
    assert list(host_time(ast.parse(snippet))) == [name]


@pytest.mark.parametrize(
    "snippet",
    [
        "async def f():\n  await asyncio.sleep(0)",
        "async def f():\n  await asyncio.wait(x)",
        "clock.call_at(5, f)",
        "now = clock.link_ms()",
        "moment = datetime.fromtimestamp(0, tz=UTC)",
        "import timeline",
    ],
)
def test_the_check_lets_our_own_time_pass(snippet: str) -> None:
    assert list(host_time(ast.parse(snippet))) == []
