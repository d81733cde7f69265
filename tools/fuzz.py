"""Feed damaged and random bytes to every decoder of ITP/1 and hold each to its contract.

    FUZZ_RUNS=1000000 python -m tools.fuzz [--seed N] [--target NAME]     mutations of the fixtures, reproducible
    python -m tools.fuzz --atheris --target NAME [libFuzzer options]      coverage-guided, needs the package atheris

Contract: frames, garbage, ``BadFrame`` and ``BadPayload`` are all that ever comes out; what is accepted encodes back
to the bytes it came from; every byte of a stream is accounted for; at most one segment is held; memory does not grow
with the input; no input takes more than seconds. Exit status 1 at the first violation, with seed, run and bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn
from zlib import crc32

from telemetry.errors import BadFrame, BadPayload
from telemetry.protocol.codec import decode, decode_record, encode, encode_record, pad, unpad
from telemetry.protocol.frame import (
    GARBAGE_SAMPLE,
    MAX_SEGMENT,
    Frame,
    StreamDecoder,
    decode_frame,
    encode_frame,
    encode_stream,
)
from telemetry.protocol.wire import HANDSHAKE, IMAGES, RECORDS, FrameType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FIXTURES = Path(__file__).parents[1] / "fixtures"
RECORD_NAMES = (*RECORDS, *IMAGES, *HANDSHAKE)
HANG_S = 10
"""No input comes near a millisecond; a machine under load must not look like a hang."""
MEMORY_GROWTH_KIB = 65_536
BATCH = 4096
INTERESTING = (0x00, 0x01, 0x0E, 0x10, 0x32, 0x33, 0x3D, 0x7F, 0x80, 0xCC, 0xFE, 0xFF)


class ContractError(Exception):
    """A decoder broke its contract."""


def _require(held: object, what: str) -> None:
    if not held:
        raise ContractError(what)


def check_payload(data: bytes) -> bool:
    """One message payload; True when it was accepted."""
    try:
        message = decode(data)
    except BadPayload:
        return False
    _require(encode(message) == data, f"accepted as {message!r}, which encodes otherwise")
    return True


def check_record(data: bytes) -> bool:
    """One record; the first byte chooses which."""
    name = RECORD_NAMES[data[0] % len(RECORD_NAMES)] if data else RECORD_NAMES[0]
    try:
        obj = decode_record(name, data[1:])
    except BadPayload:
        return False
    _require(encode_record(name, obj) == data[1:], f"accepted as {obj!r}, which encodes otherwise")  # type: ignore[arg-type]
    return True


def check_padding(data: bytes) -> bool:
    """One opened plaintext."""
    try:
        payload = unpad(data)
    except BadPayload:
        return False
    _require(pad(payload) == data, "unpadded to what pads otherwise")
    return True


def check_frame(data: bytes) -> bool:
    """One datagram."""
    try:
        frame = decode_frame(data)
    except BadFrame:
        return False
    _require(encode_frame(frame) == data, f"accepted as {frame!r}, which encodes otherwise")
    return True


def check_stream(data: bytes) -> bool:
    """One stream, whole and in two pieces, and a good frame after it."""
    decoder, split = StreamDecoder(), StreamDecoder()
    items = decoder.feed(data)
    cut = data[0] % (len(data) + 1) if data else 0
    _require(split.feed(data[:cut]) + split.feed(data[cut:]) == items, f"cut at {cut} it gives something else")
    in_frames = 0
    for item in items:
        if isinstance(item, Frame):
            # COBS has two forms of some blocks; the accepted one is at most a byte longer than ours.
            in_frames += len(encode_stream(encode_frame(item))) - 2
        else:
            _require(len(item.data) <= GARBAGE_SAMPLE, "garbage is kept whole")
    seen = in_frames + decoder.discarded_bytes + decoder.pending_bytes + data.count(0)
    _require(0 <= len(data) - seen <= decoder.frames, f"{len(data) - seen} bytes are not accounted for")
    _require(len(decoder._held) <= MAX_SEGMENT, "more than one segment is held")  # noqa: SLF001 - its bound
    _require(decoder.feed(_GOOD_STREAM)[-1] == _GOOD, "the next good frame is lost")
    return bool(decoder.frames > 1)


_GOOD = Frame(FrameType.REQ, 0, b"good")
_GOOD_STREAM = encode_stream(encode_frame(_GOOD))


def _entries(name: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((FIXTURES / name).read_text())
    return found


def _hex(files: Iterable[str], key: str = "hex") -> list[bytes]:
    return [bytes.fromhex(entry[key]) for name in files for entry in _entries(name) if entry.get(key)]


def _record_corpus() -> list[bytes]:
    entries = _entries("vectors/records.json") + _entries("hostile/records.json")
    return [bytes([RECORD_NAMES.index(entry["record"])]) + bytes.fromhex(entry["hex"]) for entry in entries]


class Target(NamedTuple):
    """A decoder under its contract and where its inputs start from."""

    check: Callable[[bytes], bool]
    corpus: Callable[[], list[bytes]]


TARGETS = {
    "stream": Target(check_stream, lambda: _hex(["hostile/streams.json"]) + _hex(["vectors/frames.json"], "stream")),
    "frame": Target(check_frame, lambda: _hex(["hostile/frames.json"]) + _hex(["vectors/frames.json"], "datagram")),
    "payload": Target(check_payload, lambda: _hex(["hostile/payloads.json", "vectors/messages.json"])),
    "record": Target(check_record, _record_corpus),
    "padding": Target(
        check_padding, lambda: _hex(["hostile/padding.json"]) + _hex(["vectors/messages.json"], "padded_hex")
    ),
}


def mutate(rng: random.Random, corpus: list[bytes]) -> bytes:
    """An input near the corpus: bytes changed, cut out, repeated, inserted or spliced; now and then pure noise."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(320))
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        action = rng.randrange(7)
        if action <= 1 and at < len(data):
            data[at] = rng.choice(INTERESTING) if action else data[at] ^ 1 << rng.randrange(8)
        elif action == 2:
            del data[at : at + rng.randint(1, 8)]
        elif action == 3:
            data[at:at] = rng.randbytes(rng.randint(1, 4))
        elif action == 4:
            data[at:at] = data[at : at + rng.randint(1, 32)]
        elif action == 5:
            other = rng.choice(corpus)
            data[at:] = other[rng.randrange(len(other) + 1) :]
        elif at + 4 <= len(data):
            data[at : at + 4] = rng.choice((bytes(4), b"\xff\xff\xff\xff", b"\x01\x00\x00\x00"))
    return bytes(data)


def _reseal(rng: random.Random, data: bytes) -> bytes:
    """Half of the damaged datagrams get a right CRC, or nothing behind the CRC would ever be reached."""
    content = data[:-4]
    return content + crc32(content).to_bytes(4, "little") if rng.random() < 0.5 else data


def _hang(_signal: int, _frame: object) -> NoReturn:
    raise ContractError(f"took more than {HANG_S} s")


def run(name: str, runs: int, seed: int) -> tuple[int, int]:
    """Try ``runs`` inputs; (accepted, refused). Raises ``ContractError`` with all that is needed to see it again."""
    target = TARGETS[name]
    corpus = target.corpus()
    accepted, data, number = 0, b"", -1
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    previous = signal.signal(signal.SIGALRM, _hang)
    try:
        for start in range(0, runs, BATCH):
            # A generator per batch: a violation is seen again without the millions of inputs before it.
            rng = random.Random(f"{seed}/{name}/{start}")
            for number in range(start, min(start + BATCH, runs)):  # noqa: B007 - the report names it
                data = mutate(rng, corpus)
                if name == "frame":
                    data = _reseal(rng, data)
                signal.alarm(HANG_S)
                accepted += target.check(data)
            grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
            _require(grown_kib < MEMORY_GROWTH_KIB, f"memory has grown by {grown_kib} KiB")
    except Exception as error:
        raise ContractError(
            f"{name}: {type(error).__name__}: {error}\n  seed {seed}, run {number}, input {data.hex() or '(empty)'}"
        ) from error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    return accepted, runs - accepted


def run_atheris(name: str, arguments: list[str]) -> None:
    """Hand one target to libFuzzer; ends the process. Raises ``SystemExit`` when atheris is missing."""
    try:
        import atheris  # noqa: PLC0415 - optional, and it hooks the interpreter
    except ImportError:
        raise SystemExit("--atheris needs the package atheris: pip install atheris") from None
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *arguments], lambda data: TARGETS[name].check(bytes(data)))
    atheris.Fuzz()


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 when every contract held, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Fuzz the decoders of ITP/1.")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other inputs (default 1)")
    parser.add_argument("--target", choices=TARGETS, help="one decoder only")
    parser.add_argument("--atheris", action="store_true", help="coverage-guided; options after -- go to libFuzzer")
    known, rest = parser.parse_known_args(arguments)
    runs = int(os.environ.get("FUZZ_RUNS", "1000000"))
    if known.atheris:
        run_atheris(known.target or "payload", [f"-runs={runs}", *(item for item in rest if item != "--")])
    if rest:
        parser.error(f"unknown: {' '.join(rest)}")
    for name in [known.target] if known.target else TARGETS:
        try:
            accepted, refused = run(name, runs, known.seed)
        except ContractError as error:
            print(error, file=sys.stderr)
            return 1
        print(f"{name:8} {accepted + refused:>9} inputs: {accepted} accepted, {refused} refused, no violation")
    return 0


if __name__ == "__main__":
    sys.exit(main())
