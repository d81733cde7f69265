"""The spool: what is put is there after any crash, in order; what is broken is said, never guessed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.publish import spool as spool_module
from telemetry.publish.memory import Memory, PumpMemory, read_memory
from telemetry.publish.messages import Message
from telemetry.publish.spool import Bounds, Spool
from telemetry.publish.topics import Kind

if TYPE_CHECKING:
    from pathlib import Path

GATEWAY = "0123456789abcdef"
KEYS = ("gateway_id", "sequence", "event_sequence", "lost_alarm_events", "current", "pumps", "other")
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=12,
)


def opened(folder: Path, bounds: Bounds | None = None) -> Spool:
    return Spool(folder, bounds, gateway_id=lambda: GATEWAY)


def message(number: int, kind: Kind = Kind.LOG, size: int = 10, topic: str = "") -> Message:
    return Message(number, kind, topic or f"ward/pump/1/{kind.value}", "x" * size)


def memory(sequence: int) -> Memory:
    return Memory(GATEWAY, sequence=sequence)


def numbers(spool: Spool) -> list[int]:
    return [one.sequence for one in spool.waiting()]


def test_what_waits_is_there_after_a_crash(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.put([message(1), message(2), message(3)], memory(4))
        spool.acknowledge(1)
    with opened(tmp_path) as spool:
        assert numbers(spool) == [2, 3]
        assert spool.memory == memory(4)


def test_a_file_is_its_users_alone(tmp_path: Path) -> None:
    with opened(tmp_path / "new" / "folder") as spool:
        assert stat.S_IMODE((spool.folder / "spool.jsonl").stat().st_mode) == 0o600
        assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700


def test_two_gateways_do_not_share_a_spool(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(UsageError, match=r"another gateway holds it.*--spool"):
        opened(tmp_path)
    opened(tmp_path).close()


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used"):
        opened(tmp_path / "file")


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, cut: int) -> None:
    with opened(tmp_path) as spool:
        spool.put([message(1)], memory(2))
        whole = (tmp_path / "spool.jsonl").stat().st_size
        spool.put([message(2)], memory(3))
    file = tmp_path / "spool.jsonl"
    os.truncate(file, max(whole + 1, file.stat().st_size - cut))
    with opened(tmp_path) as spool:
        assert numbers(spool) == [1]
        assert spool.memory == memory(2)
        assert spool.cut_bytes > 0
        spool.put([message(2)], memory(3))
    with opened(tmp_path) as spool:
        assert numbers(spool) == [1, 2]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"format":2}\n', "format is 2"),
        (b'{"format":1}\nnonsense\n', "line 2"),
        (b'{"format":1}\n{"put":[]}\n', "memory"),
        (b'{"format":1}\n{"put":[{"n":"1","kind":"log","topic":"t","payload":""}],"memory":{}}\n', "no number"),
        (b'{"format":1}\n{"put":[{"n":1,"kind":"order","topic":"t","payload":""}],"memory":{}}\n', "order"),
        (b'{"format":1}\n{"ack":true}\n', "no number"),
        (b"[]\n", "unreadable"),
        (b'{"format":1}\n' + b"[" * 100_000 + b"\n", "line 2"),
    ],
)
def test_a_file_that_is_broken_elsewhere_is_refused_with_what_to_do(tmp_path: Path, line: bytes, why: str) -> None:
    (tmp_path / "spool.jsonl").write_bytes(line)
    with pytest.raises(UsageError, match=f"{why}.*|keep the file aside") as refused:
        opened(tmp_path)
    assert "keep the file aside" in str(refused.value)
    (tmp_path / "spool.jsonl").unlink()
    opened(tmp_path).close()


@given(data=st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_a_spool_or_a_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "spool.jsonl").write_bytes(data)
    with contextlib.suppress(UsageError), opened(tmp_path) as spool:
        assert numbers(spool) == []


@given(found=JUNK)
def test_any_memory_is_read_or_refused(found: object) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(read_memory(found), Memory)


def test_a_memory_comes_back_as_it_was() -> None:
    made = memory(7).with_pump("key", PumpMemory(3, 4, {"motor_stall": {"count": 1}}, {"drug": "baclofen"}, 5))
    assert read_memory(json.loads(json.dumps(made.plain()))) == made


def test_only_so_many_pumps_are_remembered_and_the_oldest_is_forgotten() -> None:
    made = memory(1)
    for number in range(70):
        made = made.with_pump(str(number), PumpMemory(log_next=number))
    assert len(made.pumps) == 64
    assert next(iter(made.pumps)) == "6"


def test_a_state_takes_the_place_of_an_older_one_on_its_topic(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.put([message(1, Kind.STATUS), message(2, Kind.LOG), message(3, Kind.ALARM)], memory(4))
        spool.put([message(4, Kind.STATUS), message(5, Kind.LOG), message(6, Kind.STATUS, topic="other")], memory(7))
        assert numbers(spool) == [2, 3, 4, 5, 6]
    with opened(tmp_path) as spool:
        assert numbers(spool) == [2, 3, 4, 5, 6]


def test_a_full_spool_gives_up_the_status_first_and_then_the_oldest_alarm_event(tmp_path: Path) -> None:
    with opened(tmp_path, Bounds(messages=100)) as spool:
        spool.put([message(1, Kind.STATUS), *(message(n, Kind.LOG) for n in range(2, 77))], memory(77))
        assert spool.log_room().messages == 0
        spool.put([message(n, Kind.ALARM) for n in range(77, 101)], memory(101))
        assert numbers(spool)[0] == 1
        spool.put([message(101, Kind.ALARM)], memory(102))
        assert numbers(spool)[0] == 2
        assert spool.memory.lost_alarm_events == 0
        spool.put([message(102, Kind.ALARM), message(103, Kind.ALARM)], spool.memory)
        assert spool.memory.lost_alarm_events == 2
        assert [n for n in range(2, 104) if n not in numbers(spool)] == [77, 78]
    with opened(tmp_path, Bounds(messages=100)) as spool:
        assert len(spool) == 100
        assert spool.memory.lost_alarm_events == 2


def test_bytes_are_bounded_too(tmp_path: Path) -> None:
    bounds = Bounds(size_bytes=1 << 18)
    with opened(tmp_path, bounds) as spool:
        for number in range(1, 60):
            spool.put([message(number, Kind.ALARM, size=10_000)], memory(number + 1))
        assert spool.waiting_bytes <= bounds.size_bytes
        assert (tmp_path / "spool.jsonl").stat().st_size < 4 << 20


@pytest.mark.parametrize("bad", [{"messages": 99}, {"messages": 10**7}, {"size_bytes": 1000}, {"size_bytes": 1 << 40}])
def test_bounds_that_cannot_be_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="is outside"):
        Bounds(**bad)


def test_the_file_does_not_grow_with_what_is_long_gone(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for first in range(1, 6_000, 100):
            spool.put([message(number, size=900) for number in range(first, first + 100)], memory(first + 100))
            for number in range(first, first + 100):
                spool.acknowledge(number)
        assert (tmp_path / "spool.jsonl").stat().st_size < 3 << 20


def test_a_disk_that_is_full_loses_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = spool_module._write_all

    def full(descriptor: int, data: bytes) -> None:
        real(descriptor, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with opened(tmp_path) as spool:
        spool.put([message(1)], memory(2))
        monkeypatch.setattr(spool_module, "_write_all", full)
        spool.put([message(2)], memory(3))
        spool.put([message(3)], memory(4))
        assert "No space" in spool.problem
        assert numbers(spool) == [1, 2, 3]
        monkeypatch.setattr(spool_module, "_write_all", real)
        spool.put([message(4)], memory(5))
        assert spool.problem == ""
    with opened(tmp_path) as spool:
        assert numbers(spool) == [1, 2, 3, 4]


def test_a_disk_that_is_full_from_the_start_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(spool_module, "_write_all", full)
    with pytest.raises(UsageError, match=r"No space.*--spool"):
        opened(tmp_path)


@given(
    acts=st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.lists(st.sampled_from(list(Kind)), min_size=1, max_size=4)),
            st.tuples(st.just("ack"), st.integers(0, 3)),
            st.tuples(st.just("crash"), st.integers(0, 30)),
        ),
        max_size=25,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_life_keeps_order_and_every_event(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, list[Kind] | int]]
) -> None:
    """Against a model: the events put and not acknowledged, and of each state the newest."""
    folder = tmp_path_factory.mktemp("spool")
    spool = opened(folder)
    model: dict[int, Kind] = {}
    number = 0
    try:
        for act, what in acts:
            if act == "put":
                assert isinstance(what, list)
                made = [message(number + place, kind) for place, kind in enumerate(what, start=1)]
                number += len(made)
                for one in made:
                    if not one.event:
                        model = {n: kind for n, kind in model.items() if kind is not one.kind}
                    model[one.sequence] = one.kind
                spool.put(made, memory(number + 1))
            elif act == "ack":
                assert isinstance(what, int)
                for gone in list(model)[:what]:
                    spool.acknowledge(gone)
                    del model[gone]
            else:
                assert isinstance(what, int)
                spool.close()
                file = folder / "spool.jsonl"
                with file.open("ab") as torn:
                    torn.write(b'{"put":[{"n":99999'[: what // 2])
                spool = opened(folder)
            assert numbers(spool) == list(model)
            assert spool.waiting_bytes == sum(one.size_bytes for one in spool.waiting())
    finally:
        spool.close()


def test_what_is_put_is_on_the_medium_before_anything_can_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        flushed.append(os.fstat(descriptor).st_size)

    with opened(tmp_path) as spool:
        monkeypatch.setattr(os, "fsync", fsync)
        spool.put([message(1, size=5_000)], memory(2))
        assert flushed[-1] == (tmp_path / "spool.jsonl").stat().st_size > 5_000
        flushed.clear()
        spool.acknowledge(1)
        assert flushed == []  # losing an acknowledgement costs a double, which its id tells
