"""The way from the reservoir to the tip: three queues of slugs of drug, always full, each of constant volume.

Tubing, the catheter up to where it may leak, the catheter from there to the tip. What enters at one end pushes the
same volume out of the other, less what a junction loses (``catheter.py``). Axial mixing is a read-out outside this
package (domain.md 2.7).
"""

from __future__ import annotations

from collections import deque
from itertools import chain

from telemetry.errors import UsageError
from telemetry.sim.pump import state as st
from telemetry.sim.pump.catheter import CatheterState, Junction, Losses, Occlusion
from telemetry.sim.pump.quantities import MASS_PER_NG, PPM, TRUE_PER_NL

MIDDLE_PPM = 500_000
_PLACES = {Junction.CONNECTOR: 0, Junction.LEAK: 1, Junction.TIP: 2}
Slugs = deque[tuple[int, int]]


class Path:
    """Slugs of (volume, concentration) in three sections, tip first in each; volume and mass counted exactly.

    ``leak_at_ppm``: where along the catheter it would leak, from its connector (0) to its tip (10^6).
    """

    KEYS = (
        "tubing_nl",
        "catheter_nl",
        "leak_at_ppm",
        "tubing",
        "proximal",
        "distal",
        "delivered_volume",
        "delivered_mass",
        "losses",
        "occlusion",
    )

    def __init__(self, tubing_nl: int, catheter_nl: int, concentration_ng_per_ml: int) -> None:
        self.tubing_nl = tubing_nl
        self.catheter_nl = catheter_nl
        self.leak_at_ppm = MIDDLE_PPM
        self._sections = [
            _filled(volume * TRUE_PER_NL, concentration_ng_per_ml) for volume in (tubing_nl, *self._halves())
        ]
        self.delivered_volume = 0
        self._delivered_mass = 0
        self.losses = Losses()
        self._occlusion = Occlusion()
        self._uniform: int | None = None
        self.pass_ppm = PPM
        self._refresh()

    def _halves(self) -> tuple[int, int]:
        proximal = self.catheter_nl * self.leak_at_ppm // PPM
        return proximal, self.catheter_nl - proximal

    def _refresh(self) -> None:
        """Work out again what ``push`` looks at first."""
        strengths = {concentration for section in self._sections for _, concentration in section}
        lossless = not any(self.losses.ppm)
        self._uniform = strengths.pop() if len(strengths) == 1 and lossless else None
        disconnected = self.losses.ppm[0] == PPM
        self.pass_ppm = PPM if disconnected else self._occlusion.pass_ppm

    # --- motion ------------------------------------------------------------------------------------------------------

    def push(self, volume: int, concentration_ng_per_ml: int) -> None:
        """Let ``volume`` (true volume units) of drug in from the reservoir; as much leaves, or is lost on its way."""
        if self._uniform == concentration_ng_per_ml:
            self.delivered_volume += volume
            self._delivered_mass += volume * concentration_ng_per_ml
        elif volume:
            self._advance(0, [(volume, concentration_ng_per_ml)])

    def inject(self, volume: int, concentration_ng_per_ml: int) -> None:
        """Let ``volume`` in at the side port, between the pump's tubing and the catheter's connector."""
        if volume:
            self._advance(1, self.losses.split(0, [(volume, concentration_ng_per_ml)]))

    def _advance(self, first: int, pieces: list[tuple[int, int]]) -> None:
        for number in range(first, len(self._sections)):
            pieces = self.losses.split(number, _through(self._sections[number], pieces))
        for volume, concentration in pieces:
            self.delivered_volume += volume
            self._delivered_mass += volume * concentration
        self._refresh()

    # --- what is wrong with it ---------------------------------------------------------------------------------------

    def lose(self, junction: Junction, ppm: int) -> None:
        """Lose this share at a junction from now on: all of it at the connector is a disconnection.

        Raises ``UsageError`` outside 0 to 10^6 ppm.
        """
        _need_ppm(f"{junction} loss", ppm)
        self.losses.ppm[_PLACES[junction]] = ppm
        self._refresh()

    def leak(self, ppm: int, at_ppm: int | None = None) -> None:
        """Lose this share from now on at the leak, which may lie elsewhere along the catheter than before."""
        _need_ppm("leak", ppm)
        if at_ppm is not None:
            _need_ppm("leak at_ppm", at_ppm)
            self.leak_at_ppm = at_ppm
            distal, proximal = self._sections.pop(), self._sections.pop()
            self._sections += _cut(chain(distal, proximal), [volume * TRUE_PER_NL for volume in self._halves()])
        self.lose(Junction.LEAK, ppm)

    def occlude(self, pass_ppm: int) -> None:
        """Let this share of every stroke pass from now on; raises ``UsageError`` outside 0 to 10^6 ppm."""
        _need_ppm("pass_ppm", pass_ppm)
        self._occlusion.steady_ppm = pass_ppm
        self._refresh()

    def bend(self, now_ms: int, period_ms: int, occluded_ms: int, phase_ms: int = 0) -> None:
        """Kink it for ``occluded_ms`` of every ``period_ms`` (a posture taken again and again; domain.md 2.7)."""
        self._occlusion.bend(now_ms, period_ms, occluded_ms, phase_ms)
        self._refresh()

    def mend(self) -> None:
        """Make it patent again where it lies; what it holds stays in it."""
        self.losses.ppm[:] = [0] * len(Junction)
        self._occlusion.steady_ppm = PPM
        self._occlusion.straighten()
        self._refresh()

    def replace(self, catheter_nl: int) -> None:
        """Put a new catheter of this volume in, patent and full of liquid without drug."""
        if catheter_nl < 1:
            raise UsageError(f"catheter_nl: {catheter_nl} is below 1")
        self.catheter_nl = catheter_nl
        self.leak_at_ppm = MIDDLE_PPM
        self._sections[1:] = [_filled(volume * TRUE_PER_NL, 0) for volume in self._halves()]
        self.mend()

    def adopt(self, other: Path) -> None:
        """Put the catheter of another path in, with all it holds and whatever is wrong with it; the tubing stays."""
        self.replace(other.catheter_nl)
        self.leak_at_ppm = other.leak_at_ppm
        self._sections[1:] = [deque(section) for section in other._sections[1:]]
        self.losses.ppm[:] = other.losses.ppm
        self._occlusion.restore(other._occlusion.snapshot(), "catheter")
        self._refresh()

    def next_event_ms(self, now_ms: int) -> int | None:
        """When a positional occlusion comes or goes next."""
        return self._occlusion.next_event_ms(now_ms)

    def evaluate(self, now_ms: int) -> None:
        """Be occluded or not as this instant has it."""
        self._occlusion.evaluate(now_ms)
        self._refresh()

    @property
    def states(self) -> tuple[CatheterState, ...]:
        """All that is wrong with it, the worst first; ``PATENT`` alone when nothing is."""
        connector, leak, tip = self.losses.ppm
        found = {
            CatheterState.DISCONNECTED: connector == PPM,
            CatheterState.OCCLUDED: self._occlusion.pass_ppm == 0,
            CatheterState.POSITIONAL: self._occlusion.period_ms > 0,
            CatheterState.LEAKING: 0 < connector < PPM or leak > 0,
            CatheterState.TIP_DISPLACED: tip > 0,
            CatheterState.PARTLY_OCCLUDED: 0 < self._occlusion.steady_ppm < PPM,
        }
        return tuple(state for state, so in found.items() if so) or (CatheterState.PATENT,)

    @property
    def state(self) -> CatheterState:
        """The worst of ``states``."""
        return self.states[0]

    # --- read-outs ---------------------------------------------------------------------------------------------------

    @property
    def tip_concentration_ng_per_ml(self) -> int:
        """What leaves the tip next."""
        return next(chain.from_iterable(reversed(self._sections)))[1]

    def fronts(self) -> tuple[tuple[int, int], ...]:
        """Where each concentration begins, seen from the tip: (whole nl from the tip, ng/ml), tip first."""
        found: list[tuple[int, int]] = []
        behind = 0
        for volume, concentration in chain.from_iterable(reversed(self._sections)):
            if not found or found[-1][1] != concentration:
                found.append((behind // TRUE_PER_NL, concentration))
            behind += volume
        return tuple(found)

    @property
    def volume_nl(self) -> int:
        """All slugs together, whole nanolitres."""
        return sum(volume for volume, _ in chain.from_iterable(self._sections)) // TRUE_PER_NL

    @property
    def content_ng(self) -> int:
        """Whole nanograms of drug in it."""
        return sum(volume * strength for volume, strength in chain.from_iterable(self._sections)) // MASS_PER_NG

    @property
    def delivered_nl(self) -> int:
        """Whole nanolitres past the tip."""
        return self.delivered_volume // TRUE_PER_NL

    @property
    def delivered_ng(self) -> int:
        """Whole nanograms past the tip."""
        return self._delivered_mass // MASS_PER_NG

    @property
    def lost_volume(self) -> int:
        """True volume units lost on the way."""
        return sum(self.losses.volumes)

    @property
    def lost_nl(self) -> int:
        """Nanolitres lost on the way; one begun at the tip and one begun here count once, there or here."""
        return (self.delivered_volume + self.lost_volume) // TRUE_PER_NL - self.delivered_nl

    @property
    def lost_ng(self) -> int:
        """Whole nanograms lost on the way."""
        return sum(self.losses.masses) // MASS_PER_NG

    def lost_ng_at(self, junction: Junction) -> int:
        """Whole nanograms lost at one junction."""
        return self.losses.masses[_PLACES[junction]] // MASS_PER_NG

    def snapshot(self) -> st.State:
        """JSON-able state."""
        tubing, proximal, distal = ([list(slug) for slug in section] for section in self._sections)
        return {
            "tubing_nl": self.tubing_nl,
            "catheter_nl": self.catheter_nl,
            "leak_at_ppm": self.leak_at_ppm,
            "tubing": tubing,
            "proximal": proximal,
            "distal": distal,
            "delivered_volume": self.delivered_volume,
            "delivered_mass": self._delivered_mass,
            "losses": self.losses.snapshot(),
            "occlusion": self._occlusion.snapshot(),
        }

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, self.KEYS)
        self.tubing_nl = st.integer(state, "tubing_nl", where)
        self.catheter_nl = st.integer(state, "catheter_nl", where)
        self.leak_at_ppm = st.integer(state, "leak_at_ppm", where)
        sections: list[Slugs] = []
        for key, volume_nl in zip(("tubing", "proximal", "distal"), (self.tubing_nl, *self._halves()), strict=True):
            slugs = [st.pair(slug, f"{where}.{key}") for slug in st.items(state, key, where)]
            total = sum(volume for volume, _ in slugs)
            if total != volume_nl * TRUE_PER_NL:
                raise UsageError(
                    f"snapshot {where}.{key}: slugs hold {total} volume units, it holds {volume_nl * TRUE_PER_NL}"
                )
            sections.append(deque(slugs))
        self._sections = sections
        self.delivered_volume = st.integer(state, "delivered_volume", where)
        self._delivered_mass = st.integer(state, "delivered_mass", where)
        self.losses.restore(state["losses"], f"{where}.losses")
        self._occlusion.restore(state["occlusion"], f"{where}.occlusion")
        self._refresh()


def _filled(volume: int, concentration_ng_per_ml: int) -> Slugs:
    return deque([(volume, concentration_ng_per_ml)] if volume else [])


def _append(section: Slugs, volume: int, concentration: int) -> None:
    """Add to the far end, to the last slug where that is of the same strength."""
    if section and section[-1][1] == concentration:
        section[-1] = (section[-1][0] + volume, concentration)
    else:
        section.append((volume, concentration))


def _through(section: Slugs, pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Push pieces into a section; returns what comes out of it, as much as went in, first first."""
    left = 0
    for volume, concentration in pieces:
        _append(section, volume, concentration)
        left += volume
    out: list[tuple[int, int]] = []
    while left:
        volume, concentration = section[0]
        moved = min(left, volume)
        out.append((moved, concentration))
        left -= moved
        if moved == volume:
            section.popleft()
        else:
            section[0] = (volume - moved, concentration)
    return out


def _cut(tip_first: chain[tuple[int, int]], volumes: list[int]) -> list[Slugs]:
    """Cut slugs, tip first, into sections of these volumes (connector first); nothing is moved."""
    sections: list[Slugs] = [deque() for _ in volumes]
    rooms = list(reversed(volumes))
    number = 0
    for slug_volume, concentration in tip_first:
        rest = slug_volume
        while rest:
            if not rooms[number]:
                number += 1
                continue
            taken = min(rest, rooms[number])
            _append(sections[-1 - number], taken, concentration)
            rooms[number] -= taken
            rest -= taken
    return sections


def _need_ppm(name: str, ppm: int) -> None:
    if not 0 <= ppm <= PPM:
        raise UsageError(f"{name}: {ppm} ppm is outside 0 to {PPM}")
