"""Undamaged frames out of a damaged stream, whatever the chunking; and the same for pymodbus RTU, for scale.

A damaged frame has one bit flipped anywhere in what goes over the line, delimiters included. *False accept*: a frame
given out that was not sent. pymodbus frames RTU by length and silence (the silence of a real line is not there when
bytes are fed in one go), so that its figures are for scale and no contest.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse

from benchmarks import harness
from benchmarks.samples import STATUS
from telemetry.protocol.codec import encode
from telemetry.protocol.frame import Frame, StreamDecoder, encode_frame, encode_stream
from telemetry.protocol.wire import FrameType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FRAMES = 5_000
DAMAGED_PERCENT = (0, 1, 5)
CHUNKS: dict[str, int | None] = {"1 byte": 1, "7 bytes": 7, "64 bytes": 64, "4096 bytes": 4096, "random": None}
"""Bytes handed over at once; None draws 1 to 300 each time."""
_LONGEST_CHUNK = 300
_MODBUS_REGISTERS = 8
_SEED = 20_261_122


@dataclass(frozen=True, slots=True)
class Stream:
    """Bytes for the line. ``undamaged`` are those frames that were left alone, in order."""

    data: bytes
    sent: tuple[Frame, ...]
    undamaged: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came out of a stream. ``missed`` undamaged frames did not; ``false_accepts`` came and had not been sent."""

    good: int
    missed: int
    false_accepts: int
    elapsed_ns: int


def make_stream(frames: int, damaged_percent: int, seed: int = _SEED) -> Stream:
    """Status frames that all differ, ``damaged_percent`` of them with one flipped bit."""
    draw = random.Random(f"{seed}/{damaged_percent}/{frames}")
    sent, undamaged, line = [], [], bytearray()
    hit = set(draw.sample(range(frames), frames * damaged_percent // 100))
    for number in range(frames):
        body = encode(replace(STATUS, reservoir_nl=number, now_s=draw.getrandbits(40)))
        frame = Frame(FrameType.RSP, 0, body)
        piece = encode_stream(encode_frame(frame))
        sent.append(frame)
        if number in hit:
            piece = flip(piece, draw.randrange(8 * len(piece)))
        else:
            undamaged.append(frame)
        line += piece
    return Stream(bytes(line), tuple(sent), tuple(undamaged))


def flip(data: bytes, bit: int) -> bytes:
    """The bytes with one bit the other way."""
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def cut(data: bytes, size: int | None, seed: int = _SEED) -> list[bytes]:
    """The bytes in pieces of ``size``, or of random sizes when None."""
    if size is not None:
        return [data[start : start + size] for start in range(0, len(data), size)]
    draw, pieces, at = random.Random(seed), [], 0
    while at < len(data):
        length = draw.randint(1, _LONGEST_CHUNK)
        pieces.append(data[at : at + length])
        at += length
    return pieces


def recover(stream: Stream, pieces: Sequence[bytes]) -> Recovered:
    """Feed the pieces to a decoder and compare what it gives, in order, with what was sent undamaged."""
    decoder = StreamDecoder()
    feed = decoder.feed
    begun = time.perf_counter_ns()
    given = [item for piece in pieces for item in feed(piece) if isinstance(item, Frame)]
    elapsed_ns = time.perf_counter_ns() - begun
    good, false_accepts = in_order(given, stream.undamaged)
    return Recovered(good, len(stream.undamaged) - good, false_accepts, elapsed_ns)


def in_order(given: Sequence[object], wanted: Sequence[object]) -> tuple[int, int]:
    """How many of ``wanted`` were given, in order, and how many given ones are none of them."""
    left: Iterator[object] = iter(wanted)
    good = strange = 0
    for item in given:
        for candidate in left:
            if candidate == item:
                good += 1
                break
        else:
            strange += 1
            left = iter(())
    return good, strange


def modbus_stream(frames: int, damaged_percent: int, seed: int = _SEED) -> tuple[list[bytes], set[int]]:
    """RTU answers of eight registers that all differ, some with one flipped bit; and which ones those are."""
    framer = FramerRTU(DecodePDU(is_server=False))
    draw = random.Random(f"{seed}/{damaged_percent}/{frames}")
    hit = set(draw.sample(range(frames), frames * damaged_percent // 100))
    pieces = []
    for number in range(frames):
        registers = [number & 0xFFFF, *(draw.getrandbits(16) for _ in range(_MODBUS_REGISTERS - 1))]
        piece = bytes(framer.buildFrame(ReadHoldingRegistersResponse(dev_id=1, registers=registers)))
        pieces.append(flip(piece, draw.randrange(8 * len(piece))) if number in hit else piece)
    return pieces, hit


def recover_modbus(pieces: Sequence[bytes], hit: set[int]) -> Recovered:
    """Feed an RTU stream, one frame at a time into a running buffer, and count what comes out."""
    framer = FramerRTU(DecodePDU(is_server=False))
    registers = [
        tuple(int.from_bytes(piece[3 + 2 * i : 5 + 2 * i], "big") for i in range(_MODBUS_REGISTERS)) for piece in pieces
    ]
    wanted = [values for number, values in enumerate(registers) if number not in hit]
    given: list[tuple[int, ...]] = []
    held = b""
    begun = time.perf_counter_ns()
    for piece in pieces:
        held += piece
        while held:
            used, pdu = framer.handleFrame(held, 0, 0)
            held = held[used:]
            if pdu is not None:
                given.append(tuple(pdu.registers))
            if not used:
                break
    elapsed_ns = time.perf_counter_ns() - begun
    good, strange = in_order(given, wanted)
    return Recovered(good, len(wanted) - good, strange, elapsed_ns)


def run(plan: harness.Plan) -> harness.Result:
    """Measure; throughput in frames and bytes a second, the median of the rounds."""
    result = harness.Result("recovery")
    frames = plan.count(FRAMES, 200)
    missed = false_accepts = 0
    for percent in DAMAGED_PERCENT:
        stream = make_stream(frames, percent)
        rows: dict[str, object] = {}
        for name, size in CHUNKS.items():
            pieces = cut(stream.data, size)
            found = [recover(stream, pieces) for _ in range(plan.rounds)]
            missed += sum(each.missed for each in found)
            false_accepts += sum(each.false_accepts for each in found)
            elapsed = harness.Timing(tuple((each.elapsed_ns,) for each in found))
            rows[name] = {
                "recovered": found[0].good,
                "undamaged": len(stream.undamaged),
                "frames_per_s": round(frames * 1_000_000 / elapsed.median_us),
                "mib_per_s": round(len(stream.data) * 1_000_000 / elapsed.median_us / 2**20, 2),
                "spread": elapsed.as_figures()["spread"],
            }
        result.figures[f"{percent} % damaged"] = rows
        modbus_pieces, hit = modbus_stream(frames, percent)
        modbus = [recover_modbus(modbus_pieces, hit) for _ in range(plan.rounds)]
        elapsed = harness.Timing(tuple((each.elapsed_ns,) for each in modbus))
        result.figures[f"{percent} % damaged, pymodbus RTU"] = {
            "recovered": modbus[0].good,
            "undamaged": frames - len(hit),
            "false_accepts": modbus[0].false_accepts,
            "frames_per_s": round(frames * 1_000_000 / elapsed.median_us),
        }
    result.figures["frames"] = frames
    result.fact("undamaged frames missed", missed)
    result.fact("frames accepted that were not sent", false_accepts)
    result.notes = [
        "one flipped bit in each damaged frame, delimiters included; every frame differs from every other",
        f"pymodbus RTU: {_MODBUS_REGISTERS} registers a frame, fed frame by frame without the silence of a real line",
    ]
    return result
