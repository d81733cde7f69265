"""Faults of a link as data: what happens to which frames, how often, how long, drawn from which seed.

A rule as text (one grammar for URLs, the command line and scenarios)::

    KIND[:PROBABILITY[:AMOUNT]][@[DIRECTION][/TYPE]][*COUNT][~skipN][~forMS]

    drop:0.1                   one frame in ten is lost, either way
    corrupt:0.01:3@rx          three bits flipped in one of a hundred frames on their way to us
    drop@tx/Commit*1~skip2     the third Commit is lost
    delay:0.5:40~for5000       half of the frames are 40 ms late, during the first five seconds
    drop:0.1,duplicate:0.05    several rules, in this order

``tx`` is what the user of the transport writes, ``rx`` what it receives. ``TYPE`` is a name given by the injected
classifier; nothing here knows frames. Probability is 0 … 1 (1 when left out); what AMOUNT means and its default:

=============  ==================================================  =======
kind           amount                                              default
=============  ==================================================  =======
``drop``       none
``corrupt``    bits flipped, 1 … 64                                1
``duplicate``  extra copies, 1 … 16                                1
``delay``      ms late in link time; later frames wait behind it   100
``reorder``    ms held at most until the next frame overtakes it   100
``truncate``   bytes cut off the end, 1 … 255; never the last one  random
``split``      pieces, 2 … 16                                      2
=============  ==================================================  =======

Each rule draws from its own generator per direction, seeded by plan seed, place and direction: adding a rule or
talking more in one direction does not change what another draws.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import TypeVar

from telemetry.errors import UsageError


class Direction(StrEnum):
    """Seen from whoever uses the transport."""

    TX = "tx"
    RX = "rx"


Classifier = Callable[[Direction, bytes], "str | None"]
"""Names the type of a frame, or None when it cannot tell. Handed the bytes as they are on the wire."""


class FaultKind(StrEnum):
    """What is done to a frame."""

    DROP = "drop"
    CORRUPT = "corrupt"
    DUPLICATE = "duplicate"
    DELAY = "delay"
    REORDER = "reorder"
    TRUNCATE = "truncate"
    SPLIT = "split"


_LONGEST_MS = 86_400_000
_AMOUNTS: dict[FaultKind, tuple[int, int, int | None]] = {  # lowest, highest, default
    FaultKind.CORRUPT: (1, 64, 1),
    FaultKind.DUPLICATE: (1, 16, 1),
    FaultKind.DELAY: (1, _LONGEST_MS, 100),
    FaultKind.REORDER: (1, _LONGEST_MS, 100),
    FaultKind.TRUNCATE: (1, 255, None),
    FaultKind.SPLIT: (2, 16, 2),
}
_SHORTEST = {FaultKind.CORRUPT: 1, FaultKind.TRUNCATE: 2, FaultKind.SPLIT: 2}
"""Frames shorter than this cannot suffer the fault, and are not counted as having met the rule."""
_RULE = re.compile(
    r"(?P<kind>[a-z]+)(?::(?P<probability>[^:@*~]*)(?::(?P<amount>[^:@*~]*))?)?"
    r"(?:@(?P<direction>[^/*~]*)(?:/(?P<type>[^*~]+))?)?"
    r"(?:\*(?P<count>[^*~]+))?(?:~skip(?P<skip>[0-9]+))?(?:~for(?P<for>[0-9]+))?"
)
GRAMMAR = "KIND[:PROBABILITY[:AMOUNT]][@[tx|rx][/TYPE]][*COUNT][~skipN][~forMS]"


@dataclass(slots=True)
class FaultRule:
    """One fault: kind × target × probability × limits, with its counters.

    ``direction`` and ``frame_type`` None mean any. ``count`` hits at most, after ``skip`` matching frames were let by,
    within ``for_ms`` of link time from the plan's beginning. ``hits`` counts the frames it was applied to, ``seen``
    those that matched. Raises ``UsageError`` for a value out of range.
    """

    kind: FaultKind
    probability: float = 1.0
    amount: int | None = None
    direction: Direction | None = None
    frame_type: str | None = None
    count: int | None = None
    skip: int = 0
    for_ms: int | None = None
    hits: int = field(default=0, compare=False)
    seen: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise UsageError(f"fault {self.kind}: probability {self.probability} is not in 0 to 1")
        if self.kind not in _AMOUNTS:
            if self.amount is not None:
                raise UsageError(f"fault {self.kind}: it takes no amount, {self.amount} was given")
        else:
            low, high, default = _AMOUNTS[self.kind]
            self.amount = default if self.amount is None else self.amount
            if self.amount is not None and not low <= self.amount <= high:
                raise UsageError(f"fault {self.kind}: amount {self.amount} is not in {low} to {high}")
        for name, value in (("count", self.count), ("for_ms", self.for_ms)):
            if value is not None and value < 1:
                raise UsageError(f"fault {self.kind}: {name} {value} is less than 1; leave the rule out instead")
        if self.skip < 0:
            raise UsageError(f"fault {self.kind}: skip {self.skip} is negative")

    @classmethod
    def parse(cls, text: str) -> FaultRule:
        """Read one rule; raises ``UsageError`` naming the part and the grammar."""
        match = _RULE.fullmatch(text)
        if match is None:
            raise UsageError(f"fault {text!r}: no rule; right would be {GRAMMAR}, as in drop:0.1@rx*3")
        part = match.groupdict()
        kind = _member(FaultKind, text, part["kind"])
        return cls(
            kind=kind,
            probability=_probability(text, part["probability"]),
            amount=_whole(text, "amount", part["amount"]),
            direction=_member(Direction, text, part["direction"]) if part["direction"] else None,
            frame_type=part["type"],
            count=_whole(text, "count", part["count"]),
            skip=int(part["skip"] or 0),
            for_ms=_whole(text, "for", part["for"]),
        )

    def __str__(self) -> str:
        amount = f":{self.amount}" if self.amount is not None else ""
        target = f"@{self.direction or ''}" + (f"/{self.frame_type}" if self.frame_type else "")
        limits = (f"*{self.count}" if self.count else "") + (f"~skip{self.skip}" if self.skip else "")
        expiry = f"~for{self.for_ms}" if self.for_ms else ""
        return f"{self.kind}:{self.probability:g}{amount}{target if target != '@' else ''}{limits}{expiry}"


@dataclass(slots=True)
class Passage:
    """What leaves for one frame that came in: its bytes, how late, and how long it may be held to be overtaken."""

    data: bytes
    delay_ms: int = 0
    hold_ms: int = 0


class FaultPlan:
    """Rules in force on a link, applied in order; the same seed and traffic give the same faults.

    ``hits`` is how many faults were applied in all. Rules can be added and taken away while the link is in use; the
    time limits of those present at the first frame count from it, of later ones from the next frame after them.
    """

    def __init__(self, rules: list[FaultRule] | None = None, *, seed: int = 0) -> None:
        self.seed = seed
        self.rules: list[FaultRule] = []
        self._active: list[_Active] = []
        self._added = 0
        self._classified = True
        for rule in rules or []:
            self.add(rule)

    @classmethod
    def parse(cls, text: str, *, seed: int = 0) -> FaultPlan:
        """Read rules separated by commas; raises ``UsageError`` naming the rule that is wrong."""
        return cls([FaultRule.parse(part) for part in text.split(",")], seed=seed)

    @property
    def hits(self) -> int:
        """Faults applied so far, rules taken away included in their own counters only."""
        return sum(rule.hits for rule in self.rules)

    def attach(self, *, classified: bool) -> None:
        """Say whether the link can tell types; ``UsageError``, now or from ``add``, for a rule it cannot apply."""
        self._classified = classified
        for rule in self.rules:
            self._check(rule)

    def _check(self, rule: FaultRule) -> None:
        if rule.frame_type is not None and not self._classified:
            raise UsageError(
                f"fault {rule}: nobody on this link can tell that a frame is {rule.frame_type!r}; "
                f"leave out the type, or hand a classifier to open_transport"
            )

    def add(self, rule: FaultRule) -> FaultRule:
        """Put a rule in force behind the others; returns it, for its counters. ``UsageError`` as of ``attach``."""
        self._check(rule)
        self.rules.append(rule)
        self._active.append(_Active(rule, f"{self.seed}/{self._added}"))
        self._added += 1
        return rule

    def remove(self, rule: FaultRule) -> None:
        """Take a rule away; raises ``UsageError`` when it is not in force."""
        for place, present in enumerate(self.rules):
            if present is rule:
                del self.rules[place], self._active[place]
                return
        raise UsageError(f"fault {rule}: it is not in force; in force are: {', '.join(map(str, self.rules)) or 'none'}")

    def clear(self) -> None:
        """Take all rules away; the link is clean from the next frame on."""
        self.rules.clear()
        self._active.clear()

    def touches(self, direction: Direction) -> bool:
        """Whether any rule in force could meet a frame going that way."""
        return any(rule.direction in (None, direction) for rule in self.rules)

    def apply(self, direction: Direction, frame: bytes, frame_type: str | None, now_ms: int) -> list[Passage]:
        """Say what leaves, and when, for one frame; an empty list when it is lost. ``now_ms`` is link time."""
        leaving = [Passage(frame)]
        for active in self._active:
            longest = max((len(passage.data) for passage in leaving), default=-1)
            if longest >= _SHORTEST.get(active.rule.kind, 0) and active.strikes(direction, frame_type, now_ms):
                leaving = active.do(direction, leaving)
        return leaving


class _Active:
    """A rule in force, with what it draws from."""

    def __init__(self, rule: FaultRule, seed: str) -> None:
        self.rule = rule
        self._draws = {direction: random.Random(f"{seed}/{direction}") for direction in Direction}  # noqa: S311 - repeatable faults, no secrets
        self._since_ms: int | None = None

    def strikes(self, direction: Direction, frame_type: str | None, now_ms: int) -> bool:
        rule = self.rule
        if self._since_ms is None:
            self._since_ms = now_ms
        if rule.direction not in (None, direction) or rule.frame_type not in (None, frame_type):
            return False
        if rule.for_ms is not None and now_ms - self._since_ms >= rule.for_ms:
            return False
        rule.seen += 1
        if rule.seen <= rule.skip or (rule.count is not None and rule.hits >= rule.count):
            return False
        if rule.probability < 1 and self._draws[direction].random() >= rule.probability:
            return False
        rule.hits += 1
        return True

    def do(self, direction: Direction, leaving: list[Passage]) -> list[Passage]:
        return _EFFECTS[self.rule.kind](self._draws[direction], self.rule.amount or 0, leaving)


def _drop(_draw: random.Random, _amount: int, _leaving: list[Passage]) -> list[Passage]:
    return []


def _corrupt(draw: random.Random, amount: int, leaving: list[Passage]) -> list[Passage]:
    for passage in leaving:
        bits = len(passage.data) * 8
        damaged = bytearray(passage.data)
        for bit in draw.sample(range(bits), min(amount, bits)):
            damaged[bit // 8] ^= 1 << bit % 8
        passage.data = bytes(damaged)
    return leaving


def _duplicate(_draw: random.Random, amount: int, leaving: list[Passage]) -> list[Passage]:
    return [Passage(p.data, p.delay_ms, p.hold_ms) for p in leaving for _ in range(amount + 1)]


def _delay(_draw: random.Random, amount: int, leaving: list[Passage]) -> list[Passage]:
    for passage in leaving:
        passage.delay_ms += amount
    return leaving


def _reorder(_draw: random.Random, amount: int, leaving: list[Passage]) -> list[Passage]:
    for passage in leaving:
        passage.hold_ms = max(passage.hold_ms, amount)
    return leaving


def _truncate(draw: random.Random, amount: int, leaving: list[Passage]) -> list[Passage]:
    for passage in leaving:
        longest = len(passage.data) - 1
        if longest > 0:
            cut = min(amount, longest) if amount else draw.randint(1, longest)
            passage.data = passage.data[:-cut]
    return leaving


def _split(draw: random.Random, amount: int, leaving: list[Passage]) -> list[Passage]:
    pieces: list[Passage] = []
    for passage in leaving:
        places = range(1, len(passage.data))
        cuts = sorted(draw.sample(places, min(amount - 1, len(places))))
        edges = [0, *cuts, len(passage.data)]
        pieces += [
            Passage(passage.data[start:end], passage.delay_ms, passage.hold_ms) for start, end in pairwise(edges)
        ]
    return pieces


_EFFECTS: dict[FaultKind, Callable[[random.Random, int, list[Passage]], list[Passage]]] = {
    FaultKind.DROP: _drop,
    FaultKind.CORRUPT: _corrupt,
    FaultKind.DUPLICATE: _duplicate,
    FaultKind.DELAY: _delay,
    FaultKind.REORDER: _reorder,
    FaultKind.TRUNCATE: _truncate,
    FaultKind.SPLIT: _split,
}

_Named = TypeVar("_Named", bound=StrEnum)


def _member(kind: type[_Named], text: str, name: str) -> _Named:
    try:
        return kind(name)
    except ValueError:
        raise UsageError(f"fault {text!r}: {name!r} is none of {', '.join(kind)}") from None


def _probability(text: str, number: str | None) -> float:
    if number is None:
        return 1.0
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", number):
        raise UsageError(f"fault {text!r}: probability {number!r} is no number from 0 to 1, such as 0.1")
    return float(number)


def _whole(text: str, name: str, number: str | None) -> int | None:
    if number is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", number):
        raise UsageError(f"fault {text!r}: {name} {number!r} is no whole number")
    return int(number)
