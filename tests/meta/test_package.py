"""What is installed: the copy under test, its data, its entry points, and metadata that agrees with itself."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import telemetry

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_copy_under_test_is_the_one_that_was_meant() -> None:
    # `make test` runs the suite a second time on the built wheel; then the checkout must not be what is imported.
    assert telemetry.__file__ is not None
    package = Path(telemetry.__file__).resolve().parent
    if os.environ.get("TELEMETRY_EXPECT_INSTALLED"):
        assert Path(sys.prefix).resolve() in package.parents
        assert not (ROOT / "telemetry").exists()
    else:
        assert package == ROOT / "telemetry"


def test_the_version_is_the_same_everywhere() -> None:
    assert telemetry.__version__ == PROJECT["version"] == importlib.metadata.version("itb-telemetry")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[Unreleased\]", changelog, flags=re.MULTILINE)


def test_the_command_is_installed() -> None:
    [script] = importlib.metadata.entry_points(group="console_scripts", name="telemetry")
    assert script.value == "telemetry.cli:main"
    assert callable(script.load())


def test_the_simulator_is_reached_through_the_door_for_transports() -> None:
    [scheme] = importlib.metadata.entry_points(group="telemetry.transports", name="sim")
    assert scheme.value == "telemetry.sim.connector:connect"
    assert callable(scheme.load())


def test_pytest_finds_the_plug_in_for_the_tests_of_others() -> None:
    [plug_in] = importlib.metadata.entry_points(group="pytest11", name="telemetry")
    assert plug_in.value == "telemetry.testing.plugin"
    assert plug_in.load().__name__ == plug_in.value


def test_the_types_are_shipped() -> None:
    assert importlib.resources.files("telemetry").joinpath("py.typed").is_file()


@pytest.mark.parametrize("name", ["itb-20", "itb-40"])
def test_the_stock_profiles_are_shipped(name: str) -> None:
    profile = importlib.resources.files("telemetry").joinpath("sim", "profiles", f"{name}.toml")
    assert tomllib.loads(profile.read_text(encoding="utf-8"))


def locked(name: str) -> dict[str, str]:
    lock = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    return {
        canonicalize_name(package): version
        for package, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock, flags=re.MULTILINE)
    }


def out_of_step(requirements: list[str], lock: dict[str, str]) -> list[str]:
    return [
        text
        for text in requirements
        for wanted in [Requirement(text)]
        if canonicalize_name(wanted.name) != "itb-telemetry"
        and not (
            (version := lock.get(canonicalize_name(wanted.name)))
            and wanted.specifier.contains(version, prereleases=True)
        )
    ]


def test_the_locks_are_in_step_with_the_dependencies() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    extras = [requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra]
    assert out_of_step(PROJECT["dependencies"] + build, locked("run")) == []
    assert out_of_step(PROJECT["dependencies"] + build + extras, locked("dev")) == []


def test_a_lock_out_of_step_is_seen() -> None:
    assert out_of_step(["a>=1", "b>=2,<3", "c"], {"a": "1.0", "b": "3.0"}) == ["b>=2,<3", "c"]


def test_what_users_run_is_what_was_tested() -> None:
    dev = locked("dev")
    assert {name: version for name, version in locked("run").items() if dev.get(name) != version} == {}


def test_every_dependency_has_a_lower_and_an_upper_bound() -> None:
    extras = [requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra]
    unbound = [
        text
        for text in PROJECT["dependencies"] + extras
        for operators in [{specifier.operator for specifier in Requirement(text).specifier}]
        if not text.startswith("itb-telemetry[") and not ({">="} <= operators and operators & {"<", "<="})
    ]
    assert unbound == []


def test_every_dependency_is_explained() -> None:
    decision = (ROOT / "docs" / "decisions" / "0002-dependencies.md").read_text(encoding="utf-8")
    extras = [requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra]
    names = {Requirement(text).name for text in PROJECT["dependencies"] + extras} - {"itb-telemetry"}
    assert sorted(name for name in names if f"| {name} |" not in decision) == []
