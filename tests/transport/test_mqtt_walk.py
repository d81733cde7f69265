"""The walk of docs/mqtt-tunnel.md as a person does it: a broker, a pump and a programmer, each a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import COMMAND, PATIENCE_S, Place
from tests.support.documented import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

PAGE = Path(__file__).parent.parent.parent / "docs" / "mqtt-tunnel.md"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for served in made.served:
        if served.process.poll() is None:
            served.process.kill()
        served.process.communicate(timeout=PATIENCE_S)


def start_broker(place: Place, *arguments: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    process = subprocess.Popen(
        [COMMAND, "broker", "--json", *arguments],
        env=place.environment,
        cwd=place.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, errors


def test_the_walk_of_the_page(place: Place) -> None:
    (walk,) = [block for block in blocks(PAGE) if "test_mqtt_walk.py" in block.why_not]
    broker_step, sim, read, set_rate = (step.command.split("#")[0].split() for step in walk.steps())
    assert broker_step == ["telemetry", "broker"]
    broker, hello = start_broker(place, "--listen", "mqtt://127.0.0.1:0")
    try:
        documented = "mqtt://127.0.0.1:1883"
        assert hello["url"].startswith("mqtt://127.0.0.1:")
        assert hello["bench_tool"] is True
        served = place.serve(*(word.replace(documented, hello["url"]) for word in sim[2:]))
        (url,) = served.urls
        assert place.json("read", url)["rate_nl_per_day"] == 170_000
        assert read[:2] == ["telemetry", "read"]
        assert read[2].replace(documented, hello["url"]) == url
        change = place.json("set-rate", url, " ".join(set_rate[3:]).strip('"'), "--yes")
        assert change["outcome"] == "applied"
        assert place.json("read", url)["rate_nl_per_day"] == 200_000
        assert end(broker)[0] == 0
        lost = place.run("read", url, check=False)
        assert lost.returncode == 3
        assert "nothing listens at 127.0.0.1" in lost.stderr
        assert served.end() == 0
        assert "the broker is looked for again" in served.errors
    finally:
        if broker.poll() is None:
            broker.kill()
        broker.communicate(timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("listen", "complaint"),
    [
        ("tcp://127.0.0.1:1", "reached by mqtt://"),
        ("mqtt://0.0.0.0:0", "listen on 127.0.0.1, or say public=yes"),
        ("mqtt://127.0.0.1:0/site", "has no topic of its own; leave /site out"),
        ("mqtt://127.0.0.1:0?user=me", "no parameter 'user'"),
        ("mqtt://127.0.0.1:99999", "port '99999'"),
    ],
)
def test_where_a_broker_cannot_listen_is_said(place: Place, listen: str, complaint: str) -> None:
    done = place.run("broker", "--listen", listen, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_a_taken_port_is_said_with_what_to_do(place: Place) -> None:
    broker, hello = start_broker(place, "--listen", "mqtt://127.0.0.1:0")
    try:
        done = place.run("broker", "--listen", hello["url"], check=False)
        assert done.returncode == 3
        assert "cannot listen there" in done.stderr
        assert "or 0 to let the system choose" in done.stderr
    finally:
        assert end(broker) == (0, "Ctrl-C ends it\n")
