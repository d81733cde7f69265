"""The pump's non-volatile memory: two banks, a ring of commit records, and small records in several copies.

Every small record has copies, each commit record is mirrored (second copy written after the first, which alone
decides), so that one flipped bit loses nothing (INV-34). A page that holds the only valid record is never erased.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from telemetry.sim.pump import records
from telemetry.sim.pump.ledger import RECORD_PAGES, CommitRecord, Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.model import Drug, Program, PumpLimits
    from telemetry.sim.pump.medium import Medium

BANKS = ("bank_a", "bank_b")
_COPIES = ("a", "b")
_SAFE_COPIES = ("a", "b", "c")
_COMMIT_PAGES = tuple(tuple(f"commit_{page:03d}_{copy}" for copy in _COPIES) for page in range(RECORD_PAGES))
_VOTES_NEEDED = 2
BANK_DIGEST_SIZE = 32
Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where continuous book-keeping stood when power went."""

    commit_sequence: int
    calculated: int
    still_since_ms: int | None
    latched_bits: int
    alarm_sequence: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the memory holds: the valid records, what had to be repaired from a copy, what is lost for good."""

    ledger: Ledger
    limits: PumpLimits | None
    safe_basal_nl_per_day: int | None
    binding: tuple[Drug, int, int] | None
    checkpoint: Checkpoint | None
    boot_epoch: int
    repaired: tuple[str, ...]
    lost: tuple[str, ...]


class Memory:
    """Reads and writes the pump's records on a medium; every write may raise ``PowerCut``."""

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        self.checkpoint_serial = 0

    def manufacture(self, limits: PumpLimits, safe_basal_nl_per_day: int) -> None:
        """Write what leaves the factory with the pump."""
        for copy in _COPIES:
            self.medium.write(f"limits_{copy}", records.pack_limits(limits))
        for copy in _SAFE_COPIES:
            self.medium.write(f"safe_basal_{copy}", records.pack_safe_basal(safe_basal_nl_per_day))

    def write_bank(self, bank: int, program: Program, image_digest: bytes) -> bytes:
        """Write one bank; returns the digest of the bytes that should now stand there."""
        data = records.pack_bank(program, image_digest)
        self.medium.write(BANKS[bank], data)
        return records.digest_of(data)

    def read_bank(self, bank: int, bank_digest: bytes) -> tuple[Program, bytes] | None:
        """Program and image digest as they stand on the medium, or None when they are not what the digest names."""
        data = self.medium.read(BANKS[bank])
        return records.parse_bank(data) if records.digest_of(data) == bank_digest else None

    def write_commit(self, page: int, record: CommitRecord) -> None:
        """Write a commit record, then its mirror; the first decides."""
        data = records.pack_commit(record)
        for name in _COMMIT_PAGES[page]:
            self.medium.write(name, data)

    def write_binding(self, drug: Drug, concentration_ng_per_ml: int, generation: int) -> None:
        """Write the reservoir binding, one copy after the other."""
        for copy in _COPIES:
            self.medium.write(f"binding_{copy}", records.pack_binding(drug, concentration_ng_per_ml, generation))

    def write_boot_epoch(self, epoch: int) -> None:
        """Write the boot epoch, one copy after the other."""
        for copy in _COPIES:
            self.medium.write(f"boot_{copy}", records.pack_boot(epoch))

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write where book-keeping stands, one copy after the other."""
        self.checkpoint_serial += 1
        data = records.pack_checkpoint(
            self.checkpoint_serial,
            checkpoint.commit_sequence,
            checkpoint.calculated,
            checkpoint.still_since_ms,
            checkpoint.latched_bits,
            checkpoint.alarm_sequence,
        )
        for copy in _COPIES:
            self.medium.write(f"checkpoint_{copy}", data)

    def load(self) -> Loaded:
        """Read everything, repair what has a good copy, and say what is lost."""
        repaired: list[str] = []
        lost: list[str] = []
        ledger = Ledger(self._load_commits(repaired, lost))
        limits = self._load_copies("limits", records.parse_limits, _first, repaired, lost)
        binding = self._load_copies("binding", records.parse_binding, _highest_generation, repaired, lost)
        boot = self._load_copies("boot", records.parse_boot, max, repaired, lost)
        raw = self._load_copies("checkpoint", records.parse_checkpoint, max, repaired, lost)
        checkpoint = None
        if raw is not None:
            self.checkpoint_serial = raw[0]
            checkpoint = Checkpoint(*raw[1:])
        newest = ledger.newest()
        return Loaded(
            ledger=ledger,
            limits=limits,
            safe_basal_nl_per_day=self._vote_safe_basal(repaired, lost),
            binding=binding,
            checkpoint=checkpoint,
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
                    self.medium.write(name, data)
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
                self.medium.write(name, good)
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
                self.medium.write(name, records.pack_safe_basal(winner))
                repaired.append(name)
        return winner


def _first(copies: list[PumpLimits]) -> PumpLimits:
    return copies[0]


def _highest_generation(copies: list[tuple[Drug, int, int]]) -> tuple[Drug, int, int]:
    return max(copies, key=lambda binding: binding[2])
