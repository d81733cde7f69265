"""The simulated non-volatile medium: named pages, writes that tear where power is cut, bits that flip.

It is injected into the pump, so that a test can cut power at any byte of any write (INV-29) and flip any bit of any
record (INV-34).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import TelemetryError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

ERASED = 0xFF


class PowerCut(TelemetryError):
    """Power was lost during a write; nothing after that byte happened. The device must be booted again."""


class Medium:
    """Pages of bytes by name. A write erases the page, then programs it byte by byte.

    A page that was never written reads as ``b""``. Raises ``PowerCut`` from ``write`` where ``arm_cut`` says.
    """

    def __init__(self, pages: Mapping[str, bytes] | None = None) -> None:
        self._pages: dict[str, bytes] = dict(pages or {})
        self._bytes_left: int | None = None
        self._keep_old = False
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
        self._pages[page] = data

    def _torn(self, old: bytes, new: bytes, written: int) -> bytes:
        rest = len(new) - written
        tail = old[written : len(new)] if self._keep_old else b""
        return new[:written] + tail + bytes([ERASED]) * (rest - len(tail))

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
        """Another medium with the same content and no cut armed."""
        return Medium(self._pages)

    def snapshot(self) -> dict[str, str]:
        """Pages as hexadecimal text, JSON-able."""
        return {page: self._pages[page].hex() for page in self.pages()}

    @classmethod
    def restore(cls, pages: object) -> Medium:
        """The medium of a snapshot; raises ``UsageError`` naming the page that is no hexadecimal text."""
        if not isinstance(pages, dict):
            raise UsageError(f"snapshot medium: {type(pages).__name__} is no table of pages")
        content: dict[str, bytes] = {}
        for page, text in pages.items():
            try:
                content[str(page)] = bytes.fromhex(text)
            except (TypeError, ValueError):
                raise UsageError(f"snapshot medium page {page}: not hexadecimal text") from None
        return cls(content)
