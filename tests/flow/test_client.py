"""The driver of a balance against lines that we write ourselves: every way an answer can go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.clock import ManualClock
from telemetry.errors import LinkOpenError, PeerError, UsageError
from telemetry.flow.client import Balance
from telemetry.flow.dialects import DIALECTS, SBI, SICS
from telemetry.flow.lines import Outcome
from telemetry.transport.memory import open_memory
from tests.support.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.errors import LinkClosedError
    from telemetry.transport.base import Receiver, Transport

pytestmark = pytest.mark.virtual


class Peer:
    """The other end: answers what ``say`` makes of what it gets."""

    def __init__(self, say: Callable[[bytes], list[bytes] | None]) -> None:
        self.say = say
        self.heard: list[bytes] = []
        self.transport: Transport | None = None

    def accept(self, transport: Transport) -> Receiver:
        self.transport = transport
        return self

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)
        for piece in self.say(data) or []:
            assert self.transport is not None
            self.transport.write(piece)

    def connection_lost(self, reason: LinkClosedError | None) -> None:
        self.transport = None


def bench(say: Callable[[bytes], list[bytes] | None], dialect: str | None = "sics") -> tuple[Balance, Peer]:
    clock = ManualClock()
    peer = Peer(say)

    async def opener(receiver: Receiver) -> Transport:
        return open_memory(receiver, peer.accept, clock=clock, datagrams=False)

    return Balance(opener, clock, None if dialect is None else DIALECTS[dialect]), peer


async def test_a_mass_comes_in_pieces() -> None:
    balance, peer = bench(lambda _: [b"S S ", b"    12.3", b"456 g\r", b"\n"])
    async with balance:
        line = await balance.read()
    assert (line.outcome, line.mass_ng, line.step_ng) == (Outcome.STABLE, 12_345_600_000, 100_000)
    assert balance.step_ng == 100_000
    assert peer.heard == [b"SI\r\n"]


async def test_noise_before_the_answer_is_passed_over() -> None:
    balance, _ = bench(lambda _: [b"\xff\xfe\r\nhello\r\nS D     0.5000 g\r\n"])
    async with balance:
        line = await balance.read()
    assert (line.outcome, line.mass_ng) == (Outcome.DYNAMIC, 500_000_000)


async def test_silence_is_an_answer_after_the_time_allowed() -> None:
    balance, _ = bench(lambda _: None)
    async with balance:
        line = await balance.read()
    assert (line.outcome, line.text) == (Outcome.SILENT, "no answer to sics within 1000 ms")


async def test_half_a_line_is_garbage_with_advice() -> None:
    balance, _ = bench(lambda _: [b"S S     12.34"])
    async with balance:
        line = await balance.read()
    assert line.outcome is Outcome.GARBAGE
    assert "it sent 13 bytes that are no answer (S S     12.34)" in line.text


async def test_what_was_left_of_the_last_answer_is_not_the_next_one() -> None:
    answers = [[b"S S     1.0000 g\r\nS S     9.0000 g\r\nS S"], [b"S S     2.0000 g\r\n"]]
    balance, _ = bench(lambda _: answers.pop(0))
    async with balance:
        first, second = await balance.read(), await balance.read()
    assert (first.mass_ng, second.mass_ng) == (1_000_000_000, 2_000_000_000)


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_whatever_it_sends_there_is_an_answer_in_time(pieces: list[bytes]) -> None:
    loop = VirtualLoop()
    try:

        async def ask() -> Outcome:
            balance, _ = bench(lambda _: [piece for piece in pieces if piece])
            async with balance:
                return (await balance.read()).outcome

        assert loop.run_until_complete(ask()) in set(Outcome)
    finally:
        loop.close()


async def test_a_flood_is_bounded() -> None:
    balance, _ = bench(lambda _: [b"x" * 1_000_000])
    async with balance:
        line = await balance.read()
        assert len(balance._heard) <= 256
        assert len(balance._lines) <= 64
    assert line.outcome is Outcome.GARBAGE


async def test_a_lost_link_is_said_and_opened_anew() -> None:
    balance, peer = bench(lambda _: [b"S S     1.0000 g\r\n"])
    async with balance:
        assert (await balance.read()).outcome is Outcome.STABLE
        assert peer.transport is not None
        peer.say = lambda _: None
        await peer.transport.close()
        line = await balance.read()
        assert line.outcome is not Outcome.STABLE
        peer.say = lambda _: [b"S S     3.0000 g\r\n"]
        assert (await balance.read()).mass_ng == 3_000_000_000


async def test_a_link_that_cannot_be_opened_is_lost_each_time() -> None:
    tries = 0

    async def opener(receiver: Receiver) -> Transport:
        nonlocal tries
        tries += 1
        if tries > 1:
            raise LinkOpenError("serial:///dev/ttyUSB0: there is no such port")
        return open_memory(receiver, Peer(lambda _: None).accept, clock=clock, datagrams=False)

    clock = ManualClock()
    async with Balance(opener, clock, SICS) as balance:
        await balance._close()
        line = await balance.read()
    assert (line.outcome, line.text) == (Outcome.LOST, "serial:///dev/ttyUSB0: there is no such port")


# --- which dialect ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "asked", "name"),
    [
        (b"S S     1.0000 g\r\n", b"SI\r\n", "sics"),
        (b"+   1.0000 g  \r\n", b"\x1bP\r\n", "sbi"),
        (b"ST,+0001.000  g\r\n", b"Q\r\n", "and"),
    ],
)
async def test_the_dialect_is_found_out(answer: bytes, asked: bytes, name: str) -> None:
    balance, _ = bench(lambda data: [answer] if data == asked else None, dialect=None)
    async with balance:
        assert balance.dialect.name == name
        assert (await balance.read()).outcome is Outcome.STABLE


async def test_nobody_there_says_what_to_look_at() -> None:
    balance, _ = bench(lambda _: None, dialect=None)
    with pytest.raises(
        PeerError, match=r"no balance answers, in none of the protocols sics, sbi, and: is it switched on"
    ):
        await balance.__aenter__()


async def test_a_wrong_baud_rate_says_so() -> None:
    balance, _ = bench(lambda _: [bytes([0xFE, 0x00, 0x86, 0xF8])] * 4, dialect=None)
    with pytest.raises(PeerError, match=r"cannot be read: .* baud rate is probably wrong"):
        await balance.__aenter__()


def test_a_balance_that_was_not_entered_says_so() -> None:
    async def opener(receiver: Receiver) -> Transport:
        raise AssertionError

    with pytest.raises(UsageError, match="enter it first"):
        _ = Balance(opener, ManualClock()).dialect


# --- identity and tare -----------------------------------------------------------------------------------------------


async def test_it_says_who_it_is() -> None:
    answers = {
        b"I2\r\n": b'I2 A "XPE205 Excellence 220.00900 g"\r\n',
        b"I3\r\n": b'I3 A "5.10 18.6.4.1361.772"\r\n',
        b"I4\r\n": b'I4 A "B021002593"\r\n',
    }
    balance, _ = bench(lambda data: [answers[data]])
    async with balance:
        identity = await balance.identify()
    assert identity.facts == {
        "model": "XPE205 Excellence 220.00900 g",
        "software": "5.10 18.6.4.1361.772",
        "serial": "B021002593",
    }
    assert not identity.simulated


async def test_bare_text_is_an_identity_and_silence_is_none() -> None:
    balance, _ = bench(lambda data: [b"PMA7501-X00V1\r\n"] if data == b"\x1bx1_\r\n" else None, dialect="sbi")
    async with balance:
        identity = await balance.identify()
    assert identity.facts == {"model": "PMA7501-X00V1"}


async def test_a_number_without_unit_is_in_the_unit_seen_before() -> None:
    answers = [[b"+   1.0000    \r\n"], [b"+   2.0000 mg \r\n"], [b"-   3.0000    \r\n"]]
    balance, _ = bench(lambda _: answers.pop(0), dialect="sbi")
    async with balance:
        assert (await balance.read()).outcome is Outcome.UNITLESS
        assert (await balance.read()).mass_ng == 2_000_000
        line = await balance.read()
    assert (line.outcome, line.mass_ng) == (Outcome.DYNAMIC, -3_000_000)


async def test_tare_says_how_it_went() -> None:
    balance, _ = bench(lambda _: [b"TI S    100.00 g\r\n"])
    async with balance:
        assert await balance.tare() is Outcome.DONE
    busy, _ = bench(lambda _: [b"TI I\r\n"])
    async with busy:
        assert await busy.tare() is Outcome.BUSY
    mute, peer = bench(lambda _: None, dialect="sbi")
    async with mute:
        assert await mute.tare() is Outcome.DONE
    assert peer.heard == [SBI.tare]
