"""doctor, profile, watch, the client of the back door, and the small parts."""

from __future__ import annotations

import grp
import importlib.util
import os
import signal
import socket
import ssl
import sys
from importlib import metadata
from typing import TYPE_CHECKING, NoReturn

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.cli import back_door, examining, watch, words
from telemetry.cli.progress import LateProgress
from telemetry.cli.sim import _command_name, _Lines, parse_share_ppm
from telemetry.clock import ManualClock, SystemClock
from telemetry.errors import LinkClosedError, LinkError, LinkOpenError, Refused, UsageError
from telemetry.model import AlarmKind, AlarmSignal, PumpEvent, PumpMode, RefusalReason, Warn
from telemetry.programmer import Programmer
from telemetry.sim.runtime import LiveSimulator, RuntimeFile, live_simulators
from telemetry.sim.state_file import StateFile
from telemetry.sim.station import Station

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Done

pytestmark = pytest.mark.real


# --- doctor --------------------------------------------------------------------------------------------------------


def verdict(what: str) -> examining.Check:
    return next(check for check in examining.examine() if what in check.what)


def test_doctor_is_content_here(telemetry: Callable[..., Done]) -> None:
    done = telemetry("doctor", "--json")
    assert done.status == 0
    assert done.json["ok"] is True
    assert {"Python", "packages", "pseudo-terminals", "loopback TCP", "clock", "serial ports"} <= {
        check["what"] for check in done.json["checks"]
    }
    shown = telemetry("doctor")
    assert "Everything needed works" in shown.out
    assert max(len(line) for line in shown.out.splitlines()) <= 80


def test_doctor_fails_where_something_needed_is_broken(
    telemetry: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> NoReturn:
        raise OSError(2, "no ptys left")

    monkeypatch.setattr(os, "openpty", none)
    done = telemetry("doctor")
    assert done.status == 1
    assert "devpts" in done.out
    assert "Something needed is broken" in done.out


def test_every_check_can_fail(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*_args: object, **_options: object) -> NoReturn:
        raise OSError(101, "network unreachable")

    def missing(name: str) -> NoReturn:
        raise metadata.PackageNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr(socket, "create_server", no_socket)
        assert verdict("loopback").verdict == "fail"
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda _name: None)
        assert "pip install 'itb-telemetry[ble]'" in verdict("'ble'").fix
    with monkeypatch.context() as patch:
        patch.setattr(metadata, "version", missing)
        assert examining._packages().verdict == "fail"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version_info", (3, 10, 0))
        assert verdict("Python").verdict == "fail"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        assert verdict("Python").verdict == "warn"
    with monkeypatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home / "file" / "state"))
        (home / "file").write_text("", encoding="utf-8")
        assert verdict("state folder").verdict == "fail"
    with monkeypatch.context() as patch:
        readings = iter(range(examining._CLOCK_READINGS, 0, -1))
        patch.setattr(SystemClock, "link_ms", lambda _self: next(readings))
        assert verdict("clock").verdict == "fail"


def test_programs_of_others_are_found_or_their_use_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = home / "mosquitto"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(home))
    assert verdict("program mosquitto") == examining.Check("ok", "program mosquitto", str(program))
    monkeypatch.setattr(examining, "_PROGRAMS", {"no-such-program": ("for nothing", "package none")})
    missing = verdict("no-such-program")
    assert (missing.verdict, missing.fix) == ("warn", "package none")
    assert "for nothing" in missing.found


def test_every_extra_of_the_package_is_examined() -> None:
    provided = set(metadata.metadata("itb-telemetry").get_all("Provides-Extra") or ())
    assert set(examining._EXTRAS) == provided - {"all", "bench", "dev", "testing"}


def test_serial_ports_and_their_permission(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = home / "ttyUSB0"
    port.write_text("", encoding="utf-8")
    monkeypatch.setattr(examining, "_PORTS", (str(home / "ttyUSB*"),))
    assert verdict("serial ports").verdict == "ok"
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    closed = verdict("serial ports")
    group = grp.getgrgid(port.stat().st_gid).gr_name
    assert (closed.verdict, f"-G {group}" in closed.fix) == ("warn", True)
    monkeypatch.setattr(examining, "_PORTS", ())
    assert "none" in verdict("serial ports").found


def test_a_taken_port_and_live_simulators(home: Path) -> None:
    published = RuntimeFile(LiveSimulator(1, ("tcp://127.0.0.1:9",), "", "", "m", "s"))
    assert "tcp://127.0.0.1:9" in verdict("live").found
    published.path.chmod(0o666)
    assert verdict("live").verdict == "warn"
    published.close()
    assert verdict("live").verdict == "ok"


def test_the_default_port_when_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(examining, "_DEFAULT_PORT", taken.getsockname()[1])
        assert verdict("port ").verdict == "warn"


# --- profile -------------------------------------------------------------------------------------------------------


def test_profiles_are_listed_and_shown(telemetry: Callable[..., Done]) -> None:
    found = telemetry("profile", "list", "--json").json
    assert [one["name"] for one in found["profiles"]] == ["itb-20", "itb-40", "sensor-40", "valve-20"]
    assert [one["drive"] for one in found["profiles"]] == ["motor", "motor", "piezo_valve", "valve_gated"]
    assert found["default"] == "itb-40"
    assert "itb-40 (default)" in telemetry("profile", "list").out
    values = telemetry("profile", "show", "itb-40", "--json").json["values"]
    assert all(value["source"] and value["confidence"] and value["key"] for value in values)
    listed = telemetry("profile", "list").out
    assert "valve gated" in listed
    assert "morphine" in listed
    shown = telemetry("profile", "show", "itb-20").out
    assert "20 ml" in shown
    assert "stall recovery" in shown
    assert "A  a label" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


# --- watch ---------------------------------------------------------------------------------------------------------


def test_watch_shows_status_and_alarms(telemetry: Callable[..., Done]) -> None:
    done = telemetry("watch", "sim:?fill=1ml", "--polls", "1")
    assert done.status == 0
    assert "low_reservoir: SOUNDING" in done.out
    assert "SIMULATED" in done.out


def test_watch_in_a_terminal(telemetry: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = telemetry("watch", "sim:", "--polls", "2", "--interval", "1")
    assert done.status == 0
    assert "\x1b[" in done.out


def test_watch_says_that_the_link_is_lost_and_goes_on(
    telemetry: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = telemetry("watch", "tcp://127.0.0.1:1", "--polls", "1", "--json")
    assert (done.status, done.json["link"]) == (0, "lost")
    real = Programmer.read_alarms
    polls: list[int] = []

    async def read_alarms(self: Programmer) -> object:
        polls.append(1)
        if len(polls) == 2:
            raise LinkClosedError("the cable is out")
        return await real(self)

    monkeypatch.setattr(Programmer, "read_alarms", read_alarms)
    shown = telemetry("watch", "sim:", "--polls", "3", "--interval", "1").out
    assert "LINK LOST" in shown
    assert "what stands above is old" in shown


def test_watch_ends_only_by_its_own_signal(monkeypatch: pytest.MonkeyPatch, telemetry: Callable[..., Done]) -> None:
    async def cancelled(_programmer: object) -> NoReturn:
        import asyncio

        raise asyncio.CancelledError

    monkeypatch.setattr(watch, "_glance", cancelled)
    assert telemetry("watch", "sim:", "--polls", "1").status == 70


# --- sim -----------------------------------------------------------------------------------------------------------


def test_a_defect_while_serving_ends_it_with_everything_put_away(
    telemetry: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_self: Station, _clock: object) -> NoReturn:
        raise RuntimeError("broken")

    monkeypatch.setattr(Station, "run", broken)
    done = telemetry("sim", "--listen", "tcp://127.0.0.1:0")
    assert done.status == 70
    assert "this is a defect" in done.err
    assert live_simulators() == ()


def test_a_state_that_cannot_be_saved_is_said_at_once(
    telemetry: Callable[..., Done], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves: list[int] = []
    real = StateFile.save

    def save(self: StateFile, state: dict[str, object]) -> None:
        saves.append(1)
        if len(saves) > 1:
            raise UsageError("the disk is full")
        real(self, state)

    async def end(_self: Station, _clock: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(StateFile, "save", save)
    monkeypatch.setattr(Station, "run", end)
    done = telemetry("sim", "--listen", "tcp://127.0.0.1:0", "--state", str(home / "pump.json"))
    assert done.status == 0
    assert "the disk is full" in done.err


def test_what_happens_before_the_panel_comes_after_it(capfd: pytest.CaptureFixture[str]) -> None:
    lines = _Lines(as_json=False)
    lines.event(PumpEvent(5, "alarm_raised", "low_reservoir"))
    assert capfd.readouterr().out == ""
    lines._early, early = [], lines._early
    lines._epoch_utc_s = 0
    for event in early:
        lines.event(event)
    assert "ALARM low_reservoir" in capfd.readouterr().out


# --- the client of the back door -----------------------------------------------------------------------------------

DOOR = LiveSimulator(1, ("tcp://127.0.0.1:9",), "http://127.0.0.1:9", "token", "m", "s")


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (httpx.ConnectError("refused"), LinkOpenError, "nobody answers"),
        (httpx.ReadTimeout("late"), LinkError, "no answer"),
        (httpx.Response(200, text="<html>"), LinkError, "no answer"),
        (httpx.Response(200, json=[1]), LinkError, "no simulator"),
        (httpx.Response(400, json={"error": "too far", "field": "ms", "limit": 7}), Refused, "too far"),
        (httpx.Response(500, json={}), Refused, "500"),
    ],
)
def test_what_the_back_door_can_answer(
    monkeypatch: pytest.MonkeyPatch, answer: httpx.Response | Exception, error: type[Exception], message: str
) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer token"
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)

    real = httpx.Client

    def client(
        *, base_url: str, headers: dict[str, str], timeout: int, trust_env: bool, verify: ssl.SSLContext
    ) -> httpx.Client:
        assert trust_env is False
        # No certificate is loaded, which takes its time; so none is trusted either.
        assert (verify.verify_mode, verify.cert_store_stats()["x509_ca"]) == (ssl.CERT_REQUIRED, 0)
        assert timeout > 0
        return real(transport=httpx.MockTransport(handle), base_url=base_url, headers=headers)

    monkeypatch.setattr(httpx, "Client", client)
    with pytest.raises(error, match=message):
        back_door.ask(DOOR, "GET", "/v1/inspect")


def test_control_needs_a_simulator_and_a_distance(telemetry: Callable[..., Done]) -> None:
    for arguments in (["advance", "--days", "1"], ["inspect"], ["http://127.0.0.1:9", "inspect"]):
        assert telemetry("control", *arguments).status == 2
    token_is_there = telemetry("control", "http://127.0.0.1:9", "snapshot", "/nowhere/x")
    assert "TELEMETRY_CONTROL_TOKEN" in token_is_there.err
    assert "say how far" in telemetry("control", "advance").err
    assert "neither a URL nor one of" in telemetry("control", "backwards").err
    assert telemetry("control").status == 2


# --- small parts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ppm"), [("0", 0), ("1", 1_000_000), ("0.05", 50_000), ("0.000001", 1), ("1.0", 1_000_000)]
)
def test_a_share(text: str, ppm: int) -> None:
    assert parse_share_ppm(text) == ppm


@pytest.mark.parametrize("text", ["", ".", "-1", "5%", "1.1", "2", "0.0000001", "٣", "nan", "1e-3"])
def test_what_is_no_share_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="--loss"):
        parse_share_ppm(text)


def test_every_code_has_words() -> None:
    assert set(words.ALARMS) == set(AlarmKind)
    assert set(words.MODES) == set(PumpMode)
    assert set(words.SIGNALS) == set(AlarmSignal)
    assert set(words.WARNINGS) == set(Warn)


@pytest.mark.parametrize("reason", list(RefusalReason))
def test_every_refusal_is_explained(reason: RefusalReason) -> None:
    from telemetry.cli.refusals import explain

    plain = explain(Refused(reason, f"the pump refused: {reason}", value=5_000, limit=7_000))
    assert str(plain).startswith(("refused: ", "the pump refused: "))
    assert plain.reason == reason
    assert (plain.value, plain.limit) == (5_000, 7_000)


@given(st.integers(min_value=-10_000_000, max_value=10_000_000))
def test_percent_has_one_decimal_and_a_sign(ppm: int) -> None:
    text = words.percent(ppm)
    assert text.endswith(" %")
    assert (text[0] == "−") == (ppm < 0)
    shown = int(text[1:-2].replace(".", "")) * 1_000
    assert abs(shown - abs(ppm)) <= 500


@given(st.integers(min_value=0, max_value=10**13))
def test_pump_time_is_exact(ms: int) -> None:
    day, number, clock = words.pump_time(ms).split()
    hours, minutes, seconds = clock.split(":")
    whole, thousandths = seconds.split(".")
    assert day == "day"
    total = ((int(number) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(whole)
    assert total * 1_000 + int(thousandths) == ms


def test_instants_and_spans() -> None:
    assert words.when(None, 0, 0) == "–"
    assert words.when(0, 3_600_000, 0) == "1970-01-01 00:00 UTC (1 h 0 min ago)"
    assert words.span(61_000) == "1 min 1 s"
    assert words.iso(1, 0) == "1970-01-01T00:00:00.001Z"
    assert words.event(PumpEvent(0, "alarm_cleared", "low_reservoir")) == "[green]alarm over: low_reservoir[/]"
    assert words.event(PumpEvent(0, "delivery_stopped", "stopped")) == "delivery stopped"
    assert words.event(PumpEvent(0, "fault_struck", "motor_stall")) == "fault struck motor stall"


def test_progress_shows_only_after_a_second(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    clock = ManualClock()
    with LateProgress("reading the log", clock) as progress:
        progress.update(1, 10)
        assert capfd.readouterr().err == ""
        clock.advance(seconds=2)
        progress.update(5, 10)
        progress.update(6, 10)
    out, err = capfd.readouterr()
    assert out == ""
    assert "reading the log" in err


def test_the_command_is_named_as_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "bin" / "telemetry"
    mine.parent.mkdir()
    mine.write_text("", encoding="utf-8")
    mine.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(mine)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert _command_name() == str(mine)
    monkeypatch.chdir(tmp_path)
    assert _command_name() == "bin/telemetry"
    monkeypatch.setenv("PATH", str(mine.parent))
    assert _command_name() == "telemetry"
    monkeypatch.setattr(sys, "argv", ["/x/telemetry/__main__.py"])
    assert _command_name() == f"{sys.executable} -m telemetry"
