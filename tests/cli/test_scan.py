"""``telemetry scan``, and what doctor says of Bluetooth, against a radio that is played."""

from __future__ import annotations

import importlib.util
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from bleak import exc

from telemetry.cli import examining
from telemetry.transport.ble import use_backend
from tests.support.fake_bleak import FakeRadio, Telemeter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Done


@pytest.fixture
def radio() -> Iterator[FakeRadio]:
    made = FakeRadio()
    with use_backend(scanner=made.scanner()):
        yield made


def populate(radio: FakeRadio) -> None:
    radio.telemeters += [
        Telemeter(),
        Telemeter(address="AA:BB:CC:DD:EE:02", name="[b]PUMP", version=2),
        Telemeter(address="AA:BB:CC:DD:EE:03", name="Kettle", version=None),
    ]


def test_a_table_of_what_is_in_range(radio: FakeRadio, telemetry: Callable[..., Done]) -> None:
    populate(radio)
    done = telemetry("scan", "--timeout", "0.1")
    assert done.status == 0
    line = next(line for line in done.out.splitlines() if "SIM-0001" in line)
    assert "SIMULATED" in line
    assert "AA:BB:CC:DD:EE:01" in line
    assert "-50 dBm" in line
    assert "version 1" in line
    stranger = next(line for line in done.out.splitlines() if "[b]PUMP" in line)
    assert "SIMULATED" not in stranger
    assert "version 2" in stranger
    assert "Kettle" not in done.out
    assert "Other Bluetooth devices in range: 1" in done.err
    assert max(len(line) for line in done.out.splitlines()) <= 80


def test_the_table_follows_on_a_terminal(
    radio: FakeRadio, telemetry: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    populate(radio)
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = telemetry("scan", "--timeout", "0.1")
    assert done.status == 0
    assert "SIM-0001" in done.out
    assert "Telemeters in Bluetooth range" in done.out


def test_as_json(radio: FakeRadio, telemetry: Callable[..., Done]) -> None:
    populate(radio)
    done = telemetry("scan", "--timeout", "0.1", "--json")
    assert done.json == {
        "telemeters": [
            {
                "address": "AA:BB:CC:DD:EE:01",
                "name": "SIM-0001",
                "rssi_dbm": -50,
                "service_version": 1,
                "simulated": True,
            },
            {
                "address": "AA:BB:CC:DD:EE:02",
                "name": "[b]PUMP",
                "rssi_dbm": -50,
                "service_version": 2,
                "simulated": False,
            },
        ],
        "other_devices": 1,
    }


def test_nothing_in_range_is_said_and_no_failure(radio: FakeRadio, telemetry: Callable[..., Done]) -> None:
    done = telemetry("scan", "--timeout", "0.1")
    assert done.status == 0
    assert done.out == ""
    assert "No telemeter within 0.1 s (other devices: 0)" in done.err


def test_without_bluetooth_the_status_is_3_and_the_cure_is_named(
    radio: FakeRadio, telemetry: Callable[..., Done]
) -> None:
    radio.start_error = exc.BleakBluetoothNotAvailableError("off", exc.BleakBluetoothNotAvailableReason.POWERED_OFF)
    said = telemetry("scan", "--adapter", "hci0")
    done = telemetry("scan", "--adapter", "hci0", "--json")
    assert said.status == done.status == 3
    assert "bluetoothctl power on" in said.err
    assert done.json["error"]["kind"] == "link"


@pytest.mark.parametrize("seconds", ["0", "601", "soon"])
def test_a_time_that_cannot_be_is_refused(telemetry: Callable[..., Done], seconds: str) -> None:
    assert telemetry("scan", "--timeout", seconds).status == 2


def verdict(what: str) -> examining.Check:
    return next(check for check in examining.examine() if what in check.what)


def test_doctor_tries_a_scan(home: Path, radio: FakeRadio) -> None:
    assert verdict("as central").verdict == "ok"
    radio.start_error = exc.BleakBluetoothNotAvailableError("none", exc.BleakBluetoothNotAvailableReason.NO_BLUETOOTH)
    check = verdict("as central")
    assert check.verdict == "warn"
    assert "adapter" in check.fix


def test_doctor_tries_a_controller(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[int, ...]] = []

    class RawSocket:
        def __init__(self, *arguments: int) -> None:
            opened.append(arguments)

        def close(self) -> None:
            opened.append(())

    for name, value in (("AF_BLUETOOTH", 31), ("BTPROTO_HCI", 1)):  # a Python built without Bluetooth has neither
        monkeypatch.setattr(socket, name, value, raising=False)
    monkeypatch.setattr(socket, "socket", RawSocket)
    monkeypatch.setattr(os, "access", lambda *_arguments: True)
    check = examining._bluetooth_peripheral()
    assert check.verdict == "ok"
    assert "ble+hci-socket" in check.found
    assert "ble+vhci" in check.found
    assert opened == [(31, socket.SOCK_RAW, 1), ()]


def test_doctor_says_what_to_do_without_a_controller(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_arguments: object) -> NoReturn:
        raise OSError(97, "Address family not supported")

    monkeypatch.setattr(socket, "socket", none)
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    monkeypatch.setattr(examining, "_USB_CLASSES", Path("/nowhere"))
    check = examining._bluetooth_peripheral()
    assert check.verdict == "warn"
    assert "USB dongle" in check.fix


def test_doctor_counts_usb_controllers(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, kind in (("1-1:1.0", "e0"), ("1-2:1.0", "03")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bInterfaceClass").write_text(f"{kind}\n", encoding="ascii")
    monkeypatch.setattr(examining, "_USB_CLASSES", tmp_path)
    assert "ble+usb (1 USB" in examining._bluetooth_peripheral().found


def test_doctor_leaves_it_out_without_the_extra(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert not [check for check in examining.examine() if "Bluetooth" in check.what]
