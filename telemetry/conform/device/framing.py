"""Steps D-01 to D-09: frames in a stream, noise, damage and lengths, tried on the telemeter, which needs no session."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING
from zlib import crc32

from telemetry.conform.device.catalogue import BASE, CATALOGUE, STREAMED, itp, trust
from telemetry.conform.device.line import read_telemeter_frame
from telemetry.conform.results import EvidenceKind
from telemetry.protocol.codec import encode
from telemetry.protocol.frame import Frame, encode_frame, encode_stream
from telemetry.protocol.messages import ReadStatus, ReadTelemeter, Subscribe, Subscribed, TelemeterReport
from telemetry.protocol.wire import FRAME_CRC, FRAME_HEADER, MAX_FRAME, FrameType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telemetry.conform.device.bench import Bench
    from telemetry.conform.device.line import Line

GROUP = "framing"
_NOISE_BYTES = 600
_STREAM_CUTS = 32


async def _silent_to(bench: Bench, line: Line, sent: Iterable[tuple[str, bytes]], *, raw: bool = False) -> None:
    """Send what must meet silence, then a right request: whatever is answered to the former is a finding."""
    everything, broken = list(sent), 0
    for what, data in everything:
        line.take()
        if raw:
            line.send_bytes(data, what)
        else:
            line.send(data, what)
        tag = line.next_tag()
        line.send(line.telemeter_frame(ReadTelemeter(tag=tag)))
        answer = await line.telemeter_answer(tag)
        others = [read_telemeter_frame(frame) for frame in line.take()]
        names = [type(other).__name__ if other is not None else "a frame" for other in others]
        held = isinstance(answer, TelemeterReport) and not others
        if not held:
            broken += 1
            then = (
                "the right request after it was answered" if answer else "nor was the right request after it answered"
            )
            bench.record.expect(
                held=False, expected=f"silence to {what}", observed=f"{', '.join(names) or 'nothing'}; {then}"
            )
    if not broken:
        bench.record.expect(held=True, expected=f"silence to all {len(everything)}", observed="nothing was answered")
    bench.record.conclude(f"{len(everything) - broken} of {len(everything)} met silence")


@CATALOGUE.step(
    "D-01",
    group=GROUP,
    title="Answers a whole frame, and says that it is simulated if it is",
    purpose="Everything else rests on this exchange.",
    stimulus="A ReadTelemeter in one frame between two zeros, three times with tags of its own.",
    expected="A TelemeterReport with the same tag each time, with one serial number and one SIMULATED mark.",
    sources=(itp("3"), itp("11")),
    claims=BASE,
)
async def _answers_a_frame(bench: Bench) -> None:
    line = await bench.line(placed=False)
    reports = []
    for tag in (1, 0, 0xFFFF):
        line.send(line.telemeter_frame(ReadTelemeter(tag=tag)))
        answer = await line.telemeter_answer(tag)
        bench.record.demand(isinstance(answer, TelemeterReport), f"TelemeterReport with tag {tag}", str(answer))
        assert isinstance(answer, TelemeterReport)  # noqa: S101 - demanded
        reports.append(answer)
    found = {(report.serial, report.simulated) for report in reports}
    bench.record.expect(len(found) == 1, "the same serial number and mark each time", str(sorted(found)))
    mark = "SIMULATED" if reports[0].simulated else "not simulated"
    bench.record.conclude(f"telemeter {reports[0].serial}, {mark}, battery {reports[0].battery_percent} %")


@CATALOGUE.step(
    "D-02",
    group=GROUP,
    title="Passes over noise",
    purpose="A serial line brings noise when it is plugged in; the frame after it must not be lost.",
    stimulus="Random bytes with zeros among them, then a right frame; sixteen times.",
    expected="Each right frame is answered, the noise with nothing.",
    sources=(itp("3"),),
    claims=STREAMED,
)
async def _passes_over_noise(bench: Bench) -> None:
    line = await bench.line()
    noise = Random(2)  # noqa: S311 - repeatable on purpose
    samples = [noise.randbytes(1 + noise.randrange(_NOISE_BYTES)) for _ in range(16)]
    await _silent_to(bench, line, ((f"{len(data)} bytes of noise", data) for data in samples), raw=True)


@CATALOGUE.step(
    "D-03",
    group=GROUP,
    title="Takes a frame however it is cut",
    purpose="A stream has no bounds: what arrives in one read is nobody's choice.",
    stimulus="A right frame in two writes, cut at every place; in writes of one byte; two frames that share a zero.",
    expected="Each frame is answered, once.",
    sources=(itp("3"), trust("4.2")),
    claims=STREAMED,
)
async def _takes_a_cut_frame(bench: Bench) -> None:
    line = await bench.line()
    length = len(encode_stream(line.telemeter_frame(ReadTelemeter(tag=1))))
    cuts: list[tuple[int, ...]] = [(at,) for at in range(1, length)]
    cuts.append(tuple(range(1, length)))
    for cut in cuts:
        tag = line.next_tag()
        data = encode_stream(line.telemeter_frame(ReadTelemeter(tag=tag)))
        bounds = [0, *(at for at in cut if at < len(data)), len(data)]
        for low, high in pairwise(bounds):
            line.send_bytes(data[low:high])
            await line.rest(1)
        where = f"cut at byte {cut[0]}" if len(cut) == 1 else "in single bytes"
        answered = await line.telemeter_answer(tag)
        extra = line.take()
        if not answered or extra:
            bench.record.expect(
                held=False,
                expected=f"one answer to a frame {where}",
                observed=f"{len(extra) + bool(answered)} answers",
            )
    first, second = line.next_tag(), line.next_tag()
    shared = (
        encode_stream(line.telemeter_frame(ReadTelemeter(tag=first)))[:-1]
        + encode_stream(line.telemeter_frame(ReadTelemeter(tag=second)))
        + bytes(5)
    )
    line.send_bytes(shared, "two frames that share a zero, and five zeros")
    for tag in (first, second):
        bench.expect(
            await line.telemeter_answer(tag) is not None, f"an answer to tag {tag} of two that share a zero", "none"
        )
    bench.record.conclude(f"one answer for each of {len(cuts)} ways to cut a frame")


@CATALOGUE.step(
    "D-04",
    group=GROUP,
    title="Checks the check sum",
    purpose="A frame that was damaged on the way must not be acted on.",
    stimulus="A right frame with each of its bits turned, one at a time; and its CRC alone replaced.",
    expected="Silence to every one of them.",
    sources=(itp("4"), trust("4.2")),
    claims=BASE,
)
async def _checks_the_crc(bench: Bench) -> None:
    line = await bench.line()
    frame = line.telemeter_frame(ReadTelemeter(tag=0x5A5A))
    turned = [(f"a frame with bit {bit} turned", _turned(frame, bit)) for bit in range(len(frame) * 8)]
    turned.append(("a frame with a CRC of zeros", frame[: -FRAME_CRC.size] + bytes(FRAME_CRC.size)))
    await _silent_to(bench, line, turned)


def _turned(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ (1 << bit % 8)]) + data[bit // 8 + 1 :]


def _framed(first: int, flags: int, length: int, body: bytes) -> bytes:
    """A frame with this head and a right check sum."""
    data = FRAME_HEADER.pack(first, flags, length) + body
    return data + FRAME_CRC.pack(crc32(data))


@CATALOGUE.step(
    "D-05",
    group=GROUP,
    title="Drops frames whose head is not of this protocol",
    purpose="Another version is another protocol, and a flag that is not known may change what the rest means.",
    stimulus="Frames with a right CRC and another version, an unknown type, a flag, a length that is not the body's.",
    expected="Silence to every one of them.",
    sources=(itp("4"),),
    claims=BASE,
)
async def _drops_foreign_heads(bench: Bench) -> None:
    line = await bench.line()
    body = encode(ReadTelemeter(tag=0x5A5A))
    kind, size = int(FrameType.TELEMETER_REQ), len(body)
    sent = [(f"version {version}", _framed(version << 4 | kind, 0, size, body)) for version in (0, 2, 3, 15)]
    known = {int(frame_type) for frame_type in FrameType}
    sent += [(f"type {number}", _framed(1 << 4 | number, 0, size, body)) for number in range(16) if number not in known]
    sent += [(f"flag 0x{flag:02x}", _framed(1 << 4 | kind, flag, size, body)) for flag in (1, 2, 0x80, 0xFF)]
    lengths = (size - 1, size + 1, 0, 248, 0xFFFF)
    sent += [(f"length {length} with {size} bytes", _framed(1 << 4 | kind, 0, length, body)) for length in lengths]
    await _silent_to(bench, line, sent)


@CATALOGUE.step(
    "D-06",
    group=GROUP,
    title="Bears segments that are too short or too long",
    purpose="Memory is bounded; what lies between two zeros is not.",
    stimulus="Segments of 1 to 7 bytes, frames of 257 bytes, segments of 300, 5 000 and 70 000 bytes without a zero.",
    expected="Silence to each, and an answer to the right frame after it.",
    sources=(itp("3"), itp("4"), trust("2")),
    claims=STREAMED,
)
async def _bears_lengths(bench: Bench) -> None:
    line = await bench.line()
    sent = [(f"a segment of {size} bytes", b"\0" + bytes([1]) * size + b"\0") for size in range(1, 8)]
    sent += [
        (f"a segment of {size} bytes", b"\0" + b"\x55" * size + b"\0") for size in (MAX_FRAME + 3, 300, 5_000, 70_000)
    ]
    sent.append(("a segment of 5 000 bytes that does not end", b"\0" + b"\xaa" * 5_000))
    await _silent_to(bench, line, sent, raw=True)


@CATALOGUE.step(
    "D-07",
    group=GROUP,
    title="Keeps silent to malformed telemeter requests",
    purpose="The telemeter answers what was meant for it and nothing else.",
    stimulus="Telemeter frames that are empty, cut, too long, of an unknown opcode or version, or of another plane.",
    expected="Silence to every one of them.",
    sources=(itp("5"), itp("11")),
    claims=BASE,
)
async def _silent_to_malformed(bench: Bench) -> None:
    line = await bench.line()
    right = encode(ReadTelemeter(tag=0x5A5A))
    payloads = {
        "an empty payload": b"",
        "a header alone": right[:4],
        "a cut payload": right[:-1],
        "a byte too many": right + b"\0",
        "an unknown opcode": b"\x7e" + right[1:],
        "an unknown message version": right[:1] + b"\x09" + right[2:],
        "a request to the pump": encode(ReadStatus()),
        "an answer": encode(Subscribed(tag=1, events=False)),
        "a bool that is neither": encode(Subscribe(tag=1, events=True))[:-1] + b"\x01",
    }
    sent = [(what, encode_frame(Frame(FrameType.TELEMETER_REQ, 0, payload))) for what, payload in payloads.items()]
    await _silent_to(bench, line, sent)


@CATALOGUE.step(
    "D-08",
    group=GROUP,
    title="Sends events to whoever subscribed, and to nobody else",
    purpose="Whoever opens a port next must read nothing that was meant for another.",
    stimulus="Subscribe with events, then without, on one link; a second link that never asked.",
    expected="Subscribed with the same tag and the same choice; nothing unasked for on the second link.",
    sources=(itp("11"),),
    claims=BASE,
)
async def _subscribes(bench: Bench) -> None:
    line = await bench.line()
    for events in (True, False):
        tag = line.next_tag()
        line.send(line.telemeter_frame(Subscribe(tag=tag, events=events)))
        answer = await line.telemeter_answer(tag)
        bench.record.expect(
            isinstance(answer, Subscribed) and answer.events is events, f"Subscribed, events {events}", str(answer)
        )
    await line.rest(line.patience_ms)
    stray = line.take()
    bench.record.expect(not stray, "nothing unasked for", f"{len(stray)} frames")
    bench.record.tell(EvidenceKind.NOTE, "contact events themselves need a hand that lifts the telemeter; not tried")
