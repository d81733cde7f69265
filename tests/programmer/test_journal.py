"""The driver's journal: what it remembers over crashes, torn lines, second programmers and restored backups."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from telemetry.errors import SecurityError, UsageError
from telemetry.programmer import journal as journal_module
from telemetry.programmer.journal import (
    FileJournal,
    FileJournalStore,
    JournalEntry,
    MemoryJournal,
    MemoryJournalStore,
    Stage,
    acked_through,
    default_folder,
    moved_to,
    next_counter,
    unresolved,
)

if TYPE_CHECKING:
    from pathlib import Path


def entry(counter: int, stage: Stage = Stage.PENDING) -> JournalEntry:
    op_id = counter.to_bytes(8, "little") + bytes([counter]) * 8
    return JournalEntry(op_id.hex(), counter, "program", "0.150 ml/day", "00" * 32, stage)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "pump.jsonl"


@pytest.mark.inv(26)
def test_inv_26_a_line_is_on_the_medium_before_record_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        synced.append(path.read_bytes() if path.exists() else b"")

    monkeypatch.setattr(os, "fsync", fsync)
    book = FileJournal(path)
    book.record(entry(1))
    assert synced, "record returned without flushing"
    assert b'"counter":1' in synced[0]
    assert len(synced) == 2, "the folder entry of a new file must be flushed too"
    book.record(moved_to(entry(1), Stage.SENT))
    assert synced[-1].count(b"\n") == 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_another_reader_sees_the_latest_state_of_each_operation(path: Path) -> None:
    book = FileJournal(path)
    for line in (entry(2), entry(1), moved_to(entry(2), Stage.SENT), moved_to(entry(1), Stage.APPLIED, "ok")):
        book.record(line)
    for reader in (book, FileJournal(path)):
        assert [(e.counter, e.stage, e.note) for e in reader.entries()] == [
            (1, Stage.APPLIED, "ok"),
            (2, Stage.SENT, ""),
        ]
        assert [e.counter for e in unresolved(reader)] == [2]


def test_two_writers_see_each_other(path: Path) -> None:
    mine, theirs = FileJournal(path), FileJournal(path)
    mine.record(entry(1, Stage.APPLIED))
    theirs.record(entry(2, Stage.SENT))
    assert next_counter(mine, 0) == 3
    assert [e.counter for e in mine.entries()] == [1, 2]


def test_a_torn_last_line_was_never_acted_on(path: Path) -> None:
    FileJournal(path).record(entry(1, Stage.APPLIED))
    sound = path.read_bytes()
    path.write_bytes(sound + sound[: len(sound) // 2])
    book = FileJournal(path)
    assert [e.counter for e in book.entries()] == [1]
    book.record(entry(2))
    assert path.read_bytes().startswith(sound)
    assert [e.counter for e in FileJournal(path).entries()] == [1, 2]


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"{}",
        b"[]",
        b'{"format":9,"op_id":"00","counter":1,"kind":"","intent":"","digest":"","stage":"sent"}',
        b'{"format":1,"op_id":"00","counter":"1","kind":"","intent":"","digest":"","stage":"sent"}',
        b'{"format":1,"op_id":"00","counter":1,"kind":"","intent":"","digest":"","stage":"elsewhere"}',
        b'{"format":1,"op_id":"00"}',
    ],
)
def test_a_broken_line_stops_everything(path: Path, line: bytes) -> None:
    FileJournal(path).record(entry(1))
    path.write_bytes(path.read_bytes() + line + b"\n" + path.read_bytes())
    with pytest.raises(SecurityError, match="line 2: unreadable"):
        FileJournal(path).entries()


def test_a_journal_that_cannot_be_read_or_written_stops_everything(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(SecurityError, match="cannot be read"):
        FileJournal(path).entries()


def test_a_full_disk_is_no_silent_loss(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _data: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SecurityError, match="No space left"):
        FileJournal(path).record(entry(1))


def test_numbers_rise_above_journal_and_pump() -> None:
    book = MemoryJournal()
    assert next_counter(book, 0) == 1
    assert next_counter(book, 41) == 42, "a journal restored from a backup would repeat numbers"
    book.record(entry(50, Stage.APPLIED))
    assert next_counter(book, 41) == 51


def test_acknowledged_up_to_the_oldest_unknown_operation() -> None:
    book = MemoryJournal()
    assert acked_through(book, 1) == 0
    for counter, stage in ((1, Stage.APPLIED), (2, Stage.SENT), (3, Stage.REFUSED)):
        book.record(entry(counter, stage))
    assert acked_through(book, 4) == 1
    book.record(entry(2, Stage.SETTLED))
    assert acked_through(book, 4) == 3


@pytest.mark.real
async def test_the_lock_keeps_a_second_programmer_out_and_is_given_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_LOCK_TRIES", 2)
    monkeypatch.setattr(journal_module, "_LOCK_PAUSE_MS", 1)
    book = FileJournal(path)
    async with book.locked():
        with pytest.raises(UsageError, match="another programmer on this machine"):
            async with FileJournal(path).locked():
                pytest.fail("two programmers held one journal")
    async with FileJournal(path).locked():
        descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


def test_stores_give_one_journal_per_pump_and_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = FileJournalStore(tmp_path)
    files.journal(b"pump-one", 3).record(entry(1))
    files.journal(b"pump-two", 3).record(entry(7))
    assert files.journal(b"pump-one", 3) is files.journal(b"pump-one", 3)
    assert [e.counter for e in files.journal(b"pump-one", 3).entries()] == [1]
    assert files.journal(b"pump-one", 4).entries() == []
    memory = MemoryJournalStore()
    memory.journal(b"pump-one", 3).record(entry(9))
    assert [e.counter for e in memory.journal(b"pump-one", 3).entries()] == [9]
    assert memory.journal(b"pump-one", 2).entries() == []
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "itb-telemetry" / "journal"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert FileJournalStore().folder == tmp_path / "home" / ".local" / "state" / "itb-telemetry" / "journal"
