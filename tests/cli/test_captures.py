"""capture, replay and scrub, as a person types them."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from telemetry.transport.capture import read_capture
from tools import captures

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done

pytestmark = pytest.mark.real

VISIT = str(captures.FOLDER / "set-rate.telcap")
SEEN = str(captures.FOLDER / "interrogation.telcap")


def test_capture_reads_everything_once_and_says_what_it_got(telemetry: Callable[..., Done], home: Path) -> None:
    done = telemetry("capture", "sim:", "-o", str(home / "f.telcap"))
    assert done.status == 0
    assert "SIMULATED" in done.out
    assert "24 frames" in done.out
    again = telemetry("capture", "sim:", "-o", str(home / "f.telcap"), "--watch", "--polls", "1", "--json").json
    assert (again["links"], again["simulated"], again["unopened"]) == (2, True, 0)


def test_capture_watches_for_so_many_seconds(telemetry: Callable[..., Done], home: Path) -> None:
    path = home / "f.telcap"
    assert telemetry("capture", "sim:", "-o", str(path), "--watch", "--interval", "1", "--seconds", "0.3").status == 0
    assert len(read_capture(path).frames()) == 24


def test_a_pump_that_is_not_there_is_a_link_error_and_the_recording_stays(
    telemetry: Callable[..., Done], home: Path
) -> None:
    done = telemetry("capture", "sim:?contact=no", "-o", str(home / "f.telcap"))
    assert done.status == 3
    assert "place it" in done.err
    assert "what was recorded until then is in" in done.err
    assert read_capture(home / "f.telcap").frames()


def test_where_nothing_listens_no_empty_capture_is_left(telemetry: Callable[..., Done], home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    done = telemetry("capture", url, "-o", str(home / "f.telcap"))
    assert done.status == 3
    assert "nothing was recorded" in done.err
    assert "record=" not in done.err, "the person typed no such thing"
    assert url in done.err
    assert not (home / "f.telcap").exists()


def test_a_device_that_calls_itself_simulated_is_marked_although_the_recorder_did_not_know(
    telemetry: Callable[..., Done], home: Path
) -> None:
    telemetry("capture", "sim:", "-o", str(home / "f.telcap"))
    header, *lines = (home / "f.telcap").read_text(encoding="utf-8").splitlines()
    unknown = json.dumps({**json.loads(header), "simulated": None})
    (home / "f.telcap").write_text("\n".join([unknown, *lines]) + "\n", encoding="utf-8")
    assert telemetry("decode", str(home / "f.telcap"), "--json").json["simulated"] is True
    assert "SIMULATED" in telemetry("decode", str(home / "f.telcap")).out.splitlines()[0]
    (home / "g.telcap").write_text("\n".join([unknown, lines[0]]) + "\n", encoding="utf-8")
    assert telemetry("decode", str(home / "g.telcap"), "--json").json["simulated"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["capture", "sim:"], "-o FILE is missing"),
        (["capture", "-o", "F"], "URL is missing"),
        (["capture", "sim:?record=x", "-o", "F"], "record= of its own"),
        (["capture", "sim:", "-o", "F", "--polls", "2"], "--polls belongs to --watch"),
        (["capture", "sim:", "-o", "F", "--listen", "pty:", "--watch"], "with --listen the programmer decides"),
        (["capture", "sim:", "-o", "F", "--arm"], "--arm: it is for devices that are no test devices"),
        (["capture", "sim:", "-o", "F/no/f"], "it cannot be written"),
        (["capture", "sim:", "-o", "F", "--listen", "nowhere:"], "no transport has the scheme 'nowhere'"),
        (["replay"], "FILE is missing"),
        (["replay", "F"], "cannot be read"),
        (["replay", VISIT, "--listen", "pty:", "--to", "sim:"], "as the device or as the programmer"),
        (["replay", VISIT, "--yes"], "--yes belongs to --to"),
        (["replay", VISIT, "--to", "sim:", "--seconds", "3"], "--seconds is for playing the device"),
        (["replay", VISIT, "--to", "sim:"], "nobody can be asked here"),
        (["replay", VISIT, "--speed", "0.1"], "slower than recorded is not possible"),
        (["replay", VISIT, "--link", "4"], "there is no link 4"),
        (["scrub"], "FILE is missing"),
        (["scrub", VISIT], "-o FILE is missing"),
        (["scrub", VISIT, "-o", VISIT], "it exists already"),
        (["scrub", "F", "-o", "G"], "cannot be read"),
    ],
)
def test_wrong_use_says_what_is_right(
    telemetry: Callable[..., Done], home: Path, arguments: list[str], said: str
) -> None:
    done = telemetry(*[one.replace("F", str(home / "f"), 1) if one in ("F", "F/no/f") else one for one in arguments])
    assert done.status == 2
    assert said in done.err


def test_replay_to_its_own_pump_and_to_another(telemetry: Callable[..., Done]) -> None:
    to_own = ("--to", "sim:?seed=20260101&serial=SIM-2026", "--speed", "max", "--yes", "--json")
    found = telemetry("replay", VISIT, *to_own).json
    fields = {one["field"].partition("[")[0] for one in found["differences"]}
    assert (found["as"], found["played"], found["exchanges"]) == ("programmer", 11, 11)
    assert fields <= {"reservoir_nl", "empty_in_s"}  # on the host's clock a pump gives a few nanolitres meanwhile
    done = telemetry("replay", SEEN, "--to", "sim:?profile=itb-20&serial=OTHER", "--speed", "max")
    assert done.status == 1
    assert "SIMULATED" in done.out
    assert "Identity.serial is OTHER, recorded SIM-2026" in done.out
    assert "≠ ReadIdentity" in done.out


def test_replay_as_the_device_ends_after_its_time_and_tells_what_was_not_asked(telemetry: Callable[..., Done]) -> None:
    done = telemetry("replay", SEEN, "--listen", "tcp://127.0.0.1:0", "--seconds", "0.1")
    assert done.status == 1
    assert "SIMULATED device of" in done.err
    assert "0 requests played of 9 recorded, 9 differences" in " ".join(done.out.split())
    assert "ReadIdentity is recorded and did not come" in done.out


def test_read_plays_a_capture_by_url(telemetry: Callable[..., Done]) -> None:
    assert telemetry("read", f"replay:{SEEN}", "identity", "--role", "observer", "--json").json["serial"] == "SIM-2026"


def test_a_cut_capture_is_played_and_said_to_be_cut(telemetry: Callable[..., Done], home: Path) -> None:
    text = (captures.FOLDER / "interrogation.telcap").read_bytes()
    (home / "f.telcap").write_bytes(text[:-40])
    done = telemetry("replay", str(home / "f.telcap"), "--to", "sim:?seed=20260101&serial=SIM-2026", "--speed", "max")
    assert "is unfinished and was left out" in " ".join(done.err.split())
    assert done.status in (0, 1)


def test_scrub_says_what_it_did(telemetry: Callable[..., Done], home: Path) -> None:
    done = telemetry("scrub", VISIT, "-o", str(home / "g.telcap"))
    assert done.status == 0
    assert "SIMULATED" in done.out
    assert "replaced:" in done.out
    found = telemetry("scrub", VISIT, "-o", str(home / "h.telcap"), "--keep-keys", "--json").json
    assert found["frames"] == 28
    assert found["left_out"] == {}
    assert json.loads((home / "h.telcap").read_text().splitlines()[0])["simulated"] is True
    decoded = telemetry("decode", str(home / "g.telcap"))
    assert decoded.status == 0
    assert "SIM-2026" not in decoded.out


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300"])
def test_seconds_are_a_number_that_ends(telemetry: Callable[..., Done], home: Path, seconds: str) -> None:
    for words in (["capture", "sim:", "-o", str(home / "f.telcap")], ["replay", VISIT]):
        done = telemetry(*words, "--seconds", seconds)
        assert done.status == 2
        assert "--seconds" in done.err


@pytest.mark.parametrize("name", ["[red].telcap", "[", b"\xff.telcap"])
def test_a_file_is_called_by_its_name(telemetry: Callable[..., Done], home: Path, name: str | bytes) -> None:
    if name == "[":
        (home / "[").mkdir()
        name = "[/x].telcap"
    path = f"{home}/{os.fsdecode(name)}"
    shown = path.encode(errors="backslashreplace").decode()
    done = telemetry("capture", "sim:", "-o", path)
    if shown == path:
        assert done.status == 0
        assert shown in done.out.replace("\n", "")
    else:  # no URL can carry it
        assert done.status == 2
        assert "its name is no UTF-8; choose another" in done.err
        Path(path).write_bytes(Path(SEEN).read_bytes())
    assert telemetry("decode", path, "--json").json["frames"] in {24, 26}
    for words in (["decode", path], ["decode", path, "--type", "Status", "--explain"]):
        done = telemetry(*words)
        assert done.status == 0
        assert shown in "".join(line.strip() for line in done.out.splitlines())
    assert telemetry("scrub", path, "-o", f"{path}.new").status == 0
    assert telemetry("replay", path, "--to", "sim:", "--speed", "max").status in {0, 1}  # 1: another serial number


def test_texts_of_a_capture_do_not_move_the_terminal(telemetry: Callable[..., Done], home: Path) -> None:
    lines = Path(SEEN).read_text(encoding="utf-8").splitlines()
    lines.insert(1, '{"note":"\\u001b]0;x\\u0007 \\u202e \\ud800"}')
    (home / "f").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for words in ([], ["--explain"]):
        done = telemetry("decode", str(home / "f"), *words)
        assert done.status == 0
        assert not {"\x1b", "\x07", "\u202e"} & set(done.out)
        assert r"\x1b]0;x\x07 \u202e \ud800" in done.out
    assert telemetry("decode", str(home / "f"), "--json").json["items"][0]["fields"]["text"][-1] == "\ud800"


def test_no_capture_is_written_over(telemetry: Callable[..., Done], home: Path) -> None:
    path = home / "f.telcap"
    path.write_bytes(Path(SEEN).read_bytes())
    for words in (
        ["decode", str(path), "--pcapng", str(path)],
        ["dissector", "-o", str(path)],
        ["read", f"replay:{SEEN}?report={path}", "status"],
    ):
        done = telemetry(*words)
        assert done.status == 2
        assert "is a capture and would be lost; name another file" in done.err
    assert path.read_bytes() == Path(SEEN).read_bytes()


def test_scrub_tells_of_an_unfinished_line(telemetry: Callable[..., Done], home: Path) -> None:
    (home / "f").write_bytes(Path(SEEN).read_bytes()[:-9])
    done = telemetry("scrub", str(home / "f"), "-o", str(home / "g"))
    assert done.status == 0
    assert "is unfinished and was left out" in done.err.replace("\n", " ")


def test_another_version_is_refused_with_the_release_to_use(telemetry: Callable[..., Done], home: Path) -> None:
    (home / "f").write_bytes(Path(SEEN).read_bytes().replace(b'"version":1', b'"version":2', 1))
    done = telemetry("decode", str(home / "f"))
    assert done.status == 2
    assert "version 2 cannot be read, only 1; use the release that recorded it (itb-telemetry" in done.err


def test_bytes_may_be_typed_without_quotes(telemetry: Callable[..., Done]) -> None:
    assert telemetry("decode", "02", "01", "00", "00", "--json").json == telemetry("decode", "02010000", "--json").json
    done = telemetry("decode", "a.telcap", "b.telcap")
    assert done.status == 2
    assert "'a.telcap b.telcap' is neither a file nor hexadecimal text" in done.err


def test_standard_input_is_refused_with_what_to_do(telemetry: Callable[..., Done]) -> None:
    done = telemetry("decode", "-")
    assert done.status == 2
    assert "standard input is not read; name a file" in done.err


def test_the_way_to_use_the_dissector_can_be_pasted(telemetry: Callable[..., Done], home: Path) -> None:
    done = telemetry("dissector", "-o", str(home / "my file.lua"))
    assert f"tshark-X'lua_script:{home}/myfile.lua',or" in "".join(done.err.split())
