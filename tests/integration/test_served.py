"""A simulator in a process of its own: over every link, through Ctrl-C, through kill -9, and again from its state."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import COMMAND, PATIENCE_S, Place

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

TCP = "tcp://127.0.0.1:0"


def runtime_files(place: Place) -> list[Path]:
    return list((place.home / ".local" / "state" / "itb-telemetry" / "run").glob("*"))


def test_one_pump_over_terminal_and_tcp(place: Place) -> None:
    link = place.home / "pump"
    served = place.serve("--listen", f"pty://{link}", "--listen", TCP, "--seed", "7")
    over_terminal, over_tcp = served.urls
    assert over_terminal == f"serial://{link}"
    change = place.json("set-rate", over_terminal, "0.200 ml/day", "--yes")
    assert change["outcome"] == "applied"
    assert place.json("read", over_tcp)["rate_nl_per_day"] == 200_000
    (file,) = runtime_files(place)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    happened = place.json("control", "advance", "--days", "190")
    assert [event["detail"] for event in happened["events"]] == ["low_reservoir"]
    assert happened["alarms"] == ["low_reservoir"]
    (alarm,) = place.json("read", over_terminal, "alarms")["alarms"]
    assert alarm["kind"] == "low_reservoir"
    truth = place.json("control", over_tcp, "inspect")
    assert truth["ledger"]["balance_nl"] == 0
    watched = place.run("watch", over_tcp, "--polls", "1", "--json").stdout
    assert json.loads(watched)["alarms"] == ["low_reservoir"]
    assert served.end() == 0
    assert served.errors == ""
    kinds = [json.loads(line)["kind"] for line in served.rest.splitlines()]
    assert "alarm_raised" in kinds
    assert not link.is_symlink()
    assert runtime_files(place) == []
    port = int(over_tcp.rpartition(":")[2])
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_polite_signal_ends_it_with_nothing_left(place: Place, number: int) -> None:
    served = place.serve("--listen", TCP, "--state", "pump.json")
    assert served.end(number) == 0
    assert served.errors == ""
    assert runtime_files(place) == []
    assert (place.home / "pump.json").exists()


def test_a_taken_port_is_one_line_with_what_to_type_instead(place: Place) -> None:
    served = place.serve("--listen", TCP)
    done = place.run("sim", "--listen", "pty:", "--listen", served.urls[0], check=False)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "type instead: telemetry sim --listen pty: --listen tcp://127.0.0.1:0" in done.stderr


def test_which_simulator_is_meant_must_be_clear(place: Place) -> None:
    none = place.run("control", "inspect", check=False)
    assert none.returncode == 2
    assert "telemetry sim" in none.stderr
    first, second = place.serve("--listen", TCP), place.serve("--listen", TCP)
    several = place.run("control", "inspect", check=False)
    assert several.returncode == 2
    for served in (first, second):
        assert served.hello["control_url"] in several.stderr
        assert place.json("control", served.urls[0], "inspect")["pid"] == served.process.pid
        assert place.json("control", served.hello["control_url"], "inspect")["pid"] == served.process.pid
    first.end(signal.SIGKILL)
    assert place.json("control", "inspect")["pid"] == second.process.pid  # the dead one's file does not count
    assert len(runtime_files(place)) == 1
    wrong = place.run("control", first.urls[0], "inspect", check=False)
    assert wrong.returncode == 2
    assert second.hello["control_url"] in wrong.stderr


def test_a_simulator_without_a_back_door_says_so(place: Place) -> None:
    place.serve("--listen", TCP, "--control", "none")
    done = place.run("control", "inspect", check=False)
    assert done.returncode == 2
    assert "--control none" in done.stderr


def test_the_back_door_of_another_user_needs_its_token(place: Place) -> None:
    served = place.serve("--listen", TCP)
    (file,) = runtime_files(place)
    token = json.loads(file.read_text(encoding="utf-8"))["token"]
    elsewhere = Place(place.home / "other")
    elsewhere.home.mkdir()
    door = served.hello["control_url"]
    done = elsewhere.run("control", door, "inspect", check=False)
    assert done.returncode == 2
    assert "TELEMETRY_CONTROL_TOKEN" in done.stderr
    for given, status in (("wrong", 1), (token, 0)):
        environment = {**elsewhere.environment, "TELEMETRY_CONTROL_TOKEN": given}
        asked = subprocess.run(
            [COMMAND, "control", door, "inspect", "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert asked.returncode == status


def test_contact_and_snapshot_by_the_back_door(place: Place) -> None:
    served = place.serve("--listen", TCP)
    assert place.json("control", "contact", "0")["contact"] is False
    lifted = place.run("read", served.urls[0], check=False)
    assert lifted.returncode == 3
    assert "place it on the skin" in lifted.stderr
    assert "lies over the pump" in place.run("control", "contact", "4").stdout
    assert place.json("read", served.urls[0], "telemeter")["coupling_bars"] == 4
    place.run("control", "snapshot", "kept.json")
    kept = place.home / "kept.json"
    assert json.loads(kept.read_text(encoding="utf-8"))["format"]
    again = place.run("control", "snapshot", "kept.json", check=False)
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_it_goes_on_after_kill_9_with_every_verdict_kept(place: Place) -> None:
    served = place.serve("--listen", TCP, "--state", "pump.json")
    change = place.json("set-rate", served.urls[0], "0.200 ml/day", "--yes")
    place.json("control", "advance", "--days", "10")
    served.end(signal.SIGKILL)
    served = place.serve("--listen", TCP, "--state", "pump.json")
    assert served.hello["resumed"] is True
    status = place.json("read", served.urls[0])
    assert status["rate_nl_per_day"] == 200_000
    assert status["now_ms"] >= 10 * 86_400_000
    assert status["program_sequence"] == 2
    codes = [record["code"] for record in place.json("read", served.urls[0], "log")["records"]]
    assert codes.count("program_committed") >= 1
    assert change["outcome"] == "applied"
    assert served.end() == 0


def test_watch_survives_a_lost_link_and_ctrl_c(place: Place) -> None:
    served = place.serve("--listen", TCP)
    url = served.urls[0]
    watching = subprocess.Popen(
        [COMMAND, "watch", url, "--interval", "1", "--json"],
        env=place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["link"] == "up"
    assert served.end() == 0
    lines = (json.loads(line) for line in watching.stdout)
    assert next(line for line in lines if line["link"] == "lost")["problem"]
    place.serve("--listen", url)
    assert next(line for line in lines if line["link"] == "up")["simulated"] is True
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=PATIENCE_S)
    assert (watching.returncode, errors) == (0, "")


def test_the_panel_can_be_pasted_from(place: Place) -> None:
    process = subprocess.Popen(
        [COMMAND, "sim", "--listen", TCP],
        env=place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    shown: list[str] = []
    while not shown or "Ctrl-C ends it" not in shown[-1]:
        line = process.stdout.readline()
        assert line, shown
        shown.append(line)
    typed = [line.strip() for line in shown if "telemetry read" in line or "control advance" in line]
    assert len(typed) == 2
    for line in typed:
        # By a shell, since that is where a person pastes it.
        subprocess.run(
            ["bash", "-c", line], check=True, env=place.environment, timeout=PATIENCE_S, stdout=subprocess.DEVNULL
        )
    os.kill(process.pid, signal.SIGINT)
    rest, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")
    assert "ALARM" in rest or "Ended at day 190" in rest


def test_the_log_tells_the_story_in_words(place: Place) -> None:
    served = place.serve("--listen", TCP)
    url = served.urls[0]
    place.run("set-rate", url, "0.200 ml/day", "--yes")
    place.run("stop", url, "--yes", "--reason", "before_procedure")
    place.run("resume", url, "--yes")
    shown = " ".join(place.run("read", url, "log").stdout.replace("│", " ").split())
    for words in (
        "program committed program number 2 0.200 ml/day",
        "stopped before procedure",
        "resumed",
        "0.200 ml/day",
    ):
        assert words in shown
    assert place.run("resume", url, "--yes", check=False).returncode == 1
