"""The event log: a ring on the medium, sequence numbers, a chain value, and a count of what was overwritten."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.model import LogCode, LogRecord, LogReport
from telemetry.sim.pump import records
from telemetry.sim.pump import state as st
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from telemetry.sim.pump.medium import Medium

HEAD_SIZE = 8
_PREFIX = "log_"
_GENESIS = bytes(HEAD_SIZE)


class EventLog:
    """The newest ``capacity`` records, numbered from 1, stamped with boot epoch and whole seconds of pump time."""

    KEYS = ("records", "newest_sequence", "head")

    def __init__(self, medium: Medium, capacity: int) -> None:
        self._medium = medium
        self._capacity = capacity
        self._records: deque[LogRecord] = deque(maxlen=capacity)
        self.head = _GENESIS
        self.newest_sequence = 0

    def append(self, boot_epoch: int, now_ms: int, code: LogCode, slot: int, detail: int, value: int) -> None:
        """Write one record to the medium, then keep it; raises ``PowerCut`` where power goes."""
        at_ms = now_ms - now_ms % MS_PER_SECOND
        record = LogRecord(self.newest_sequence + 1, boot_epoch, at_ms, code, slot, detail, value)
        head = records.digest_of(self.head + records.pack_log(record, self.head))[:HEAD_SIZE]
        self._medium.write(self._page(record.sequence), records.pack_log(record, head))
        self.newest_sequence = record.sequence
        self.head = head
        self._records.append(record)

    def report(self, from_sequence: int, max_records: int) -> LogReport:
        """Records from a sequence number on, oldest first, and how many were lost by overwriting."""
        first = self._records[0].sequence if self._records else 0
        start = max(0, from_sequence - first)
        picked = tuple(
            self._records[index]
            for index in range(min(start, len(self._records)), len(self._records))
            if self._records[index].sequence >= from_sequence
        )[:max_records]
        return LogReport(
            records=picked,
            oldest_sequence=first,
            newest_sequence=self.newest_sequence,
            overwritten=max(0, self.newest_sequence - self._capacity),
        )

    def load(self) -> tuple[str, ...]:
        """Read the ring back from the medium; returns the damaged pages, the one being written at a cut left out.

        Damaged pages are erased: their records are gone and the report shows the gap in the numbers.
        """
        found: dict[int, tuple[LogRecord, bytes]] = {}
        damaged: list[str] = []
        for page in self._medium.pages(_PREFIX):
            parsed = records.parse_log(self._medium.read(page))
            if parsed is None:
                damaged.append(page)
                self._medium.erase(page)
            else:
                found[parsed[0].sequence] = parsed
        self._records.clear()
        for sequence in sorted(found):
            self._records.append(found[sequence][0])
        self.newest_sequence, self.head = 0, _GENESIS
        if found:
            self.newest_sequence = max(found)
            self.head = found[self.newest_sequence][1]
        torn = self._page(self.newest_sequence + 1)
        return tuple(page for page in damaged if page != torn)

    def snapshot(self) -> st.State:
        """JSON-able state; the records themselves lie on the medium as well, which may be damaged meanwhile."""
        return {
            "records": [records.pack_log(record, _GENESIS).hex() for record in self._records],
            "newest_sequence": self.newest_sequence,
            "head": self.head.hex(),
        }

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, self.KEYS)
        self._records.clear()
        for item in st.items(state, "records", where):
            parsed = records.parse_log(st.octets({"record": item}, "record", where))
            if parsed is None:
                raise UsageError(f"snapshot {where}.records: a record whose check value does not hold")
            self._records.append(parsed[0])
        self.newest_sequence = st.integer(state, "newest_sequence", where)
        self.head = st.octets(state, "head", where)

    def _page(self, sequence: int) -> str:
        return f"{_PREFIX}{(sequence - 1) % self._capacity:04d}"
