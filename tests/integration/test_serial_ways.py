"""A simulator in a process of its own at serial ports: over the network, slowed down, unplugged and back again."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import COMMAND, PATIENCE_S

if TYPE_CHECKING:
    from tests.integration.conftest import Place

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


def test_a_pump_behind_a_slow_serial_port_server(place: Place) -> None:
    served = place.serve("--listen", "rfc2217://127.0.0.1:0?baud=38400", "--seed", "7")
    (url,) = served.urls
    assert url.startswith("serial+rfc2217://127.0.0.1:")
    change = place.json("set-rate", f"{url}?baudrate=38400", "0.200 ml/day", "--yes")
    assert change["outcome"] == "applied"
    assert place.json("read", f"{url}?baudrate=38400")["rate_nl_per_day"] == 200_000
    assert served.end() == 0
    assert served.errors == ""


def test_watch_goes_on_when_a_serial_port_comes_back(place: Place) -> None:
    name = place.home / "usb-ITB_Telemeter_SIM-T-0001-if00-port0"
    served = place.serve("--listen", f"pty://{name}")
    watching = subprocess.Popen(
        [COMMAND, "watch", f"serial://{name}", "--interval", "1", "--json"],
        env=place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["link"] == "up"
        assert served.end() == 0
        assert not name.is_symlink()
        lines = (json.loads(line) for line in watching.stdout)
        lost = next(line for line in lines if line["link"] == "lost" and "no such port" in line["problem"])
        assert "is the cable plugged in" in lost["problem"]
        place.serve("--listen", f"pty://{name}")
        assert next(line for line in lines if line["link"] == "up")["simulated"] is True
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=PATIENCE_S)
        assert (watching.returncode, errors) == (0, "")
    finally:
        watching.kill()
        watching.communicate(timeout=PATIENCE_S)
