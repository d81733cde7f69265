"""The drug's way through a pump by hand: strokes out of a reservoir, slugs through a catheter, in fractions.

Written from domain.md 2.2 and 2.7 and docs/pump-model.md alone; it shares no code with ``telemetry.sim.pump``. Volumes
are nl, concentrations ng/ml, masses ng, each a ``Fraction``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

PPM = 1_000_000
NL_PER_ML = 1_000_000
MS_PER_DAY = 86_400_000

Stream = list[tuple[Fraction, int]]
"""What passes a place, first come first: volume and concentration."""


def mass_ng(volume: Fraction, concentration: int) -> Fraction:
    """How much drug is in a volume."""
    return volume * concentration / NL_PER_ML


@dataclass
class Catheter:
    """Three sections, always full: tubing, catheter up to where it would leak, catheter beyond; a loss after each."""

    volumes: list[int]
    first_concentration: int
    losses: list[Fraction] = field(default_factory=lambda: [Fraction(0)] * 3)
    delivered: Fraction = Fraction(0)
    delivered_mass: Fraction = Fraction(0)
    lost: Fraction = Fraction(0)
    lost_mass: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        self.sections: list[Stream] = [[(Fraction(volume), self.first_concentration)] for volume in self.volumes]

    def push(self, volume: Fraction, concentration: int, *, at_port: bool = False) -> None:
        """So much enters the tubing, or the side port behind it; as much leaves, loses its share and goes on."""
        stream: Stream = [(volume, concentration)]
        for section in range(3):
            if section or not at_port:
                stream = self._through(section, stream)
            kept: Stream = []
            for part, strength in stream:
                away = part * self.losses[section]
                self.lost += away
                self.lost_mass += mass_ng(away, strength)
                if part > away:
                    kept.append((part - away, strength))
            stream = kept
        for part, strength in stream:
            self.delivered += part
            self.delivered_mass += mass_ng(part, strength)

    def _through(self, section: int, stream: Stream) -> Stream:
        """Append a stream at the near end, take as much from the far end (the front of the list)."""
        wanted = sum((part for part, _ in stream), Fraction(0))
        queue = self.sections[section] + stream
        out: Stream = []
        while wanted > 0:
            part, strength = queue.pop(0)
            taken = min(part, wanted)
            out.append((taken, strength))
            wanted -= taken
            if part > taken:
                queue.insert(0, (part - taken, strength))
        joined: Stream = []
        for part, strength in queue:
            if joined and joined[-1][1] == strength:
                joined[-1] = (joined[-1][0] + part, strength)
            elif part > 0:
                joined.append((part, strength))
        self.sections[section] = joined
        return out

    def replace(self, volume: int) -> int:
        """A new one of so much, with no drug in it and nothing wrong; how much the old one held."""
        old = self.volumes[1] + self.volumes[2]
        self.volumes[1:] = [volume // 2, volume - volume // 2]
        self.sections[1:] = [[(Fraction(part), 0)] for part in self.volumes[1:]]
        self.losses = [Fraction(0)] * 3
        return old

    @property
    def tip_concentration(self) -> int:
        """What is about to leave the tip."""
        return self.sections[2][0][1]


@dataclass
class Reservoir:
    """What is truly in the pump, and the drive that takes it out stroke by stroke."""

    volume: Fraction
    concentration: int
    stroke_nl: int
    cycle_ppm: tuple[int, ...]
    capacity_nl: int
    margin_nl: int
    error_ppm: int = 0
    passes: Fraction = Fraction(1)
    commanded: Fraction = Fraction(0)
    strokes: int = 0
    filled_nl: int = 0
    withdrawn_nl: int = 0

    def stroke_yield(self, number: int) -> Fraction:
        """What stroke ``number`` (from 0) gives."""
        cyclic = self.cycle_ppm[number % len(self.cycle_ppm)] if self.cycle_ppm else 0
        return max(Fraction(0), self.stroke_nl * Fraction(PPM + self.error_ppm + cyclic, PPM) * self.passes)

    def command(self, volume: Fraction, catheter: Catheter) -> Fraction | None:
        """So much is commanded: the strokes that it completes give.

        Returns the commanded volume at which the reservoir ran dry, if it did.
        """
        self.commanded += volume
        last = floor(self.commanded / self.stroke_nl)
        first, self.strokes = self.strokes, last
        if self.volume == 0 or last == first:
            return None
        length = max(1, len(self.cycle_ppm))
        turns, rest = divmod(last - first, length)
        given = turns * sum((self.stroke_yield(k) for k in range(length)), Fraction(0))
        given += sum((self.stroke_yield(first + k) for k in range(rest)), Fraction(0))
        if given < self.volume:
            self._out(given, catheter)
            return None
        number, given = first, Fraction(0)
        while given < self.volume:
            given += self.stroke_yield(number)
            number += 1
        self._out(self.volume, catheter)
        return Fraction(number * self.stroke_nl)

    def _out(self, volume: Fraction, catheter: Catheter) -> None:
        self.volume -= volume
        if volume:
            catheter.push(volume, self.concentration)

    def withdraw(self, volume_nl: int | None = None) -> int:
        """A syringe takes whole nanolitres; how many."""
        there = floor(self.volume)
        taken = there if volume_nl is None else min(volume_nl, there)
        self.volume -= taken
        self.withdrawn_nl += taken
        return taken

    def fill(self, volume_nl: int, concentration: int) -> int:
        """A syringe puts in, up to the capacity and its margin; mixes to the nearest ng/ml; how much went in."""
        filled = min(volume_nl, self.capacity_nl + self.margin_nl - ceil(self.volume))
        filled = max(0, filled)
        if filled:
            mixed = (self.volume * self.concentration + filled * concentration) / (self.volume + filled)
            self.concentration = floor(mixed + Fraction(1, 2))
            self.volume += filled
            self.filled_nl += filled
        return filled
