"""The public face of the protocol package: names, laziness, immutability."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys

import pytest

import telemetry.protocol
from telemetry.protocol import messages
from telemetry.protocol.wire import IMAGES, MESSAGES

RECORDS = {"AlarmRecord", "LogEntry", "ListedConcentration"} | {
    "".join(part.capitalize() for part in name.split("_")) for name in IMAGES
}


def test_every_message_is_a_public_name() -> None:
    public = set(telemetry.protocol.__all__)
    assert {spec.name for spec in MESSAGES} | RECORDS <= public
    assert len(telemetry.protocol.__all__) == len(public)
    assert set(dir(telemetry.protocol)) == public


@pytest.mark.parametrize("name", telemetry.protocol.__all__)
def test_public_names_are_what_they_say(name: str) -> None:
    fresh = importlib.reload(telemetry.protocol)
    found = getattr(fresh, name)
    assert found.__name__ == name
    assert getattr(fresh, name) is found


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'telemetry.protocol' has no attribute 'Nonsense'"):
        _ = telemetry.protocol.Nonsense


def test_importing_the_package_loads_nothing() -> None:
    code = (
        "import sys, telemetry.protocol\n"
        "assert not {'telemetry.protocol.wire', 'telemetry.protocol.codec', 'cobs', 'construct'} & set(sys.modules)\n"
        "from telemetry.protocol import ReadStatus\n"
        "assert 'cobs' not in sys.modules and 'construct' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_messages_cannot_be_changed() -> None:
    message = messages.Verify(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.part = 2  # type: ignore[misc]
    assert not hasattr(message, "__dict__")


def test_messages_of_the_module_are_those_of_the_table() -> None:
    found = {kind.__name__ for kind in messages.Message.__subclasses__()}
    assert {spec.name for spec in MESSAGES} <= found
    assert {name for name in found if hasattr(messages, name)} == {spec.name for spec in MESSAGES}
