"""The dose governor: sees only what was commanded and pump time, and can only say *no more* (trust.md 5.7).

It keeps the last 24 hours as segments of constant rate and answers exactly at which millisecond a sliding window would
exceed its limit. It shares no code with the plan, the admission check or the activities (INV-37, INV-45).
Volumes are in nl / 86 400 000, doses in ng / 86 400 000: a rate per day times a span in ms.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from telemetry.errors import UsageError
from telemetry.sim.pump import state as st
from telemetry.units import MS_PER_DAY, MS_PER_HOUR

Segment = tuple[int, int, int, int]
"""From ms, to ms, nl/day, ng/day."""

_SHORT_MS = MS_PER_HOUR
_MIDDLE_MS = 4 * MS_PER_HOUR
_LONG_MS = MS_PER_DAY
_COMPACT_AT = 256
_TotalAt = Callable[[int], int]


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """The most that may be commanded in any window of this length (volumes: profile; dose: the hard daily maximum)."""

    volume_1h_nl: int
    volume_4h_nl: int
    volume_24h_nl: int
    dose_24h_ng: int


@dataclass(frozen=True, slots=True)
class Windows:
    """What was commanded in the windows that end now, rounded down."""

    volume_1h_nl: int
    volume_4h_nl: int
    volume_24h_nl: int
    dose_24h_ng: int


class Governor:
    """Sliding windows of commanded delivery. ``limits`` may be replaced at any time."""

    def __init__(self, limits: WindowLimits) -> None:
        self.limits = limits
        self._from: list[int] = []
        self._to: list[int] = []
        self._rate: list[int] = []
        self._dose: list[int] = []
        self._volume_before: list[int] = []
        self._dosed_before: list[int] = []
        self._volume = 0
        self._dosed = 0
        self._head = 0

    # --- what was commanded ------------------------------------------------------------------------------------------

    def record(self, from_ms: int, to_ms: int, rate_nl_per_day: int, dose_ng_per_day: int) -> None:
        """This was commanded from ... to ...; spans follow each other, those of no delivery may be left out.

        Cutting a span differently changes nothing. Raises ``UsageError`` for a span before the last one's end.
        """
        if to_ms <= from_ms or (rate_nl_per_day == 0 and dose_ng_per_day == 0):
            return
        ends = self._to
        if ends and from_ms <= ends[-1]:
            if from_ms < ends[-1]:
                raise UsageError(f"from_ms: {from_ms} lies before {ends[-1]}, up to which delivery is recorded already")
            if self._rate[-1] == rate_nl_per_day and self._dose[-1] == dose_ng_per_day:
                ends[-1] = to_ms
            else:
                self._append(from_ms, to_ms, rate_nl_per_day, dose_ng_per_day)
        else:
            self._append(from_ms, to_ms, rate_nl_per_day, dose_ng_per_day)
        self._volume += rate_nl_per_day * (to_ms - from_ms)
        self._dosed += dose_ng_per_day * (to_ms - from_ms)
        self._trim(to_ms - _LONG_MS)

    def _append(self, from_ms: int, to_ms: int, rate: int, dose: int) -> None:
        self._from.append(from_ms)
        self._to.append(to_ms)
        self._rate.append(rate)
        self._dose.append(dose)
        self._volume_before.append(self._volume)
        self._dosed_before.append(self._dosed)

    def _trim(self, since_ms: int) -> None:
        head, ends = self._head, self._to
        while head < len(ends) and ends[head] <= since_ms:
            head += 1
        if head >= _COMPACT_AT:
            for column in (self._from, ends, self._rate, self._dose, self._volume_before, self._dosed_before):
                del column[:head]
            head = 0
        self._head = head

    # --- reading -----------------------------------------------------------------------------------------------------

    def windows(self, now_ms: int) -> Windows:
        """The windows that end now; ``now_ms`` is not before the last recorded span's end."""
        return Windows(
            volume_1h_nl=(self._volume - self._volume_at(now_ms - _SHORT_MS)) // MS_PER_DAY,
            volume_4h_nl=(self._volume - self._volume_at(now_ms - _MIDDLE_MS)) // MS_PER_DAY,
            volume_24h_nl=(self._volume - self._volume_at(now_ms - _LONG_MS)) // MS_PER_DAY,
            dose_24h_ng=(self._dosed - self._dosed_at(now_ms - _LONG_MS)) // MS_PER_DAY,
        )

    def history(self, now_ms: int) -> tuple[Segment, ...]:
        """What was commanded in the last 24 hours, oldest first."""
        since_ms = now_ms - _LONG_MS
        columns = zip(self._from, self._to, self._rate, self._dose, strict=True)
        return tuple((max(start, since_ms), end, rate, dose) for start, end, rate, dose in columns if end > since_ms)

    def trips_at_ms(self, now_ms: int, rate_nl_per_day: int, dose_ng_per_day: int) -> int | None:
        """The last ms to which this may go on: one ms more and a window exceeds its limit. None: it never does.

        Exact while rate and dose stay so; with rates never above these it can only be early. ``now_ms`` when a window
        is over its limit already; a delivery of nothing never trips.
        """
        limits, head = self.limits, self._head
        fastest = max(rate_nl_per_day, *self._rate[head:]) if len(self._rate) > head else rate_nl_per_day
        strongest = max(dose_ng_per_day, *self._dose[head:]) if len(self._dose) > head else dose_ng_per_day
        if (
            fastest * _SHORT_MS <= limits.volume_1h_nl * MS_PER_DAY
            and fastest * _MIDDLE_MS <= limits.volume_4h_nl * MS_PER_DAY
            and fastest * _LONG_MS <= limits.volume_24h_nl * MS_PER_DAY
            and strongest * _LONG_MS <= limits.dose_24h_ng * MS_PER_DAY
        ):
            return None  # not even a whole window of the fastest would be too much
        trips = [
            self._trip(now_ms, span_ms, limit * MS_PER_DAY, rate_nl_per_day, self._rate, self._volume, self._volume_at)
            for span_ms, limit in (
                (_SHORT_MS, limits.volume_1h_nl),
                (_MIDDLE_MS, limits.volume_4h_nl),
                (_LONG_MS, limits.volume_24h_nl),
            )
        ]
        most = limits.dose_24h_ng * MS_PER_DAY
        trips.append(self._trip(now_ms, _LONG_MS, most, dose_ng_per_day, self._dose, self._dosed, self._dosed_at))
        return min((trip for trip in trips if trip is not None), default=None)

    def _trip(
        self, now_ms: int, span_ms: int, most: int, rate: int, rates: list[int], total: int, total_at: _TotalAt
    ) -> int | None:
        if rate == 0:
            return None
        head = self._head
        if max(rate, max(rates[head:], default=0)) * span_ms <= most:
            return None
        at_ms = now_ms
        room = most - (total - total_at(now_ms - span_ms))
        if room < 0:
            return now_ms
        # The window's far edge sweeps over the history once; after that the window holds this rate alone.
        for leaves_ms, leaving in self._sweep(now_ms - span_ms, now_ms, rates):
            length = leaves_ms + span_ms - at_ms
            gain = rate - leaving
            if gain > 0 and room // gain < length:
                return at_ms + room // gain
            room -= gain * length
            at_ms += length
        return None

    def _sweep(self, from_ms: int, to_ms: int, rates: list[int]) -> list[tuple[int, int]]:
        """The history from ... to ... as (end of a span, its rate), gaps included."""
        spans: list[tuple[int, int]] = []
        for index in range(max(self._head, bisect_right(self._to, from_ms)), len(self._to)):
            start_ms, end_ms = self._from[index], self._to[index]
            if start_ms > from_ms:
                spans.append((start_ms, 0))
            spans.append((end_ms, rates[index]))
            from_ms = end_ms
        if from_ms < to_ms:
            spans.append((to_ms, 0))
        return spans

    def _volume_at(self, at_ms: int) -> int:
        return self._total_at(at_ms, self._rate, self._volume_before, self._volume)

    def _dosed_at(self, at_ms: int) -> int:
        return self._total_at(at_ms, self._dose, self._dosed_before, self._dosed)

    def _total_at(self, at_ms: int, rates: list[int], before: list[int], total: int) -> int:
        """The sum up to an instant; what lies before the history counts as all given."""
        if not before:
            return total
        index = bisect_right(self._from, at_ms) - 1
        if index < 0:
            return before[0]
        return before[index] + rates[index] * (min(at_ms, self._to[index]) - self._from[index])

    # --- state -------------------------------------------------------------------------------------------------------

    def snapshot(self, now_ms: int) -> st.State:
        """JSON-able state: the last 24 hours. The limits are the pump's, not the governor's."""
        return {"history": [list(segment) for segment in self.history(now_ms)]}

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        rows = st.items(st.table(value, where, ("history",)), "history", where)
        fresh = Governor(self.limits)
        for number, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != 4 or any(type(part) is not int for part in row):
                raise UsageError(f"snapshot {where}.history[{number}]: {row!r} is not four whole numbers")
            start_ms, end_ms, rate, dose = row
            if end_ms <= start_ms or rate < 0 or dose < 0 or not (rate or dose):
                raise UsageError(f"snapshot {where}.history[{number}]: {row!r} is no span of delivery")
            fresh.record(start_ms, end_ms, rate, dose)
        self.__dict__.update(fresh.__dict__)

    def forget(self) -> None:
        """Begin with an empty history (a pump just made)."""
        self.__dict__.update(Governor(self.limits).__dict__)
