"""Captures played back: the same calls get the same results, and every difference is told."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

import telemetry
from telemetry.clock import ManualClock
from telemetry.errors import LinkError, OutcomeUnknown, Refused, UsageError
from telemetry.link import LAYOUT
from telemetry.model import PumpMode, Role, Warn
from telemetry.protocol import messages as wire
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.traffic.connector import as_json, speed_of
from telemetry.traffic.differing import Difference, What
from telemetry.traffic.replaying_device import ReplayedPump
from telemetry.traffic.replaying_programmer import Played, Player
from telemetry.traffic.replaying_script import Script, script_of
from telemetry.traffic.replaying_talk import Talk
from telemetry.transport.capture import read_capture
from telemetry.transport.faults import FaultPlan
from telemetry.units import DailyDose
from tests.traffic import rig
from tests.traffic.linked import Linked
from tools import captures

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from telemetry.transport.base import Receiver, Transport

pytestmark = pytest.mark.virtual

FIXTURES = captures.FOLDER


def _script(name: str) -> Script:
    path = FIXTURES / f"{name}.telcap"
    return script_of(read_capture(path), path.name)


async def _play(
    script: Script,
    pump: VirtualPump,
    opener: Callable[[Receiver], Awaitable[Transport]] | None = None,
    *,
    strict: bool = False,
    exact: bool = False,
) -> Played:
    talk = Talk(opener or pump.open_link, clock=pump.clock, entropy=os.urandom, utc_s=lambda: 0)
    try:
        return await Player(script, talk, pump.clock, entropy=os.urandom, strict=strict, exact=exact).play()
    finally:
        await talk.close()


def _pump(profile: str = "itb-40") -> VirtualPump:
    return VirtualPump(profile, seed=20_260_101, serial="SIM-2026")


@settings(max_examples=20)
@given(rig.calls)
async def test_the_same_calls_get_the_same_results_from_the_capture(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[rig.Call]
) -> None:
    path = tmp_path_factory.mktemp("replay") / "f.telcap"
    recording = captures.Recording(path)
    async with recording.programmer() as programmer:
        recorded = await rig.make(programmer, wanted)
    recording.writer.close()
    if not read_capture(path).entries or wanted == [("release", wanted[0][1])]:
        return
    try:
        script = script_of(read_capture(path), "f")
    except UsageError:
        assert all(name == "release" for name, _ in wanted)
        return

    device = ReplayedPump(script, clock := ManualClock(), entropy=os.urandom)
    async with telemetry.connect(pump=Linked(device, clock)) as programmer:
        assert await rig.make(programmer, wanted) == recorded
    await rig.turns()
    assert device.found == []
    assert device.missing() == []
    assert device.finished.is_set()

    played = await _play(script, recording_pump := _pump(), exact=True)
    assert played.found == []
    assert recording_pump.status == recording.pump.status
    path.unlink()


@pytest.mark.parametrize("name", ["interrogation", "set-rate"])
async def test_a_fixture_played_at_its_own_pump_differs_in_nothing(name: str) -> None:
    script = _script(name)
    played = await _play(script, _pump(), exact=True)
    assert [str(one) for one in played.found] == []
    assert played.asked == len(script.exchanges)


async def test_a_recorded_change_is_a_true_change_on_a_pump_with_a_history() -> None:
    pump = _pump()
    async with telemetry.connect(pump=pump) as programmer:
        await programmer.set_rate(DailyDose.parse("350 ug/day"))
        await programmer.set_rate(DailyDose.parse("340 ug/day"))
    played = await _play(_script("set-rate"), pump)
    assert pump.status.dose_ng_per_day == 360_000
    # The pump left the works with a program that no image was sent for; the digest of ours is of its image.
    assert {one.field for one in played.found} <= {"reservoir_nl", "empty_in_s", "program_digest"}


async def test_a_resume_names_the_program_that_is_in_force_today(tmp_path: Path) -> None:
    recording = captures.Recording(tmp_path / "f")
    async with recording.programmer() as programmer:
        await programmer.stop()
        await programmer.resume()
    recording.writer.close()
    pump = _pump()
    async with telemetry.connect(pump=pump) as programmer:
        for dose in ("350 ug/day", "360 ug/day"):
            await programmer.set_rate(DailyDose.parse(dose))
    played = await _play(script_of(read_capture(tmp_path / "f"), "f"), pump)
    assert not any(one.note for one in played.found)
    assert pump.status.mode is PumpMode.SIMPLE_CONTINUOUS
    assert pump.status.dose_ng_per_day == 360_000


async def test_a_verdict_that_was_lost_when_recorded_is_not_missed() -> None:
    pump = _pump()
    played = await _play(_script("lost-verdict"), pump)
    assert {one.field for one in played.found} <= {"reservoir_nl"}  # in the recording the waiting took pump time
    assert pump.status.dose_ng_per_day == 360_000
    assert pump.status.program_sequence == 2


async def test_another_pump_is_told_field_by_field() -> None:
    pump = VirtualPump("itb-20", seed=3, serial="OTHER")
    played = await _play(_script("interrogation"), pump)
    told = {f"{one.message}.{one.field}" for one in played.found}
    assert {"Identity.serial", "Identity.model", "Identity.reservoir_capacity_nl"} <= told
    line = next(one for one in played.found if one.field == "serial")
    assert (line.what, line.recorded, line.now) == (What.ANSWER, "SIM-2026", "OTHER")
    assert str(line).startswith(f"line {line.line}: Identity.serial is OTHER, recorded SIM-2026")


async def test_strict_ends_at_the_first_difference() -> None:
    script = _script("interrogation")
    played = await _play(script, VirtualPump("itb-20", seed=3, serial="OTHER"), strict=True)
    assert played.asked < len(script.exchanges)
    assert played.found[-1].what is What.MISSING


@pytest.mark.parametrize(
    ("field", "wrong"), [("warnings", (Warn.STARTS_DELIVERY,)), ("image", b"\1" * 29), ("image_digest", bytes(32))]
)
async def test_a_read_back_of_something_else_is_never_committed(field: str, wrong: object) -> None:
    script = _script("set-rate")
    staged = next(one for one in script.exchanges if isinstance(one.answer, wire.Staged))
    committed = next(one for one in script.exchanges if isinstance(one.request, wire.Commit))
    mine = next(one for one in script.exchanges if one.number == committed.number - 1)
    assert isinstance(mine.answer, wire.Staged)
    mine.answer = replace(mine.answer, **{field: wrong})  # type: ignore[arg-type]
    pump = _pump()
    played = await _play(script, pump)
    assert pump.status.dose_ng_per_day == 340_000
    assert any("not sent" in one.note for one in played.found)
    assert staged.number < committed.number


async def test_a_change_without_an_answer_is_asked_for_and_told() -> None:
    pump = _pump()
    faults = FaultPlan.parse("drop:1@rx/VerdictReport*4", seed=1)
    script = _script("set-rate")
    lossy = _Lossy(pump, faults)
    played = await _play(script, pump, lossy.open)
    lost = next(one for one in played.found if one.now == "none")
    assert "the pump says: applied" in lost.note
    assert pump.status.dose_ng_per_day == 360_000


async def test_a_change_whose_outcome_nobody_tells_is_unknown() -> None:
    pump = _pump()
    lossy = _Lossy(pump, FaultPlan.parse("drop:1@rx/VerdictReport", seed=1))
    with pytest.raises(OutcomeUnknown):
        await _play(_script("set-rate"), pump, lossy.open)


class _Lossy:
    """A link that loses answers by name: the pump's own channel says which is which."""

    def __init__(self, pump: VirtualPump, plan: FaultPlan) -> None:
        self._pump = pump
        self._plan = plan

    async def open(self, receiver: Receiver) -> Transport:
        from telemetry.link import Inspector
        from telemetry.sim.connector import station_of
        from telemetry.transport.wrappers import Fault

        channel = station_of(self._pump).firmware.channel
        inspector = Inspector()
        inspector.look_into(channel.peek, channel.export_keys, lambda: channel.accepted)
        fault = Fault(self._plan, self._pump.clock, classifier=inspector.classify)
        fault.bind(receiver)
        fault.attach(await self._pump.open_link(fault))
        return fault


async def test_it_is_never_played_at_what_does_not_call_itself_simulated() -> None:
    class Silent(Talk):
        async def telemeter(self) -> wire.TelemeterReport:
            return replace(await super().telemeter(), simulated=False)

    pump = _pump()
    talk = Silent(pump.open_link, clock=pump.clock, entropy=os.urandom, utc_s=lambda: 0)
    with pytest.raises(UsageError, match="never played at hardware"):
        await Player(_script("set-rate"), talk, pump.clock, entropy=os.urandom).play()
    await talk.close()
    assert pump.status.dose_ng_per_day == 340_000


# --- as the device ---------------------------------------------------------------------------------------------------


async def test_another_dose_gets_the_recorded_read_back_and_the_driver_refuses_it() -> None:
    device = ReplayedPump(_script("set-rate"), clock := ManualClock(), entropy=os.urandom)
    async with telemetry.connect(pump=Linked(device, clock)) as programmer:
        with pytest.raises(Refused, match="read back another program"):
            await programmer.set_rate(DailyDose.parse("361 ug/day"))
    assert {one.field for one in device.found if one.what is What.REQUEST} == {"rate_nl_per_day", "dose_ng_per_day"}


async def test_strict_refuses_everything_from_the_first_difference_on() -> None:
    told: list[Difference] = []
    device = ReplayedPump(
        _script("interrogation"), clock := ManualClock(), entropy=os.urandom, strict=True, on_difference=told.append
    )
    async with telemetry.connect(pump=Linked(device, clock), role="observer") as programmer:
        with pytest.raises(Refused, match="unknown message"):
            await programmer.read_status()
        with pytest.raises(Refused, match="unknown message"):
            await programmer.read_identity()
    assert device.ended
    assert len(told) == 1
    assert told[0].note == "another message: ReadStatus"


async def test_what_was_left_out_and_what_came_on_top_is_told() -> None:
    device = ReplayedPump(_script("interrogation"), clock := ManualClock(), entropy=os.urandom)
    async with telemetry.connect(pump=Linked(device, clock), role="observer") as programmer:
        assert (await programmer.read_status()).rate_nl_per_day == 170_000
        assert (await programmer.read_status()).rate_nl_per_day == 170_000
        with pytest.raises(Refused, match="unknown message"):
            await programmer.outcome("00" * 16)
    names = [(one.what, one.message) for one in device.found]
    assert (What.MISSING, "ReadIdentity") in names
    assert (What.EXTRA, "ReadStatus") in names
    assert (What.EXTRA, "Query") in names
    assert as_json(device)["differing"] == device.differing + len(device.missing())


async def test_a_reading_too_many_does_not_jump_over_a_change() -> None:
    device = ReplayedPump(_script("set-rate"), clock := ManualClock(), entropy=os.urandom)
    async with telemetry.connect(pump=Linked(device, clock)) as programmer:
        for _ in range(4):  # the recorded programmer read twice before it changed anything
            await programmer.read_status()
        assert {one.what for one in device.found} == {What.EXTRA}
        with pytest.raises(Refused, match="daily_dose_change"):
            await programmer.set_rate(DailyDose.parse("680 ug/day"))
        assert {one.what for one in device.found} == {What.EXTRA}


async def test_a_commit_of_another_operation_than_was_staged_is_a_difference() -> None:
    script = _script("set-rate")
    device = ReplayedPump(script, clock := ManualClock(), entropy=os.urandom)
    talk = Talk(Linked(device, clock).open_link, clock=clock, entropy=os.urandom, utc_s=lambda: 0)
    await talk.open(Role.CLINICIAN)
    for one in script.exchanges:
        if isinstance(one.request, wire.Commit):
            await talk.ask(replace(one.request, op_id=b"\7" * 16))
            break
        await talk.ask(one.request)
    await talk.close()
    assert [(one.message, one.field) for one in device.found] == [("Commit", "op_id")]


async def test_another_role_is_a_difference() -> None:
    device = ReplayedPump(_script("interrogation"), clock := ManualClock(), entropy=os.urandom)
    async with telemetry.connect(pump=Linked(device, clock)) as programmer:
        await programmer.read_identity()
    assert (device.found[0].what, device.found[0].recorded, device.found[0].now) == (
        What.SESSION,
        "observer",
        "clinician",
    )


async def test_a_lost_answer_is_lost_again() -> None:
    device = ReplayedPump(_script("lost-verdict"), clock := ManualClock(), entropy=os.urandom)
    async with telemetry.connect(pump=Linked(device, clock)) as programmer:
        change = await programmer.set_rate(DailyDose.parse("360 ug/day"))  # asked for in a second session
        assert change.after.dose_ng_per_day == 360_000
        await programmer.read_status()
    await rig.turns()
    assert device.found == []
    assert device.channel.counters.sessions == 2
    assert device.finished.is_set()


async def test_the_clock_may_be_set_to_another_moment(tmp_path: Path) -> None:
    recording = captures.Recording(tmp_path / "f")
    async with recording.programmer() as programmer:
        await programmer.set_clock(captures.UTC_S, 60)
    recording.writer.close()
    device = ReplayedPump(script_of(read_capture(tmp_path / "f"), "f"), clock := ManualClock(), entropy=os.urandom)
    async with telemetry.connect(pump=Linked(device, clock)) as programmer:
        await programmer.set_clock(captures.UTC_S + 86_399, 60)
    assert device.found == []
    device = ReplayedPump(script_of(read_capture(tmp_path / "f"), "f"), clock := ManualClock(), entropy=os.urandom)
    async with telemetry.connect(pump=Linked(device, clock)) as programmer:
        with pytest.raises(Refused):
            await programmer.set_clock(captures.UTC_S, 120)
    assert device.found


async def test_contact_events_come_where_they_were(tmp_path: Path) -> None:
    del tmp_path
    device = ReplayedPump(_script("every-message"), clock := ManualClock(), entropy=os.urandom)
    seen: list[wire.ContactEvent] = []
    async with telemetry.connect(pump=Linked(device, clock)) as programmer:
        await programmer.watch_contact(seen.append)
        await rig.turns()
        assert [event.contact for event in seen] == [False, True]


async def test_answers_take_as_long_as_recorded_at_that_speed() -> None:
    script = _script("interrogation")
    for one in script.exchanges:
        one.took_ms = 200
    spans = []
    for speed in (1.0, 4.0, None):
        device = ReplayedPump(script, clock := ManualClock(), entropy=os.urandom, speed=speed)
        async with telemetry.connect(pump=Linked(device, clock), role="observer") as programmer:
            await programmer.read_identity()
            spans.append(clock.link_ms())
    assert spans == [200, 50, 0]


async def test_the_url_plays_and_reports(tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    url = f"replay:{FIXTURES / 'interrogation.telcap'}?report={report}"
    async with telemetry.connect(url, role="observer") as programmer:
        assert (await programmer.read_identity()).serial == "SIM-2026"
    await rig.turns()
    found = json.loads(report.read_text())
    assert (found["simulated"], found["as"], found["played"]) == (True, "device", 2)  # with CLOSE
    assert {one["what"] for one in found["differences"]} == {"missing"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("replay:", "which capture"),
        ("replay:/nowhere.telcap", "cannot be read"),
        ("replay:F?speed=0.5", "slower than recorded is not possible"),
        ("replay:F?speed=fast", "no number from 1"),
        ("replay:F?strict=maybe", "must be yes or no"),
        ("replay:F?link=7", "there is no link 7"),
        ("replay:F?pace=1", "has no parameter 'pace'"),
    ],
)
async def test_a_wrong_url_is_refused_with_what_is_right(url: str, said: str) -> None:
    place = url.replace("F", str(FIXTURES / "interrogation.telcap"))
    async with telemetry.connect(place) as programmer:
        with pytest.raises(UsageError, match=said):
            await programmer.read_status()


async def test_a_report_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    url = f"replay:{FIXTURES / 'interrogation.telcap'}?report={tmp_path / 'no' / 'r.json'}"
    async with telemetry.connect(url) as programmer:
        with pytest.raises(LinkError, match="cannot be written"):
            await programmer.read_status()


def test_speeds() -> None:
    assert speed_of("max", "x") is None
    assert speed_of("2.5", "x") == 2.5
    with pytest.raises(UsageError, match="x: 'nan'"):
        speed_of("nan", "x")


# --- what cannot be played -------------------------------------------------------------------------------------------


def _lines(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (FIXTURES / f"{name}.telcap").read_text().splitlines()]


def _write(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_capture_without_keys_is_played_by_what_was_recorded(tmp_path: Path) -> None:
    lines = [line for line in _lines("interrogation") if "keys" not in line]
    script = script_of(read_capture(_write(tmp_path / "f", lines)), "f")
    assert [one.request for one in script.exchanges] == [one.request for one in _script("interrogation").exchanges]


def test_a_capture_that_nobody_can_open_says_where_to_record(tmp_path: Path) -> None:
    lines = [{key: line[key] for key in line if key != "message"} for line in _lines("interrogation")]
    path = _write(tmp_path / "f", [line for line in lines if "keys" not in line])
    with pytest.raises(UsageError, match="none of its 18 sealed frames can be opened; record at the driver"):
        script_of(read_capture(path), "f")


def test_a_capture_of_another_wire_table_is_refused(tmp_path: Path) -> None:
    lines = _lines("interrogation")
    assert lines[0]["layout"] == LAYOUT
    lines[0]["layout"] = "00000001"
    with pytest.raises(UsageError, match="wire table 00000001, ours is"):
        script_of(read_capture(_write(tmp_path / "f", lines)), "f")


def test_an_older_capture_without_a_wire_table_is_played(tmp_path: Path) -> None:
    lines = _lines("interrogation")
    del lines[0]["layout"]
    for line in lines:  # nor did older recorders know what ACCEPT said
        if isinstance(line.get("message"), dict) and line["message"]["name"] == "AcceptPayload":  # type: ignore[index]
            del line["message"]
    script = script_of(read_capture(_write(tmp_path / "f", lines)), "f")
    assert script.sessions[0].accept is None
    assert script.pump_id.hex() == _script("interrogation").pump_id.hex()  # by Identity


async def test_a_capture_without_accept_is_played_with_what_can_be_gathered(tmp_path: Path) -> None:
    lines = [line for line in _lines("set-rate") if line.get("message", {}).get("name") != "AcceptPayload"]  # type: ignore[attr-defined]
    device = ReplayedPump(
        script_of(read_capture(_write(tmp_path / "f", lines)), "f"), clock := ManualClock(), entropy=os.urandom
    )
    async with telemetry.connect(pump=Linked(device, clock)) as programmer:
        assert (await programmer.read_status()).rate_nl_per_day == 170_000
    assert device.channel.accepted is not None
    assert device.channel.accepted.program_sequence == 1


async def test_the_traffic_of_two_pumps_must_be_chosen_from(tmp_path: Path) -> None:
    recording = captures.Recording(tmp_path / "other", seed=2)
    async with recording.programmer() as programmer:
        await programmer.read_identity()
    recording.writer.close()
    other = [json.loads(line) for line in (tmp_path / "other").read_text().splitlines()]
    second = [dict(line, link=2) if "link" in line else line for line in other[1:]]
    path = _write(tmp_path / "f", _lines("interrogation") + second)
    with pytest.raises(UsageError, match=r"traffic of 2 pumps .* choose a link"):
        script_of(read_capture(path), "f")
    assert len(script_of(read_capture(path), "f", link=1).exchanges) == 9


def test_interleaved_links_of_one_pump_are_told_apart(tmp_path: Path) -> None:
    first = _lines("interrogation")
    second = [dict(line, link=2) if "link" in line else line for line in first[1:]]
    mixed = [line for pair in zip(first[1:], second, strict=True) for line in pair]
    script = script_of(read_capture(_write(tmp_path / "f", first[:1] + mixed)), "f")
    assert len(script.sessions) == 2
    assert len(script.exchanges) == 18
    assert all(one.lost == 0 and one.answer is not None for one in script.exchanges)


def test_an_empty_capture_has_nothing_to_play(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no request to a pump"):
        script_of(read_capture(_write(tmp_path / "f", _lines("interrogation")[:1])), "f")


def test_a_capture_cut_in_mid_line_is_played_to_where_it_was_cut(tmp_path: Path) -> None:
    text = (FIXTURES / "interrogation.telcap").read_bytes()
    (tmp_path / "f").write_bytes(text[: len(text) * 2 // 3])
    script = script_of(read_capture(tmp_path / "f"), "f")
    assert script.torn is not None
    assert 0 < len(script.exchanges) < 9
