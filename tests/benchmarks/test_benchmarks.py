"""The benchmarks run, say what they claim to say, and compare like with like. Nothing here depends on speed."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from benchmarks import codec, harness, import_time, peers, recovery, round_trip, run, session
from benchmarks.samples import STATUS
from telemetry.protocol.frame import Frame, encode_frame, encode_stream
from telemetry.protocol.wire import FrameType

if TYPE_CHECKING:
    from pathlib import Path

TINY = harness.Plan(rounds=2, divisor=1_000)


def names(result: harness.Result) -> set[str]:
    return {claim.says for claim in result.claims}


@pytest.mark.parametrize("name", ["codec", "recovery", "session", "lossy_campaign", "pump_life", "flow"])
def test_a_benchmark_in_one_process_is_sound(name: str) -> None:
    result = import_module(f"benchmarks.{name}").run(TINY)
    assert result.name == name
    assert result.sound, [claim for claim in result.claims if not claim.met]
    assert result.figures
    json.dumps(result.figures)


@pytest.mark.real
@pytest.mark.parametrize("name", ["round_trip", "leaks", "import_time", "ble", "mqtt"])
def test_a_benchmark_with_real_links_is_sound(name: str) -> None:
    result = import_module(f"benchmarks.{name}").run(TINY)
    assert result.sound, [claim for claim in result.claims if not claim.met]
    json.dumps(result.figures)


def test_the_floor_of_the_codec_does_the_same_work() -> None:
    data = codec.encode_ours()
    floor = codec.Floor(data)
    assert floor.encode() == data
    decoded = floor.decode()
    assert (decoded.rate_nl_per_day, decoded.reservoir_nl, decoded.program_digest, decoded.now_s) == (
        STATUS.rate_nl_per_day,
        STATUS.reservoir_nl,
        STATUS.program_digest,
        STATUS.now_s,
    )
    assert decoded.alarm_sequence == STATUS.alarm_sequence


def test_the_floor_refuses_a_wrong_sum_and_a_wrong_size() -> None:
    data = codec.encode_ours()
    floor = codec.Floor(data)
    floor.data = recovery.flip(data, 77)
    with pytest.raises(ValueError, match="check sum"):
        floor.decode()
    with pytest.raises(ValueError, match="the frame has"):
        codec.Floor(data + b"\0")


def test_construct_decodes_the_same_values() -> None:
    data = codec.encode_ours()
    assert codec.ByConstruct(data).decode() == codec.Floor(data).decode()


async def test_the_echo_moves_exactly_our_bytes() -> None:
    channels = session.Channels()
    sent: list[bytes] = []
    channels.on_frame = sent.append
    channels.handshake()
    sent.clear()
    channels.exchange()
    sizes = peers.Sizes.of_ours()
    assert [len(encode_stream(frame)) for frame in sent] == [sizes.request, sizes.answer]


@pytest.mark.real
async def test_every_peer_carries_the_payload_there_and_back() -> None:
    sizes = peers.Sizes.of_ours()
    timings = await round_trip.measure(round_trip.contestants(sizes), TINY)
    assert set(timings) == set(round_trip.contestants(sizes))
    assert all(len(timing.rounds_ns) == TINY.rounds for timing in timings.values())
    assert peers.Modbus(sizes).registers * 2 >= sizes.status_body > (peers.Modbus(sizes).registers - 1) * 2


def test_a_contestant_that_was_not_opened_says_so() -> None:
    contestants = round_trip.contestants(peers.Sizes.of_ours())
    for contestant in contestants.values():
        with pytest.raises(RuntimeError, match="not"):
            contestant.once().send(None)


@pytest.mark.parametrize("percent", recovery.DAMAGED_PERCENT)
def test_the_stream_is_damaged_as_stated(percent: int) -> None:
    stream = recovery.make_stream(200, percent)
    assert len(stream.sent) - len(stream.undamaged) == 2 * percent
    assert len(set(stream.sent)) == 200
    whole = b"".join(encode_stream(encode_frame(frame)) for frame in stream.sent)
    assert sum(a != b for a, b in zip(whole, stream.data, strict=True)) == 2 * percent


def test_recovery_counts_what_is_missing_and_what_is_strange() -> None:
    one, two, three, strange = (Frame(FrameType.RSP, 0, bytes([number])) for number in range(4))
    assert recovery.in_order([one, two, three], [one, two, three]) == (3, 0)
    assert recovery.in_order([one, three], [one, two, three]) == (2, 0)
    assert recovery.in_order([one, strange], [one, two]) == (1, 1)
    assert recovery.in_order([two, one], [one, two]) == (1, 1)


def test_chunks_put_together_are_the_stream() -> None:
    data = bytes(range(256)) * 9
    for size in recovery.CHUNKS.values():
        assert b"".join(recovery.cut(data, size)) == data


def test_pymodbus_recovers_everything_from_a_clean_stream() -> None:
    pieces, hit = recovery.modbus_stream(50, 0)
    found = recovery.recover_modbus(pieces, hit)
    assert (found.good, found.missed, found.false_accepts) == (50, 0, 0)


def test_statistics_are_those_of_the_samples() -> None:
    timing = harness.Timing(((1_000, 2_000, 3_000), (4_000, 5_000, 90_000)))
    assert timing.medians_us == [2.0, 5.0]
    assert timing.median_us == 3.5
    assert timing.percentile_us(99) == 90.0
    assert timing.percentile_us(50) == 3.0
    figures = timing.as_figures()
    assert figures["samples"] == 6
    assert figures["spread"] == pytest.approx(3 / 3.5, rel=1e-3)


def test_ratios_are_taken_round_by_round() -> None:
    fast = harness.Timing(((1_000,), (4_000,), (9_000,)))
    slow = harness.Timing(((2_000,), (4_000,), (12_000,)))
    assert harness.median_ratio(fast, slow) == 0.75
    assert harness.ratio(fast, slow)["rounds"] == [0.5, 1.0, 0.75]
    with pytest.raises(ValueError, match="rounds"):
        harness.ratio(fast, harness.Timing(((1,),)))


def test_nobody_always_goes_first() -> None:
    assert [harness.in_turns("abc", turn)[0] for turn in range(4)] == ["a", "b", "c", "a"]
    assert sorted(harness.in_turns("abc", 2)) == ["a", "b", "c"]


def test_a_missed_speed_is_sound() -> None:
    result = harness.Result("x")
    result.speed("slow", 4.0, 3.0, "x")
    assert result.sound
    assert "[MISSED] slow" in run.describe(result)


def test_a_failed_fact_is_not_sound() -> None:
    result = harness.Result("x")
    result.fact("leaks", 1)
    assert not result.sound
    assert "[FAILED] leaks" in run.describe(result)


def test_a_result_is_kept_with_what_it_was_measured_on(tmp_path: Path) -> None:
    result = harness.Result("x", {"median_us": 1.5})
    result.fact("leaks", 0)
    path = harness.store(
        result, command="python benchmarks/run.py x", plan=harness.FULL, date="2026-11-22", folder=tmp_path / "new"
    )
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["environment"]["date"] == "2026-11-22"
    assert kept["environment"]["packages"]["pymodbus"][0].isdigit()
    assert kept["claims"][0] == {
        "says": "leaks",
        "kind": "fact",
        "measured": 0,
        "limit": 0,
        "unit": "",
        "met": True,
    }
    assert str(harness.ROOT) not in path.read_text(encoding="utf-8")


def test_the_command_runs_what_it_names_and_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "QUICK", TINY)
    assert run.main(["recovery", "--quick", "--store", "--results", str(tmp_path), "--date", "2026-11-22"]) == 0
    assert (
        json.loads((tmp_path / "recovery.json").read_text())["command"] == "python benchmarks/run.py recovery --quick"
    )
    assert "[met] undamaged frames missed" in capsys.readouterr().out


def test_a_quick_run_leaves_the_kept_results_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "QUICK", TINY)
    assert run.main(["recovery", "--quick", "--results", str(tmp_path)]) == 0
    assert not list(tmp_path.iterdir())


def test_an_unsound_benchmark_ends_with_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "QUICK", TINY)
    monkeypatch.setattr(recovery, "recover", lambda *_: recovery.Recovered(0, 1, 0, 1))
    assert run.main(["recovery", "--quick"]) == run.EXIT_UNSOUND


@pytest.mark.parametrize(("argument", "says"), [("nothing", "round_trip"), ("--date=tomorrow", "2026-11-22")])
def test_a_wrong_argument_is_told_what_would_be_right(
    argument: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run.main([argument])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_import_telemetry_is_held_against_a_list_that_can_bite() -> None:
    assert "asyncio" in import_time.HEAVY
    assert "cryptography" in import_time.HEAVY
