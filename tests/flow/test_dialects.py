"""The print protocols of balances: lines of the makers' public descriptions, and anything else that may arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.flow.dialects import AND, DIALECTS, SBI, SICS, Dialect, advice, dialect_named
from telemetry.flow.lines import LONGEST_LINE, MASSES, Line, LineCutter, Outcome, mass_text, parse_mass
from telemetry.flow.scale import Display
from telemetry.flow.talk import IDENTITY, TALKS

G = 1_000_000_000

# From the makers' operating instructions: MT-SICS "S S 100.00 g" and its kin, SBI's column tables, special codes.
VECTORS = [
    (SICS, b"S S     100.00 g", Outcome.STABLE, 100 * G),
    (SICS, b"S D      99.98 g", Outcome.DYNAMIC, 99_980_000_000),
    (SICS, b"S S    -0.0032 g", Outcome.STABLE, -3_200_000),
    (SICS, b"S S    1250.31 mg", Outcome.STABLE, 1_250_310_000),
    (SICS, b"S S     0.5001 kg", Outcome.STABLE, 500_100_000_000),
    (SICS, b"S +", Outcome.OVERLOAD, None),
    (SICS, b"S -", Outcome.UNDERLOAD, None),
    (SICS, b"S I", Outcome.BUSY, None),
    (SICS, b"S L", Outcome.NOT_UNDERSTOOD, None),
    (SICS, b"ES", Outcome.NOT_UNDERSTOOD, None),
    (SICS, b"ET", Outcome.NOT_UNDERSTOOD, None),
    (SICS, b"EL", Outcome.NOT_UNDERSTOOD, None),
    (SICS, b"T S     100.00 g", Outcome.DONE, None),
    (SICS, b"T I", Outcome.BUSY, None),
    (SICS, b"ZI D", Outcome.DONE, None),
    (SICS, b'I4 A "B021002593"', Outcome.TEXT, None),
    (SICS, b"S S     100.00 lb", Outcome.FOREIGN_UNIT, None),
    (SBI, b"+   123.56 g  ", Outcome.STABLE, 123_560_000_000),
    (SBI, b"-   123.56 mg ", Outcome.STABLE, -123_560_000),
    (SBI, b"N     +   123.56 g  ", Outcome.STABLE, 123_560_000_000),
    (SBI, b"N     +  123.5[6] g  ", Outcome.STABLE, 123_560_000_000),
    (SBI, b"+   123.56    ", Outcome.UNITLESS, None),
    (SBI, b"+      253 pcs", Outcome.FOREIGN_UNIT, None),
    (SBI, b"Stat       High     ", Outcome.OVERLOAD, None),
    (SBI, b"Stat       Low      ", Outcome.UNDERLOAD, None),
    (SBI, b"      High    ", Outcome.OVERLOAD, None),
    (SBI, b"Stat     ERR 054    ", Outcome.BUSY, None),
    (SBI, b"Stat       Cal. Ext.", Outcome.BUSY, None),
    (AND, b"ST,+00123.45  g", Outcome.STABLE, 123_450_000_000),
    (AND, b"US,-00000.01  g", Outcome.DYNAMIC, -10_000_000),
    (AND, b"OL,+9999999E+19", Outcome.OVERLOAD, None),
    (AND, b"QT,+00000012 PC", Outcome.FOREIGN_UNIT, None),
    (AND, b"EC,E01", Outcome.NOT_UNDERSTOOD, None),
]


@pytest.mark.parametrize(("dialect", "line", "outcome", "mass_ng"), VECTORS, ids=lambda value: str(value)[:24])
def test_a_line_of_the_makers_is_read(dialect: Dialect, line: bytes, outcome: Outcome, mass_ng: int | None) -> None:
    found = dialect.read(line)
    assert (found.outcome, found.mass_ng) == (outcome, mass_ng)


@pytest.mark.parametrize(
    "line",
    [
        b"S S 1.2.3 g",
        b"S S  g",
        b"S S 1.0000000001 g",
        b"S S 1.0001 ug",  # finer than a nanogram
        b"S S 100.00 g S S",
        b"S X     100.00 g",
        b"SS 100.00 g",
        b"S S     100,00 g",
        b"\xd3 S     100.00 g",
        b"",
    ],
)
def test_what_is_no_line_is_no_mass(line: bytes) -> None:
    assert SICS.read(line).outcome is Outcome.GARBAGE


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda one: one.name)
@given(st.binary(max_size=100))
def test_any_bytes_have_an_outcome(dialect: Dialect, line: bytes) -> None:
    found = dialect.read(line)
    assert isinstance(found, Line)
    assert (found.mass_ng is not None) == (found.outcome in MASSES)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda one: one.name)
@given(text=st.text(st.sampled_from("STDNIGHLowg +-.0123456789[],"), max_size=24))
def test_nearly_right_lines_have_an_outcome(dialect: Dialect, text: str) -> None:
    found = dialect.read(text.encode())
    assert (found.mass_ng is not None) == (found.outcome in MASSES)


@pytest.mark.parametrize("name", DIALECTS)
@given(
    steps=st.integers(-99_999_999, 99_999_999),
    power=st.integers(4, 8),
    outcome=st.sampled_from([Outcome.STABLE, Outcome.DYNAMIC]),
)
def test_what_the_virtual_balance_says_is_what_is_read(name: str, steps: int, power: int, outcome: Outcome) -> None:
    step = 10**power
    mass = steps * step
    if abs(mass) >= 100 * G:
        mass %= 100 * G
    said = TALKS[name]().mass(Display(outcome, mass), step)
    assert said.endswith("\r\n")
    if name == "sbi" and len(mass_text(abs(mass), step)) > 9:
        assert "High" in said
        return
    found = DIALECTS[name].read(said[:-2].encode())
    if name == "sbi" and outcome is Outcome.DYNAMIC:
        assert found.outcome is Outcome.UNITLESS
        assert parse_mass(found.text, "g") == (mass, step)
    else:
        assert (found.outcome, found.mass_ng, found.step_ng) == (outcome, mass, step)


@pytest.mark.parametrize("name", DIALECTS)
def test_the_virtual_balance_says_why_there_is_no_mass(name: str) -> None:
    for outcome in (Outcome.OVERLOAD, Outcome.UNDERLOAD, Outcome.BUSY):
        said = TALKS[name]().mass(Display(outcome), 100_000)
        assert DIALECTS[name].read(said.rstrip("\r\n").encode()).outcome is outcome


@pytest.mark.parametrize("name", DIALECTS)
@given(st.binary(max_size=60), st.integers(0, 59))
def test_commands_are_cut_the_same_however_they_arrive(name: str, data: bytes, at: int) -> None:
    whole, parts = TALKS[name](), TALKS[name]()
    for dialect_command in (DIALECTS[name].ask, DIALECTS[name].tare):
        cut = at % len(dialect_command)
        together = whole.commands(dialect_command)
        apart = parts.commands(dialect_command[:cut]) + parts.commands(dialect_command[cut:])
        assert together == apart
        assert all(command in TALKS[name].ACTS for command in together)
        assert len(together) == 1
    TALKS[name]().commands(data)  # whatever it is, it is survived


def test_every_identity_says_that_it_is_simulated() -> None:
    for name, dialect in DIALECTS.items():
        talk = TALKS[name]()
        for fact, command in dialect.identify:
            (asked,) = talk.commands(command)
            assert "SIMULATED" in talk.fact(asked, IDENTITY[fact])
            assert talk.ACTS[asked] == fact


# --- cutting ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=30)))
def test_lines_do_not_depend_on_how_they_are_chopped(pieces: list[bytes]) -> None:
    chopped = LineCutter()
    found = [line for piece in pieces for line in chopped.feed(piece)]
    assert found == LineCutter().feed(b"".join(pieces))


def test_an_endless_line_is_cut_and_dropped() -> None:
    cutter = LineCutter()
    found = cutter.feed(b"x" * 10_000)
    assert [len(line) for line in found] == [LONGEST_LINE + 1]
    assert cutter.clear() == b""
    assert cutter.feed(b"more\r\nS S 1 g\r\n") == [b"more", b"S S 1 g"]


def test_what_follows_an_endless_line_is_read_again() -> None:
    cutter = LineCutter()
    assert cutter.feed(b"x" * 200 + b"\r\nS S 1 g\r\n")[-1] == b"S S 1 g"


@given(st.integers(-(10**12), 10**12), st.sampled_from([1_000, 10_000, 100_000, 1_000_000]))
def test_a_mass_is_printed_and_read_exactly(count: int, step: int) -> None:
    mass = count // step * step
    assert parse_mass(mass_text(mass, step), "g") == (mass, step)


# --- advice ----------------------------------------------------------------------------------------------------------


def test_another_dialect_is_recognised() -> None:
    assert "--protocol sbi" in advice(b"+   123.56 g  \r\n", SICS)
    assert "--protocol sics" in advice(b"S S     100.00 g\r\n", SBI)


def test_seven_bits_with_parity_are_recognised() -> None:
    even = bytes(byte | (0x80 if byte.bit_count() % 2 else 0) for byte in b"S S     100.00 g\r\n")
    assert "8 data bits, no parity" in advice(even, SICS)


def test_a_wrong_baud_rate_is_guessed_at() -> None:
    assert "baud rate" in advice(bytes([0xFE, 0x00, 0x86, 0xF8, 0x1E, 0x9E] * 4), SICS)


def test_a_printer_layout_is_guessed_at() -> None:
    assert "host" in advice(b"Date 12.03.2026\r\nNet weight\r\n", SICS)


@given(st.binary(min_size=1, max_size=256))
def test_there_is_always_advice(raw: bytes) -> None:
    assert len(advice(raw, SICS)) > 40


def test_an_unknown_protocol_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"'ohaus' is unknown; known: auto, sics .*sbi .*and "):
        dialect_named("ohaus")
