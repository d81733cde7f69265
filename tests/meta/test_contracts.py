"""The import contracts bite: each rule of the house is broken once, in a model of it, and its contract says so."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PYPROJECT = Path(__file__).resolve().parent.parent.parent / "pyproject.toml"
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"

# A module on every floor, with the imports that the contracts make room for.
HOUSE = {
    "__init__": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  from telemetry.sim.pump import battery\n",
    "__main__": "from telemetry.cli import main\n",
    "alarm_table/__init__": "import telemetry.model\n",
    "cli/__init__": "import telemetry.programmer, telemetry.sim.endpoint\nmain = None\n",
    "clock": "import asyncio, time\nimport telemetry.units\n",
    "conform/__init__": "import telemetry.flow, telemetry.publish, telemetry.programmer, telemetry.sim.endpoint\n",
    "conform/paper/__init__": "",
    "conform/paper/pages": "import jinja2, matplotlib, reportlab\n",
    "errors": "",
    "flow/__init__": "import telemetry.scenario, telemetry.report, telemetry.sim.endpoint\n",
    "flow/picture": "import numpy, matplotlib\n",
    "hospital/__init__": "import telemetry.interrogation\n",
    "hospital/provider": "import sdc11073, fhir, lxml\n",
    "interrogation": "import telemetry.model, telemetry.therapy\n",
    "link": "import telemetry.clock, telemetry.protocol.codec, telemetry.transport.memory\n",
    "log_meaning": "import telemetry.model\n",
    "model": "import telemetry.units\n",
    "programmer/__init__": "import telemetry.link\n",
    "protocol/__init__": "",
    "protocol/codec": "import telemetry.model, telemetry.protocol.layouts\n",
    "protocol/layouts": "import construct\n",
    "protocol/primitives": "from cryptography.hazmat.primitives import hashes\n",
    "publish/__init__": "import telemetry.interrogation, telemetry.transport.broker\n",
    "report/__init__": "import telemetry.sim.endpoint\n",
    "scenario/__init__": "import telemetry.report, telemetry.programmer, telemetry.sim.endpoint\n",
    "sim/__init__": "",
    "sim/endpoint": "import telemetry.link, telemetry.sim.pump.battery\n",
    "sim/pump/__init__": "",
    "sim/pump/battery": "import telemetry.model, telemetry.units\n",
    "sounds/__init__": "import telemetry.alarm_table\n",
    "sounds/numbers": "import numpy, scipy\n",
    "testing/__init__": "",
    "testing/plugin": "import pytest\nimport telemetry.programmer, telemetry.sim.endpoint\n",
    "therapy": "import telemetry.model, telemetry.units\n",
    "transport/__init__": "",
    "transport/ble": "import bleak, bumble.hci\n",
    "transport/broker": "import aiomqtt, amqtt\n",
    "transport/memory": "import asyncio\nimport telemetry.clock, telemetry.errors\n",
    "traffic/__init__": "import telemetry.link\n",
    "transport/serialport": "import serial\n",
    "units": "import dataclasses\nimport telemetry.errors\n",
}


def broken_contracts(place: Path, module: str = "", line: str = "") -> list[str]:
    """Build the house, add one import to it, and name the contracts that it breaks."""
    for name, text in HOUSE.items():
        path = place / "telemetry" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if module:
        path = place / "telemetry" / f"{module}.py"
        path.write_text(f"{HOUSE.get(module, '')}{line}\n", encoding="utf-8")
    shutil.copy(PYPROJECT, place)
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo"],
        cwd=place,
        env={"PYTHONPATH": str(place), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert re.search(r"Contracts: \d+ kept, \d+ broken\.", done.stdout), done.stdout + done.stderr
    return [name.strip() for name in re.findall(r"^(.+?) BROKEN", done.stdout, flags=re.MULTILINE)]


HOUSE_RULE = "The house: every floor imports downwards only, siblings never import each other"
PURE = "The protocol and the pump do no I/O, read no clock and draw no randomness"
WIRE_BLIND = "The pump never sees the wire, and nothing else of the simulator"
BLIND_TRANSPORTS = "Transports know no frames and no pump: errors, clock and units only"
FOUNDATIONS = "units and errors need nothing but the standard library"
VIEWS = "What shows a pump to others gets readings and holds no driver: it cannot command"
PEOPLES_FILES = "ruamel.yaml and jsonschema live where files of people are read and published schemas are held"
NUMBERS = "numpy, scipy and matplotlib live where floats are allowed: sounds, reports, the patient and mixing read-outs"
VOCABULARY = "The shared vocabulary and the clock know nothing of the layers that use them"


@pytest.mark.real
def test_the_house_as_it_should_be_is_kept(tmp_path: Path) -> None:
    assert broken_contracts(tmp_path) == []


@pytest.mark.real
@pytest.mark.parametrize(
    ("module", "line", "broken"),
    # An import breaks every contract on whose way it lies: transports use the clock, so what it loads, they load.
    [
        ("programmer/__init__", "import telemetry.sim.endpoint", {HOUSE_RULE}),
        ("sim/endpoint", "import telemetry.programmer", {HOUSE_RULE}),
        ("link", "import telemetry.programmer", {HOUSE_RULE}),
        ("clock", "import telemetry.model", {HOUSE_RULE, BLIND_TRANSPORTS}),
        ("model", "import telemetry.protocol.codec", {HOUSE_RULE, VOCABULARY, WIRE_BLIND, VIEWS}),
        ("transport/memory", "import telemetry.protocol.codec", {HOUSE_RULE, BLIND_TRANSPORTS}),
        ("transport/memory", "import telemetry.model", {BLIND_TRANSPORTS}),
        ("protocol/codec", "import telemetry.transport.memory", {HOUSE_RULE, PURE}),
        ("protocol/codec", "import telemetry.clock", {PURE}),
        ("protocol/codec", "import time", {PURE}),
        ("protocol/codec", "from random import random", {PURE}),
        ("sim/pump/battery", "import asyncio", {PURE}),
        ("sim/pump/battery", "def f():\n  import socket", {PURE}),
        ("sim/pump/battery", "import telemetry.sim.endpoint", {WIRE_BLIND, PURE}),
        ("sim/pump/battery", "import telemetry.protocol.codec", {WIRE_BLIND}),
        ("units", "import msgspec", {FOUNDATIONS}),
        ("errors", "import telemetry.units", {HOUSE_RULE}),
        ("units", "import telemetry.model", {HOUSE_RULE, FOUNDATIONS, BLIND_TRANSPORTS}),
        ("protocol/codec", "import construct", {"construct has one home: the wire layouts"}),
        (
            "programmer/__init__",
            "from cryptography import hazmat",
            {"cryptography has one home: the primitives of the secure channel"},
        ),
        ("cli/__init__", "import serial.tools", {"pyserial has one home: the serial ports, here and over the network"}),
        ("sim/endpoint", "import bleak", {"bleak, bumble, aiomqtt and amqtt live in the transports"}),
        ("cli/__init__", "import telemetry.testing", {HOUSE_RULE}),
        ("programmer/__init__", "import pytest", {"pytest has one home: the plug-in for the tests of others"}),
        ("report/__init__", "import telemetry.scenario", {HOUSE_RULE}),
        ("sim/endpoint", "import telemetry.report", {HOUSE_RULE}),
        ("programmer/__init__", "import telemetry.scenario", {HOUSE_RULE}),
        ("sounds/numbers", "import telemetry.protocol.codec", {HOUSE_RULE}),
        ("alarm_table/__init__", "import telemetry.sounds", {HOUSE_RULE}),
        ("programmer/__init__", "import numpy", {NUMBERS}),
        ("sounds/__init__", "import scipy.signal", {NUMBERS}),
        ("sounds/numbers", "import matplotlib", {NUMBERS}),
        ("cli/__init__", "import reportlab", {"jinja2 and reportlab have one home: what is printed"}),
        ("sim/endpoint", "import jsonschema", {PEOPLES_FILES}),
        ("publish/__init__", "import telemetry.programmer", {HOUSE_RULE, VIEWS}),
        ("publish/__init__", "import telemetry.protocol.codec", {VIEWS}),
        ("hospital/__init__", "import telemetry.sim.endpoint", {HOUSE_RULE, VIEWS}),
        ("hospital/__init__", "import telemetry.publish", {HOUSE_RULE}),
        ("publish/__init__", "import aiomqtt", {"bleak, bumble, aiomqtt and amqtt live in the transports"}),
        ("publish/__init__", "import sdc11073", {"sdc11073 and fhir.resources have one home: the hospital views"}),
        ("traffic/__init__", "import telemetry.sim.endpoint", {HOUSE_RULE}),
        ("flow/__init__", "import telemetry.conform", {HOUSE_RULE}),
        ("interrogation", "import telemetry.protocol.codec", {HOUSE_RULE, VOCABULARY, VIEWS}),
        ("conform/__init__", "import reportlab", {"jinja2 and reportlab have one home: what is printed"}),
        ("attic", "", {HOUSE_RULE}),
    ],
)
def test_a_broken_rule_is_named(tmp_path: Path, module: str, line: str, broken: set[str]) -> None:
    assert set(broken_contracts(tmp_path, module, line)) == broken
