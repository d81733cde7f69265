"""The simulated non-volatile medium: named pages, writes that tear where power is cut, bits that flip, pages that wear.

It is injected into the pump, so that a test can cut power at any byte of any write (INV-29), flip any bit of any
record (INV-34), let writes fail in silence and let pages grow old.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from telemetry.errors import TelemetryError, UsageError
from telemetry.sim.pump import state as st

if TYPE_CHECKING:
    from collections.abc import Mapping

ERASED = 0xFF
WRITES_PER_STUCK_BIT = 1_000
"""A worn page loses one bit at its endurance and one more every so many writes after it (an estimate)."""


class PowerCut(TelemetryError):
    """Power was lost during a write; nothing after that byte happened. The device must be booted again."""


@dataclass(slots=True)
class _Failing:
    """The next ``left`` writes of pages that begin with ``prefix`` fail: not done at all, or ``torn`` in the middle."""

    left: int
    prefix: str
    torn: bool


class Medium:
    """Pages of bytes by name. A write erases the page, then programs it byte by byte.

    A page that was never written reads as ``b""``. ``endurance_writes``: how often a page can be written before its
    first bit sticks, which one follows from ``seed``; None: for ever. Raises ``PowerCut`` from ``write`` where
    ``arm_cut`` says.
    """

    KEYS = ("pages", "writes", "endurance_writes", "seed", "failing", "bytes_written")

    def __init__(
        self, pages: Mapping[str, bytes] | None = None, *, endurance_writes: int | None = None, seed: int = 0
    ) -> None:
        self._pages: dict[str, bytes] = dict(pages or {})
        self._writes: dict[str, int] = {}
        self._bytes_left: int | None = None
        self._keep_old = False
        self._failing: list[_Failing] = []
        self.endurance_writes = endurance_writes
        self.seed = seed
        self.bytes_written = 0

    def read(self, page: str) -> bytes:
        """The page's bytes; ``b""`` when it was never written."""
        return self._pages.get(page, b"")

    def write(self, page: str, data: bytes) -> None:
        """Erase and program one page; raises ``PowerCut`` when power was armed to go within it."""
        left = self._bytes_left
        if left is not None and left < len(data):
            self._bytes_left = None
            self.bytes_written += left
            self._pages[page] = self._torn(self.read(page), data, left)
            raise PowerCut(f"power was cut after {left} of {len(data)} bytes of page {page}")
        if left is not None:
            self._bytes_left = left - len(data)
        self.bytes_written += len(data)
        self._writes[page] = self._writes.get(page, 0) + 1
        failing = self._fails(page) if self._failing else None
        if failing is None:
            self._pages[page] = self._worn(page, data)
        elif failing.torn:
            self._pages[page] = self._worn(page, self._torn(self.read(page), data, len(data) // 2))

    def _torn(self, old: bytes, new: bytes, written: int) -> bytes:
        rest = len(new) - written
        tail = old[written : len(new)] if self._keep_old else b""
        return new[:written] + tail + bytes([ERASED]) * (rest - len(tail))

    def _fails(self, page: str) -> _Failing | None:
        for failing in self._failing:
            if page.startswith(failing.prefix):
                failing.left -= 1
                if not failing.left:
                    self._failing.remove(failing)
                return failing
        return None

    def _worn(self, page: str, data: bytes) -> bytes:
        """What a page holds of what it is given, once it was written too often: single bits stick where they are."""
        if self.endurance_writes is None or not data:
            return data
        over = self._writes[page] - self.endurance_writes
        held = bytearray(data)
        for number in range(over // WRITES_PER_STUCK_BIT + 1 if over > 0 else 0):
            picked = hashlib.sha256(f"wear {self.seed} {page} {number}".encode()).digest()
            bit = int.from_bytes(picked[:8], "little") % (8 * len(data))
            mask = 1 << (bit & 7)
            held[bit >> 3] = held[bit >> 3] | mask if picked[8] & 1 else held[bit >> 3] & ~mask
        return bytes(held)

    def erase(self, page: str) -> None:
        """Forget a page whose content is known to be worthless."""
        self._pages.pop(page, None)

    def arm_cut(self, after_bytes: int, *, keep_old: bool = False) -> None:
        """Cut power after so many more written bytes.

        ``keep_old``: the bytes not reached still hold what was there before (overwritten in place) instead of
        reading erased. Raises ``UsageError`` for a negative count.
        """
        if after_bytes < 0:
            raise UsageError(f"after_bytes: {after_bytes} is negative; 0 cuts at the next byte written")
        self._bytes_left, self._keep_old = after_bytes, keep_old

    def disarm(self) -> None:
        """Take an armed cut back."""
        self._bytes_left = None

    def fail_writes(self, count: int, prefix: str = "", *, torn: bool = False) -> None:
        """Let the next ``count`` writes of pages that begin so fail, and say nothing.

        The old content stays; ``torn``: half of the new one is written and the rest reads erased. Raises
        ``UsageError`` for a count below 1.
        """
        if count < 1:
            raise UsageError(f"count: {count} is below 1; heal_writes() ends what was armed")
        self._failing.append(_Failing(count, prefix, torn))

    def heal_writes(self) -> None:
        """Let no more writes fail."""
        self._failing.clear()

    def wear(self, page: str, writes: int) -> None:
        """Count a page as written so many times more; raises ``UsageError`` for a negative count."""
        if writes < 0:
            raise UsageError(f"writes: {writes} is negative; a page grows no younger")
        self._writes[page] = self.writes(page) + writes

    def writes(self, page: str) -> int:
        """How often a page was written."""
        return self._writes.get(page, 0)

    def flip_bit(self, page: str, bit: int) -> None:
        """Flip one bit of a written page; raises ``UsageError`` naming the pages, or the page's bits."""
        data = self._pages.get(page)
        if data is None:
            raise UsageError(f"page: {page!r} is not a written page; written pages: {', '.join(self.pages())}")
        if not 0 <= bit < 8 * len(data):
            raise UsageError(f"bit: {bit} is outside page {page} (0 to {8 * len(data) - 1})")
        index, mask = bit >> 3, 1 << (bit & 7)
        self._pages[page] = data[:index] + bytes([data[index] ^ mask]) + data[index + 1 :]

    def pages(self, prefix: str = "") -> tuple[str, ...]:
        """Names of the written pages that begin so, sorted."""
        return tuple(sorted(page for page in self._pages if page.startswith(prefix)))

    @property
    def blank(self) -> bool:
        """Whether nothing was ever written."""
        return not self._pages

    def copy(self) -> Medium:
        """Another medium with the same content and wear, and nothing armed."""
        other = Medium(self._pages, endurance_writes=self.endurance_writes, seed=self.seed)
        other._writes = dict(self._writes)
        return other

    def snapshot(self) -> st.State:
        """Pages as hexadecimal text, wear, and failures to come; an armed cut of power is not kept."""
        return {
            "pages": {page: self._pages[page].hex() for page in self.pages()},
            "writes": dict(sorted(self._writes.items())),
            "endurance_writes": self.endurance_writes,
            "seed": self.seed,
            "failing": [asdict(failing) for failing in self._failing],
            "bytes_written": self.bytes_written,
        }

    @classmethod
    def restore(cls, value: object) -> Medium:
        """The medium of a snapshot; raises ``UsageError`` naming what is wrong with it."""
        where = "medium"
        state = st.table(value, where, cls.KEYS)
        pages, writes = state["pages"], state["writes"]
        if not isinstance(pages, dict) or not isinstance(writes, dict):
            raise UsageError(f"snapshot {where}: pages and writes must be tables")
        content = {str(page): st.octets(pages, page, f"{where}.pages") for page in pages}
        medium = cls(
            content,
            endurance_writes=st.instant(state, "endurance_writes", where),
            seed=st.integer(state, "seed", where),
        )
        medium._writes = {str(page): st.integer(writes, page, f"{where}.writes") for page in writes}
        for item in st.items(state, "failing", where):
            one = st.table(item, f"{where}.failing", ("left", "prefix", "torn"))
            at = f"{where}.failing"
            medium._failing.append(
                _Failing(st.integer(one, "left", at, least=1), st.text(one, "prefix", at), st.flag(one, "torn", at))
            )
        medium.bytes_written = st.integer(state, "bytes_written", where)
        return medium
