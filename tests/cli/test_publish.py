"""``telemetry publish`` as people use it: what it prints, how it ends, what is on the broker then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import telemetry as package
from benchmarks.broker import Mosquitto, Subscriber
from telemetry import programmer
from telemetry.publish.schema_table import NAMES
from tests.publish.conftest import checked, once
from tests.support.brokers import program
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Done

pytestmark = pytest.mark.real

COMMAND = Path(sys.prefix) / "bin" / "telemetry"
PATIENCE_S = 60


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    program("mosquitto", "mosquitto")
    program("mosquitto_sub", "mosquitto-clients")
    with Mosquitto(tmp_path / "broker") as made:
        yield made


@pytest.fixture
def heard(broker: Mosquitto, tmp_path: Path) -> Iterator[Subscriber]:
    with Subscriber(broker.port, tmp_path / "heard") as made:
        yield made


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never came to be"
        time.sleep(0.02)


def bodies(heard: Subscriber) -> list[dict[str, Any]]:
    ours = [line["body"] for line in heard.received() if line["topic"].startswith("ward-7/")]
    return once(checked(json.dumps(body)) for body in ours)


def links(heard: Subscriber) -> list[str]:
    return [body["reason"] for body in bodies(heard) if body["schema"].endswith("/link")]


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_printed_and_nothing_else(telemetry: Callable[..., Done], name: str) -> None:
    done = telemetry("publish", "--schema", name)
    assert (done.status, done.err) == (0, "")
    assert done.json["$id"] == f"urn:itb-telemetry:publish:{name}:1"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--schema", "order"], "one of: identity, status"),
        (["sim:"], "--to is missing"),
        ([], "URL is missing"),
        (["sim:", "--to", "mqtt://127.0.0.1"], "names no site"),
        (["sim:", "--to", "mqtt://127.0.0.1/ward/#"], "place '#' cannot"),
        (["sim:", "--to", "mqtt://127.0.0.1/ward?colour=red"], "colour"),
        (["sim:", "--to", "mqtt://me:secret@127.0.0.1/ward"], "password"),
        (["sim:", "--to", "mqtts://127.0.0.1/ward?cafile=/nowhere"], "/nowhere"),
        (["sim:", "--to", "mqtt://127.0.0.1/ward", "--home-assistant", "--home-assistant-remove"], "only one"),
        (["sim:", "--to", "mqtt://127.0.0.1/ward", "--spool-messages", "3"], "100<=x<=1000000"),
        (["sim:", "--to", "mqtt://127.0.0.1/ward", "--spool", "/dev/null/x"], "cannot be used"),
        (["nowhere:", "--to", "mqtt://127.0.0.1/ward"], "nowhere"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(
    telemetry: Callable[..., Done], arguments: list[str], why: str
) -> None:
    done = telemetry("publish", *arguments)
    assert done.status == 2
    assert why in done.err
    assert "secret" not in done.err


def test_a_few_looks_are_delivered_and_told(
    telemetry: Callable[..., Done], broker: Mosquitto, heard: Subscriber, home: Path
) -> None:
    to = f"mqtt://127.0.0.1:{broker.port}/ward-7/bed-12"
    done = telemetry("publish", "sim:", "--to", to, "--polls", "2", "--interval", "1", "--json", "--home-assistant")
    assert (done.status, done.err) == (0, "")
    told = [json.loads(line) for line in done.out.splitlines()]
    assert all(one["simulated"] is True for one in told)
    assert (told[-1]["look"], told[-1]["waiting"], told[-1]["broker"]) == ("read", 0, "connected")
    until(lambda: links(heard)[-1:] == ["gateway_stopped"])
    topics = {line["topic"] for line in heard.received()}
    kinds = ("identity", "status", "alarms", "log", "link")
    assert topics == {f"ward-7/pump/bed-12/{kind}" for kind in kinds} | {
        "homeassistant/device/itb_ward-7-bed-12/config"
    }
    (folder,) = (home / ".local" / "state" / "itb-telemetry" / "publish").iterdir()
    assert folder.name.startswith("ward-7-")


def test_an_announcement_is_taken_back(telemetry: Callable[..., Done], broker: Mosquitto, tmp_path: Path) -> None:
    to = f"mqtt://127.0.0.1:{broker.port}/ward-7"
    assert telemetry("publish", "sim:", "--to", to, "--polls", "1", "--home-assistant", "--json").status == 0
    assert telemetry("publish", "sim:", "--to", to, "--home-assistant-remove").status == 0
    found = subprocess.run(
        [program("mosquitto_sub", "mosquitto-clients"), "-p", str(broker.port), "-t", "#", "-W", "1", "-F", "%t"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    ).stdout.split()
    assert any(topic.endswith("/status") for topic in found)
    assert not any(topic.startswith("homeassistant") for topic in found)


@pytest.mark.parametrize("option", [["--polls", "1"], ["--home-assistant-remove"]])
def test_a_pump_that_was_never_read_is_no_success(
    telemetry: Callable[..., Done], broker: Mosquitto, option: list[str]
) -> None:
    nowhere = f"tcp://127.0.0.1:{free_port()}"
    done = telemetry("publish", nowhere, "--to", f"mqtt://127.0.0.1:{broker.port}/ward-7", *option)
    assert done.status == 3
    assert "the pump was not read, so nothing was published" in done.err
    assert "nothing listens at 127.0.0.1" in done.err


def test_without_a_broker_it_waits_on_the_disk_and_the_next_start_delivers(
    telemetry: Callable[..., Done], tmp_path: Path
) -> None:
    program("mosquitto", "mosquitto")
    broker = Mosquitto(tmp_path / "broker")
    arguments = ("publish", "sim:?seed=7", "--to", f"mqtt://127.0.0.1:{broker.port}/ward-7", "--polls", "1")
    done = telemetry(*arguments)
    assert done.status == 3
    assert "nothing listens at" in done.err
    assert "wait in" in done.err
    with broker, Subscriber(broker.port, tmp_path / "heard") as heard:
        done = telemetry(*arguments)
        assert done.status == 0
        assert "of an earlier run wait in" in done.err
        assert "SIMULATED" in done.out
        until(lambda: "gateway_stopped" in links(heard))
        assert "log" in {body["schema"].rsplit("/", 1)[1] for body in bodies(heard)}


def test_bad_credentials_end_it_with_what_to_do(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("gateway:right\n")
    hashing = [program("mosquitto_passwd", "mosquitto"), "-U", str(tmp_path / "passwords")]
    subprocess.run(hashing, check=True, timeout=PATIENCE_S, capture_output=True)
    (tmp_path / "passwords").chmod(0o644)
    (tmp_path / "wrong").write_text("guessed\n")
    (tmp_path / "right").write_text("right\n")
    settings = f"allow_anonymous false\npassword_file {tmp_path / 'passwords'}"
    if os.geteuid() == 0:
        settings += "\nuser root"
    with Mosquitto(tmp_path / "broker", settings) as broker:
        to = f"mqtt://127.0.0.1:{broker.port}/ward-7?user=gateway&password-file={tmp_path}"
        done = telemetry("publish", "sim:", "--to", f"{to}/wrong")
        assert done.status == 3
        assert "the broker refused user 'gateway'" in done.err
        assert "guessed" not in done.err + done.out
        assert telemetry("publish", "sim:", "--to", f"{to}/right", "--polls", "1").status == 0


class Gateway:
    """A gateway in a process of its own."""

    def __init__(self, home: Path, *arguments: str) -> None:
        kept = {name: value for name, value in os.environ.items() if name.startswith("COV")}
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8", **kept}
        self.process = subprocess.Popen(
            [COMMAND, *arguments, "--json"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, errors


def test_killed_and_started_again_it_goes_on_where_it_was(broker: Mosquitto, heard: Subscriber, home: Path) -> None:
    served = Gateway(home, "sim", "--listen", "tcp://127.0.0.1:0")
    gateway: Gateway | None = None
    try:
        (url,) = served.line()["urls"]
        arguments = ("publish", url, "--to", f"mqtt://127.0.0.1:{broker.port}/ward-7", "--interval", "1")
        gateway = Gateway(home, *arguments)
        until(lambda: "read" in links(heard))
        second = Gateway(home, *arguments)
        assert "another gateway holds it" in second.process.communicate(timeout=PATIENCE_S)[1]
        assert second.process.returncode == 2
        gateway.end(signal.SIGKILL)
        until(lambda: links(heard)[-1] == "gateway_lost")
        with package.connect_sync(url, journal=home / "journal") as clinician:
            clinician.stop()
            clinician.resume(accept=("starts_delivery",))
            clinician.stop()
        gateway = Gateway(home, *arguments)
        until(lambda: links(heard)[-1] == "read")
        status, errors = gateway.end(signal.SIGINT)
        assert (status, errors) == (0, "")
        until(lambda: links(heard)[-1] == "gateway_stopped")
        logs = [body for body in bodies(heard) if body["schema"].endswith("/log")]
        numbers = [body["log_sequence"] for body in logs]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert [body["code"] for body in logs].count("stopped") == 2
        alarms = [body for body in bodies(heard) if body["schema"].endswith("/alarm")]
        assert [(body["alarm"]["kind"], body["change"]) for body in alarms] == [("therapy_stopped", "raised")]
        events = [body["event_sequence"] for body in bodies(heard) if "event_sequence" in body]
        assert events == list(range(1, len(events) + 1))
    finally:
        for one in (served, gateway):
            if one is not None and one.process.poll() is None:
                one.end(signal.SIGINT)


def test_a_port_that_nobody_has_is_told_as_it_goes_on(telemetry: Callable[..., Done], home: Path) -> None:
    gateway = Gateway(home, "publish", "sim:", "--to", f"mqtt://127.0.0.1:{free_port()}/ward-7", "--interval", "1")
    while not (told := gateway.line())["broker_problem"]:
        pass
    assert told["broker"] == "away"
    status, errors = gateway.end(signal.SIGTERM)
    assert status == 0
    assert "the next start delivers them" in " ".join(errors.split())


def test_it_comes_as_an_observer_and_with_nothing_else(
    telemetry: Callable[..., Done], broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    real = programmer.connect

    def watched(url: str, **options: Any) -> Any:  # noqa: ANN401 - as the real one
        asked.append(options)
        return real(url, **options)

    monkeypatch.setattr(programmer, "connect", watched)
    assert telemetry("publish", "sim:", "--to", f"mqtt://127.0.0.1:{broker.port}/w", "--polls", "1").status == 0
    (options,) = asked
    assert options["role"] == "observer"
    assert set(options) == {"clock", "role"}
