"""The third party's project in examples/ is green against the package that is installed here: checkout or wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import telemetry

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "examples" / "downstream"
LEAST_TESTS = 20


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_the_downstream_project_is_green(tmp_path: Path, workers: tuple[str, ...]) -> None:
    assert telemetry.__file__ is not None
    # Away from the checkout, with nothing on the path but its own sources and the package under test.
    place = tmp_path / "project"
    shutil.copytree(EXAMPLE, place, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    package = Path(telemetry.__file__).resolve().parent.parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml=junit.xml", *workers],
        cwd=place,
        env=environment | {"PYTHONPATH": os.pathsep.join([str(place / "src"), str(package)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    suite = ET.parse(place / "junit.xml").getroot()[0]  # noqa: S314 - written a moment ago by our own child
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    assert counts["tests"] >= LEAST_TESTS
    assert (counts["failures"], counts["errors"], counts["skipped"]) == (0, 0, 0)


def test_the_example_knows_only_what_is_public() -> None:
    imported = {
        line.split()[1]
        for path in EXAMPLE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith(("from telemetry", "import telemetry"))
        for line in [line.strip()]
    }
    assert imported == {"telemetry", "telemetry.testing"}
