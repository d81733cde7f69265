"""Scrubbed captures: what was to be removed is gone, what is left still opens and replays."""

from __future__ import annotations

import hashlib
import json
import os
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

import telemetry
from telemetry.clock import ManualClock
from telemetry.errors import SecurityError, UsageError
from telemetry.protocol import messages as wire
from telemetry.traffic.differing import What, differences
from telemetry.traffic.opening import How, OpenedFrame, open_file
from telemetry.traffic.replaying_device import ReplayedPump
from telemetry.traffic.replaying_script import script_of
from telemetry.traffic.scrubbing import scrub_file
from telemetry.traffic.scrubbing_values import FIRST_DAY_UTC_S, Values
from telemetry.transport.capture import LinkOpened, Note, SessionKeys, read_capture
from tests.traffic import rig
from tests.traffic.linked import Linked
from tools import captures

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.virtual

MAY_CHANGE = frozenset({"op_id", "token", "tag", "serial", "pump_id", "epoch_utc_s", "clock_utc_s", "zone_minutes"})


def _scrubbed(name: str, tmp_path: Path, *, keep_keys: bool = False) -> Path:
    scrub_file(captures.FOLDER / f"{name}.telcap", tmp_path / "g.telcap", keep_keys=keep_keys)
    return tmp_path / "g.telcap"


def _messages(path: Path) -> list[OpenedFrame]:
    return [frame for frame in open_file(path) if frame.message is not None]


@pytest.mark.parametrize("keep_keys", [False, True])
@pytest.mark.parametrize("name", captures.PLANS)
def test_everything_but_the_names_is_as_it_was(name: str, keep_keys: bool, tmp_path: Path) -> None:
    before = _messages(captures.FOLDER / f"{name}.telcap")
    path = _scrubbed(name, tmp_path, keep_keys=keep_keys)
    after = _messages(path)
    assert len(after) == len(before)
    for one, two in zip(before, after, strict=True):
        assert one.message is not None
        assert two.message is not None
        assert [str(d) for d in differences(What.ANSWER, one.message, two.message, MAY_CHANGE)] == []
        assert (one.counter, one.direction, one.at_ms - before[0].at_ms) == (two.counter, two.direction, two.at_ms)
        assert one.data != two.data or one.how is How.PLAIN
    sealed = {frame.how for frame in after if frame.counter is not None}
    assert sealed == {How.KEYS if keep_keys else How.RECORDED}
    assert any(isinstance(entry, SessionKeys) for entry in read_capture(path).entries) is keep_keys


def test_names_dates_keys_places_and_remarks_are_gone(tmp_path: Path) -> None:
    source = captures.FOLDER / "every-message.telcap"
    lines = source.read_text().splitlines()
    lines.insert(2, json.dumps({"note": "Mrs Example, room 12"}))
    lines[1] = lines[1].replace("sim:", "tcp://ward-7.example:7410")
    lines.append(json.dumps({"link": 1, "at_ms": 1 << 40, "lost": "tcp://ward-7.example:7410: unplugged"}))
    (tmp_path / "f.telcap").write_text("\n".join(lines) + "\n")
    scrub_file(tmp_path / "f.telcap", tmp_path / "g.telcap", keep_keys=True)
    text = (tmp_path / "g.telcap").read_text()
    frames = list(open_file(source))
    identity = next(frame.message for frame in frames if isinstance(frame.message, wire.Identity))
    gone = ["Mrs Example", "ward-7", identity.serial, identity.serial.encode().hex(), identity.pump_id.hex()]
    gone += [frame.message.token.hex() for frame in frames if isinstance(frame.message, wire.Staged)]
    gone += [frame.message.op_id[8:].hex() for frame in frames if isinstance(frame.message, wire.Commit)]
    gone += [str(identity.epoch_utc_s), *captures_keys(source)]
    assert [one for one in gone if one in text] == []
    found = read_capture(tmp_path / "g.telcap")
    assert found.started is None
    assert next(entry.url for entry in found.entries if isinstance(entry, LinkOpened)) == "tcp:scrubbed"
    assert not any(isinstance(entry, Note) for entry in found.entries)


def captures_keys(path: Path) -> list[str]:
    """Every key of a capture."""
    return [key for one in read_capture(path).entries if isinstance(one, SessionKeys) for key in one.keys.values()]


def test_equal_values_stay_equal_and_others_differ(tmp_path: Path) -> None:
    after = [frame.message for frame in _messages(_scrubbed("every-message", tmp_path))]
    commits = [one for one in after if isinstance(one, wire.Commit)]
    staged = {one.token for one in after if isinstance(one, wire.Staged)}
    verdicts = {one.op_id for one in after if isinstance(one, wire.VerdictReport)}
    assert {one.token for one in commits} <= staged
    assert {one.op_id for one in commits} <= verdicts
    assert len({one.op_id for one in commits}) == len(commits)


async def test_the_day_is_another_and_the_time_of_day_the_same(tmp_path: Path) -> None:
    recording = captures.Recording(tmp_path / "f")
    zone = 330
    async with recording.programmer() as programmer:
        await programmer.set_clock(captures.UTC_S + 7 * 3_600, zone)
        await programmer.read_delivery()
        await programmer.read_log()
    recording.writer.close()
    scrub_file(tmp_path / "f", tmp_path / "g")
    delivery = next(f.message for f in _messages(tmp_path / "g") if isinstance(f.message, wire.Delivery))
    original = next(f.message for f in _messages(tmp_path / "f") if isinstance(f.message, wire.Delivery))
    local = (original.clock_utc_s + original.zone_minutes * 60) % 86_400
    assert (delivery.clock_utc_s + delivery.zone_minutes * 60) % 86_400 == local
    assert FIRST_DAY_UTC_S - 86_400 <= delivery.clock_utc_s < FIRST_DAY_UTC_S + 3 * 86_400
    begin = next(f.message for f in _messages(tmp_path / "g") if isinstance(f.message, wire.Begin))
    write = next(f.message for f in _messages(tmp_path / "g") if isinstance(f.message, wire.Write))
    staged = next(f.message for f in _messages(tmp_path / "g") if isinstance(f.message, wire.Staged))
    assert hashlib.sha256(write.data).digest() == begin.image_digest == staged.image_digest
    assert staged.image == write.data
    text = (tmp_path / "g").read_text()
    assert str(captures.UTC_S + 7 * 3_600) not in text


@settings(max_examples=10)
@given(rig.calls)
async def test_a_scrubbed_capture_replays_as_the_device(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[rig.Call]
) -> None:
    folder = tmp_path_factory.mktemp("scrub")
    recording = captures.Recording(folder / "f")
    # A zone that is set by a call is another one in the capture: dates and places are what is scrubbed.
    wanted = [("status", 0), *(one for one in wanted if one[0] != "clock")]
    async with recording.programmer() as programmer:
        recorded = await rig.make(programmer, wanted)
    recording.writer.close()
    scrub_file(folder / "f", folder / "g", entropy=Random(1).randbytes)
    device = ReplayedPump(script_of(read_capture(folder / "g"), "g"), clock := ManualClock(), entropy=os.urandom)
    async with telemetry.connect(pump=Linked(device, clock)) as programmer:
        again = await rig.make(programmer, wanted)
    assert device.found == []
    assert [one.partition("(")[0] for one in again] == [one.partition("(")[0] for one in recorded]


def test_the_search_for_what_was_removed_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for field, value in (("serial", "PUMP"), ("secret", "pump_id")):
        with monkeypatch.context() as patch:
            kept: dict[object, object] = {}

            def keep(self: Values, kind: str, found: object, table: dict[object, object] = kept) -> object:
                del kind
                (self.texts if isinstance(found, str) else self.secrets)[found] = found  # type: ignore[index, assignment]
                table[found] = found
                return found

            patch.setattr(Values, field, keep)
            with pytest.raises(SecurityError, match="still holds what was to be removed"):
                _scrubbed("interrogation", tmp_path)
        assert list(tmp_path.iterdir()) == [], value


def test_a_moment_that_is_left_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(self: Values, value: int) -> int:
        self.moments.add(value)
        return value

    monkeypatch.setattr(Values, "utc_s", keep)
    with pytest.raises(SecurityError, match="moment"):
        _scrubbed("interrogation", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_frames_that_nobody_opens_are_left_out_and_counted(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (captures.FOLDER / "interrogation.telcap").read_text().splitlines()]
    kept = [{key: line[key] for key in line if key != "message"} for line in lines if "keys" not in line]
    kept.append({"link": 1, "at_ms": 0, "dir": "rx", "hex": "00ff00"})
    (tmp_path / "f").write_text("".join(json.dumps(line) + "\n" for line in kept))
    done = scrub_file(tmp_path / "f", tmp_path / "g")
    assert dict(done.left_out) == {"REQ, no_keys": 9, "RSP, no_keys": 9, "garbage": 1}
    assert done.kept == 8
    assert "simulated" in (tmp_path / "g").read_text()


def test_a_capture_that_begins_in_the_midst_of_a_session_is_scrubbed(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (captures.FOLDER / "interrogation.telcap").read_text().splitlines()]
    begun = [line for line in lines if not str(line.get("hex", "")).startswith(("12", "13"))]  # no HELLO, no ACCEPT
    assert len(begun) == len(lines) - 2
    (tmp_path / "f").write_text("".join(json.dumps(line) + "\n" for line in begun))
    done = scrub_file(tmp_path / "f", tmp_path / "g", keep_keys=True)
    assert done.left_out == {}
    assert {frame.how for frame in _messages(tmp_path / "g") if frame.counter is not None} == {How.KEYS}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = _scrubbed("interrogation", tmp_path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="it exists already"):
        scrub_file(captures.FOLDER / "interrogation.telcap", path)
    assert path.read_bytes() == before
    (tmp_path / "h.part").write_text("x")
    with pytest.raises(UsageError, match="left from an earlier try"):
        scrub_file(captures.FOLDER / "interrogation.telcap", tmp_path / "h")
    assert (tmp_path / "h.part").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        scrub_file(captures.FOLDER / "interrogation.telcap", tmp_path / "no" / "g")


def test_a_capture_of_another_wire_table_is_refused(tmp_path: Path) -> None:
    text = (captures.FOLDER / "interrogation.telcap").read_text()
    (tmp_path / "f").write_text(text.replace('"layout":"', '"layout":"f', 1))
    with pytest.raises(UsageError, match="use the release that recorded it"):
        scrub_file(tmp_path / "f", tmp_path / "g")


def test_the_key_of_the_stand_ins_decides_them() -> None:
    one, two = Values(b"1" * 32), Values(b"2" * 32)
    assert one.secret("token", b"x" * 16) != two.secret("token", b"x" * 16)
    assert one.secret("token", bytes(16)) == bytes(16)
    assert one.op_id(b"\1" * 8 + b"n" * 8)[:8] == b"\1" * 8
