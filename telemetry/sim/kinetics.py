"""Linear compartments solved exactly for any span: no step, so no step error, and any cut of time agrees.

A system is ``dx/dt = M x`` with rates per hour; a constant input is one more compartment that does not change. Floats
are allowed here: this is a read-out beside the pump, never part of what the pump does.
"""

from __future__ import annotations

import math
from functools import lru_cache

from telemetry.units import MS_PER_HOUR

Row = tuple[float, ...]
Matrix = tuple[Row, ...]
"""Lower triangular: a compartment depends on those before it only."""
_TERMS = 18
"""Of the exponential's series at a norm of at most one half: the next term is below 1e-22."""


def propagate(system: Matrix, state: Row, span_ms: int) -> Row:
    """The state ``span_ms`` later. Exact to rounding (about 1e-12), whatever the span."""
    return _apply(_over(system, span_ms), state) if span_ms else state


@lru_cache(maxsize=2048)
def _over(system: Matrix, span_ms: int) -> Matrix:
    """What a span does: the product of the spans of 2, 4, 8 … ms that it is made of."""
    result: Matrix | None = None
    bit = 0
    while span_ms >> bit:
        if span_ms >> bit & 1:
            power = _power(system, bit)
            result = power if result is None else _product(power, result)
        bit += 1
    return result if result is not None else _unit(len(system))


@lru_cache(maxsize=1024)
def _power(system: Matrix, bit: int) -> Matrix:
    """exp(M * 2^bit ms), each from its own series, so that no error is handed from one to the next."""
    hours = (1 << bit) / MS_PER_HOUR
    norm = max(sum(abs(value) for value in row) for row in system) * hours
    squarings = max(0, math.ceil(math.log2(norm)) + 1) if norm > 0 else 0
    scale = hours / (1 << squarings)
    step = tuple(tuple(value * scale for value in row) for row in system)
    term = total = _unit(len(system))
    for number in range(1, _TERMS + 1):
        term = tuple(tuple(value / number for value in row) for row in _product(term, step))
        total = tuple(tuple(a + b for a, b in zip(one, two, strict=True)) for one, two in zip(total, term, strict=True))
    for _ in range(squarings):
        total = _product(total, total)
    return total


def _unit(size: int) -> Matrix:
    return tuple(tuple(1.0 if row == column else 0.0 for column in range(size)) for row in range(size))


def _product(left: Matrix, right: Matrix) -> Matrix:
    size = len(left)
    return tuple(
        tuple(
            sum(left[row][k] * right[k][column] for k in range(column, row + 1)) if column <= row else 0.0
            for column in range(size)
        )
        for row in range(size)
    )


def _apply(matrix: Matrix, state: Row) -> Row:
    return tuple(
        sum(factor * value for factor, value in zip(row[: at + 1], state, strict=False))
        for at, row in enumerate(matrix)
    )
