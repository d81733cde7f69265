"""The pump's non-volatile memory: two banks, an order page, a ring of commit records, small records in copies.

Orders that bring no program are staged on a page of their own, so that the other bank keeps what the pump would
fall back to. Every small record has copies, each commit record is mirrored (second copy written after the first,
which alone decides), so that one flipped bit loses nothing (INV-34). A page that holds the only valid record is never
erased.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from telemetry.errors import Refused
from telemetry.model import RefusalReason
from telemetry.sim.pump import records
from telemetry.sim.pump.books import Checkpoint, pack_checkpoint, parse_checkpoint
from telemetry.sim.pump.ledger import RECORD_PAGES, CommitRecord, Ledger
from telemetry.sim.pump.medium import PowerCut

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.model import Drug, PumpLimits
    from telemetry.sim.pump.medium import Medium
    from telemetry.sim.pump.orders import Order

BANKS = ("bank_a", "bank_b")
ORDER_PAGE = "order"
_COPIES = ("a", "b")
_SAFE_COPIES = ("a", "b", "c")
_COMMIT_PAGES = tuple(tuple(f"commit_{page:03d}_{copy}" for copy in _COPIES) for page in range(RECORD_PAGES))
_VOTES_NEEDED = 2
BANK_DIGEST_SIZE = 32
Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the memory holds: the valid records, what had to be repaired from a copy, what is lost for good."""

    ledger: Ledger
    limits: PumpLimits | None
    safe_basal_nl_per_day: int | None
    binding: records.Binding | None
    checkpoint: Checkpoint | None
    alarms_off: int | None
    boot_epoch: int
    repaired: tuple[str, ...]
    lost: tuple[str, ...]


class Memory:
    """Reads and writes the pump's records on a medium; every write may raise ``PowerCut``."""

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        self.checkpoint_serial = 0
        self.torn: str | None = None
        """The page that was being written when power went: its damage is no fault of the memory."""

    def _write(self, page: str, data: bytes) -> None:
        try:
            self.medium.write(page, data)
        except PowerCut:
            self.torn = page
            raise

    def manufacture(self, limits: PumpLimits, safe_basal_nl_per_day: int) -> None:
        """Write what leaves the factory with the pump."""
        self.write_limits(limits)
        self.write_settings(0)
        for copy in _SAFE_COPIES:
            self._write(f"safe_basal_{copy}", records.pack_safe_basal(safe_basal_nl_per_day))

    def write_bank(self, bank: int, order: Order, image_digest: bytes) -> bytes:
        """Write one bank; returns the digest of the bytes that should now stand there."""
        return self._write_order(BANKS[bank], order, image_digest)

    def read_bank(self, bank: int, bank_digest: bytes) -> tuple[Order, bytes] | None:
        """Order and image digest as they stand on the medium, or None when they are not what the digest names."""
        return self._read_order(BANKS[bank], bank_digest)

    def write_order(self, order: Order, image_digest: bytes) -> bytes:
        """Write the order page; returns the digest of the bytes that should now stand there."""
        return self._write_order(ORDER_PAGE, order, image_digest)

    def read_order(self, order_digest: bytes) -> tuple[Order, bytes] | None:
        """The order page's content, or None when it is not what the digest names."""
        return self._read_order(ORDER_PAGE, order_digest)

    def forget_order(self) -> None:
        """The order has been carried out; nothing is to be done again after a power cut."""
        self.medium.erase(ORDER_PAGE)

    def _write_order(self, page: str, order: Order, image_digest: bytes) -> bytes:
        data = records.pack_bank(order, image_digest)
        self._write(page, data)
        return records.digest_of(data)

    def _read_order(self, page: str, digest: bytes) -> tuple[Order, bytes] | None:
        data = self.medium.read(page)
        return records.parse_bank(data) if records.digest_of(data) == digest else None

    def write_commit(self, page: int, record: CommitRecord) -> None:
        """Write a commit record, then its mirror; the first decides.

        Raises ``Refused`` (``memory_unreliable``) when neither reads back: then nothing was decided.
        """
        data = records.pack_commit(record)
        names = _COMMIT_PAGES[page]
        for name in names:
            self._write(name, data)
        if all(self.medium.read(name) != data for name in names):
            for name in names:
                self.medium.erase(name)
            raise Refused(
                RefusalReason.MEMORY_UNRELIABLE,
                "commit record: neither copy reads back as it was written; nothing was changed. Try again, and replace "
                "the pump when it stays so",
            )

    def write_limits(self, limits: PumpLimits) -> None:
        """Write the limits, one copy after the other."""
        for copy in _COPIES:
            self._write(f"limits_{copy}", records.pack_limits(limits))

    def write_settings(self, disabled_bits: int) -> None:
        """Write which alarms are switched off, one copy after the other."""
        for copy in _COPIES:
            self._write(f"settings_{copy}", records.pack_settings(disabled_bits))

    def write_binding(self, drug: Drug, concentration_ng_per_ml: int, generation: int, filled_nl: int) -> None:
        """Write the reservoir binding, one copy after the other."""
        data = records.pack_binding(drug, concentration_ng_per_ml, generation, filled_nl)
        for copy in _COPIES:
            self._write(f"binding_{copy}", data)

    def write_boot_epoch(self, epoch: int) -> None:
        """Write the boot epoch, one copy after the other."""
        for copy in _COPIES:
            self._write(f"boot_{copy}", records.pack_boot(epoch))

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write where book-keeping stands, one copy after the other."""
        self.checkpoint_serial += 1
        data = pack_checkpoint(self.checkpoint_serial, checkpoint)
        for copy in _COPIES:
            self._write(f"checkpoint_{copy}", data)

    def load(self) -> Loaded:
        """Read everything, repair what has a good copy, and say what is lost."""
        repaired: list[str] = []
        lost: list[str] = []
        ledger = Ledger(self._load_commits(repaired, lost))
        limits = self._load_copies("limits", records.parse_limits, _first, repaired, lost)
        binding = self._load_copies("binding", records.parse_binding, _highest_generation, repaired, lost)
        boot = self._load_copies("boot", records.parse_boot, max, repaired, lost)
        alarms_off = self._load_copies("settings", records.parse_settings, _first, repaired, lost)
        raw = self._load_copies("checkpoint", parse_checkpoint, _highest_serial, repaired, lost)
        checkpoint = None
        if raw is not None:
            self.checkpoint_serial, checkpoint = raw
        newest = ledger.newest()
        return Loaded(
            ledger=ledger,
            limits=limits,
            safe_basal_nl_per_day=self._vote_safe_basal(repaired, lost),
            binding=binding,
            checkpoint=checkpoint,
            alarms_off=alarms_off,
            boot_epoch=max(boot or 0, newest.boot_epoch if newest else 0),
            repaired=tuple(repaired),
            lost=tuple(lost),
        )

    def _load_commits(self, repaired: list[str], lost: list[str]) -> dict[int, CommitRecord]:
        found: dict[int, CommitRecord] = {}
        for page in range(RECORD_PAGES):
            names = _COMMIT_PAGES[page]
            raw = [self.medium.read(name) for name in names]
            if not any(raw):
                continue
            parsed = [records.parse_commit(data) for data in raw]
            valid = [record for record in parsed if record is not None]
            if not valid:
                # A torn first write of a fresh page: its mirror was never begun.
                (repaired if not raw[1] else lost).append(names[0])
                for name in names:
                    self.medium.erase(name)
                continue
            record = max(valid, key=lambda r: r.sequence)
            data = records.pack_commit(record)
            for name, old in zip(names, raw, strict=True):
                if old != data:
                    self._write(name, data)
                    repaired.append(name)
            found[page] = record
        return found

    def _load_copies(
        self,
        kind: str,
        parse: Callable[[bytes], Parsed | None],
        pick: Callable[[list[Parsed]], Parsed],
        repaired: list[str],
        lost: list[str],
    ) -> Parsed | None:
        names = [f"{kind}_{copy}" for copy in _COPIES]
        raw = {name: self.medium.read(name) for name in names}
        parsed = {name: parse(data) for name, data in raw.items()}
        valid = [record for record in parsed.values() if record is not None]
        if not valid:
            if any(raw.values()):
                lost.append(kind)
            return None
        chosen = pick(valid)
        good = next(raw[name] for name in names if parsed[name] == chosen)
        for name in names:
            if raw[name] != good:
                self._write(name, good)
                repaired.append(name)
        return chosen

    def _vote_safe_basal(self, repaired: list[str], lost: list[str]) -> int | None:
        names = [f"safe_basal_{copy}" for copy in _SAFE_COPIES]
        votes = [records.parse_safe_basal(self.medium.read(name)) for name in names]
        winner = next((v for v in votes if v is not None and votes.count(v) >= _VOTES_NEEDED), None)
        if winner is None:
            lost.append("safe_basal")
            return None
        for name, vote in zip(names, votes, strict=True):
            if vote != winner:
                self._write(name, records.pack_safe_basal(winner))
                repaired.append(name)
        return winner


def _first(copies: list[Parsed]) -> Parsed:
    return copies[0]


def _highest_serial(copies: list[tuple[int, Checkpoint]]) -> tuple[int, Checkpoint]:
    return max(copies, key=lambda copy: copy[0])


def _highest_generation(copies: list[records.Binding]) -> records.Binding:
    return max(copies, key=lambda binding: binding[2])
