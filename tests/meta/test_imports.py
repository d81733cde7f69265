"""What importing costs and loads, and which names are public."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import telemetry
import telemetry.protocol

assert telemetry.__file__ is not None
PACKAGE = Path(telemetry.__file__).parent

# What a user of the units or of the pump alone should not pay for. asyncio is not heavy, but a model needs no loop.
HEAVY = {
    "aiomqtt",
    "asyncio",
    "bleak",
    "bumble",
    "click",
    "construct",
    "cryptography",
    "httpx",
    "msgspec",
    "rich",
    "serial",
    "starlette",
    "uvicorn",
}
IMPORT_BUDGET_MS = 60


def in_fresh_python(code: str) -> str:
    # Without the coverage hook, which would load modules of its own and slow the import down.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True, env=environment, timeout=20
    )
    return done.stdout


def loaded_by(statement: str) -> set[str]:
    code = (
        f"import json, sys; before = set(sys.modules); {statement}; print(json.dumps(list(set(sys.modules) - before)))"
    )
    return set(json.loads(in_fresh_python(code)))


@pytest.mark.real
def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_by("import telemetry")
    assert "telemetry" in loaded
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()


@pytest.mark.real
@pytest.mark.parametrize("module", ["units", "errors", "model", "clock"])
def test_the_foundations_load_nothing_heavy(module: str) -> None:
    loaded = loaded_by(f"import telemetry.{module}")
    assert f"telemetry.{module}" in loaded
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()


@pytest.mark.real
def test_importing_the_package_is_quick() -> None:
    code = "import time; start = time.perf_counter(); import telemetry; print(time.perf_counter() - start)"
    best_ms = min(float(in_fresh_python(code)) for _ in range(5)) * 1000
    assert best_ms < IMPORT_BUDGET_MS


# The contract with users (docs: interfaces). A name is added here in the commit that adds it to the package; one that
# goes away needs an entry under "Removed" in CHANGELOG.md.
PUBLIC = (Path(__file__).parent / "public_names.txt").read_text(encoding="utf-8").split()
PROMISED = {
    "Change",
    "Concentration",
    "DailyDose",
    "Dose",
    "FlowRate",
    "GroundTruth",
    "HourlyDose",
    "LinkError",
    "ManualClock",
    "OutcomeUnknown",
    "Programmer",
    "PumpEvent",
    "PumpStatus",
    "Refused",
    "SystemClock",
    "TelemetryError",
    "Therapy",
    "UsageError",
    "VirtualPump",
    "Volume",
    "__version__",
    "connect",
    "connect_sync",
}
PROMISED_OF_PROTOCOL = {
    "AlarmReport",
    "ReadAlarms",
    "ReadStatus",
    "SetRate",
    "Status",
    "StreamDecoder",
    "decode",
    "encode",
}


def test_the_public_names_are_the_recorded_ones() -> None:
    assert sorted(telemetry.__all__) == PUBLIC
    assert set(PUBLIC) >= PROMISED


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(telemetry, name) is not None
    assert name in dir(telemetry)


@pytest.mark.parametrize("name", sorted(PROMISED_OF_PROTOCOL))
def test_the_protocol_is_usable_on_its_own(name: str) -> None:
    assert name in telemetry.protocol.__all__
    assert getattr(telemetry.protocol, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        telemetry.no_such_name  # noqa: B018 - the access is the test


def imports_from_the_root(tree: ast.AST) -> list[int]:
    """Lines that import the root package itself, rather than one of its modules."""
    modules = {path.stem for path in PACKAGE.iterdir()} - {"__init__"}
    return [
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(name.name == "telemetry" for name in node.names))
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "telemetry"
            and any(name.name not in modules for name in node.names)
        )
    ]


# The command line stands above everything, so there is nothing that it could reach only through the root.
BELOW_THE_ROOF = [path for path in sorted(PACKAGE.rglob("*.py")) if PACKAGE / "cli" not in path.parents]


@pytest.mark.parametrize("path", BELOW_THE_ROOF, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_imports_from_the_root(path: Path) -> None:
    # The root re-exports every floor of the house; an import through it would escape the import contracts.
    assert imports_from_the_root(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("statement", "lines"),
    [
        ("import telemetry", [1]),
        ("from telemetry import VirtualPump", [1]),
        ("from telemetry import units, VirtualPump", [1]),
        ("from telemetry import units", []),
        ("import telemetry.units", []),
        ("from telemetry.units import Volume", []),
    ],
)
def test_the_check_sees_an_import_through_the_root(statement: str, lines: list[int]) -> None:
    assert imports_from_the_root(ast.parse(statement)) == lines
