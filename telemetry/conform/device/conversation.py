"""Steps D-23 and D-30 to D-39: a session. Repeats cost nothing, forgeries end it, and it ends when it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.conform.device.bench import told
from telemetry.conform.device.catalogue import BASE, CATALOGUE, itp, trust
from telemetry.conform.steps import Blocked
from telemetry.errors import BadPayload
from telemetry.model import AlarmKind, RefusalReason
from telemetry.protocol import messages as wire
from telemetry.protocol.codec import encode, pad
from telemetry.protocol.frame import Frame, encode_frame
from telemetry.protocol.wire import COUNTER, TAG_SIZE, FrameType

if TYPE_CHECKING:
    from telemetry.conform.device.bench import Bench
    from telemetry.conform.device.session import RawSession

GROUP = "session"
IDLE_MS, SESSION_MS = 30_000, 600_000
"""protocol.md 13."""
BAD_TAGS = 16
"""protocol.md 6, session rule 5."""
_ROUNDS = 20


async def _silence(bench: Bench, session: RawSession, data: bytes, what: str) -> None:
    """A frame that no RSP may follow."""
    line = session.line
    line.take()
    line.send(data, what)
    frame = await line.frame(lambda frame: frame.type is FrameType.RSP, line.patience_ms)
    bench.record.expect(frame is None, f"silence to {what}", "nothing came" if frame is None else "an answer came")


async def _works(bench: Bench, session: RawSession, when: str) -> bool:
    answer = await session.ask(wire.ReadStatus())
    return bench.record.expect(isinstance(answer, wire.Status), f"the session works {when}", told(answer))


@CATALOGUE.step(
    "D-23",
    group=GROUP,
    title="Without a session nothing is answered",
    purpose="A request that nobody vouches for is not even refused.",
    stimulus="A request of a session that has been closed, on a link of its own, and a request of random bytes.",
    expected="Silence.",
    sources=(itp("6"), trust("2")),
    claims=BASE,
)
async def _no_session(bench: Bench) -> None:
    session = await bench.session()
    await bench.status(session)
    if not isinstance(await session.ask(wire.Close()), wire.Closed):
        raise Blocked("the session could not be closed")
    line = await bench.line()
    for what, data in (
        ("a request of a closed session", session.seal(wire.ReadStatus(), session.n)),
        ("random bytes as a request", encode_frame(Frame(FrameType.REQ, 0, bytes(4) + bench.entropy(32)))),
    ):
        line.send(data, what)
        frame = await line.frame(lambda frame: frame.type is FrameType.RSP, line.patience_ms)
        bench.record.expect(frame is None, f"silence to {what}", "an answer" if frame else "nothing")


@CATALOGUE.step(
    "D-30",
    group=GROUP,
    title="An identical repeat gets the identical answer and does nothing again",
    purpose="Answers get lost. The programmer repeats, and must not do twice what it asked for once.",
    stimulus="One request, sent five times with the same bytes.",
    expected="The same RSP, byte for byte, five times; the next counter is served after it.",
    sources=(itp("6"), trust("4.5")),
    claims=BASE,
)
async def _identical_repeat(bench: Bench) -> None:
    session = await bench.session()
    n, frame = session.next_frame(wire.ReadStatus())
    bodies = []
    for _ in range(5):
        session.line.send(frame)
        reply = await session.reply(n)
        bodies.append(b"" if reply is None else reply.body)
    held = len(set(bodies)) == 1 and bodies[0] != b""
    bench.record.expect(held, "the same answer five times", f"{len(set(bodies))} distinct, {bodies.count(b'')} missing")
    await _works(bench, session, "with the next counter")


@CATALOGUE.step(
    "D-31",
    group=GROUP,
    title="Serves the expected counter and no other",
    purpose="A request that was recorded, or that overtook another, must not be carried out.",
    stimulus="Earlier requests again, counters ahead of the expected one, a request of an earlier session.",
    expected="Silence to each; the session goes on.",
    sources=(itp("6"), trust("4.5")),
    claims=BASE,
)
async def _only_the_expected(bench: Bench) -> None:
    earlier = await bench.session()
    _, old = earlier.next_frame(wire.ReadStatus())
    earlier.line.send(old)
    await earlier.reply(0)
    session = await bench.session(earlier.line)
    recorded = []
    for _ in range(4):
        n, frame = session.next_frame(wire.ReadIdentity())
        session.line.send(frame)
        bench.demand(await session.reply(n) is not None, f"an answer to request {n}", "none")
        recorded.append(frame)
    for n, frame in enumerate(recorded[:-1]):
        await _silence(bench, session, frame, f"request {n} of this session again")
    for n in (session.n + 1, session.n + 7, 65_535):
        await _silence(bench, session, session.seal(wire.ReadStatus(), n), f"counter {n} while {session.n} is expected")
    await _silence(bench, session, old, "the first request of an earlier session")
    await _works(bench, session, "after that")


@CATALOGUE.step(
    "D-32",
    group=GROUP,
    title="A repeat that differs in a bit is none",
    purpose="The answer that is kept for a repeat must not be had with other bytes.",
    stimulus="The last request again with single bits of its body turned.",
    expected="Silence to each; the session goes on.",
    sources=(itp("6"), trust("4.5")),
    claims=BASE,
)
async def _altered_repeat(bench: Bench) -> None:
    session = await bench.session()
    n, frame = session.next_frame(wire.ReadStatus())
    session.line.send(frame)
    bench.demand(await session.reply(n) is not None, "an answer", "none")
    body = frame[4:-4]
    for at in (COUNTER.size, len(body) // 2, len(body) - TAG_SIZE, len(body) - 1):
        changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        data = encode_frame(Frame(FrameType.REQ, 0, changed))
        await _silence(bench, session, data, f"the last request with byte {at} of {len(body)} altered")
    await _works(bench, session, "after that")


@CATALOGUE.step(
    "D-33",
    group=GROUP,
    title="The sixteenth forgery ends the session",
    purpose="Whoever guesses gets few guesses; a bad line must not cost a session at once.",
    stimulus="Fifteen requests with a wrong tag, then a right one; one more with a wrong tag, then a right one.",
    expected="Silence to the forgeries; an answer to the first right request and none to the second.",
    sources=(itp("6"), trust("4.6")),
    claims=BASE,
)
async def _bad_tags(bench: Bench) -> None:
    session = await bench.session()
    body = session.seal(wire.ReadStatus(), 0)[4:-4]
    for number in range(BAD_TAGS - 1):
        changed = body[:-1] + bytes([body[-1] ^ (number + 1)])
        session.line.send(encode_frame(Frame(FrameType.REQ, 0, changed)), "wrong tag")
    await _works(bench, session, f"after {BAD_TAGS - 1} wrong tags")
    body = session.seal(wire.ReadStatus(), session.n)[4:-4]
    await _silence(bench, session, encode_frame(Frame(FrameType.REQ, 0, body[:-1] + bytes([body[-1] ^ 1]))), "one more")
    answer = await session.ask(wire.ReadStatus(), tries=1)
    bench.record.expect(answer is None, "silence once sixteen tags were wrong", told(answer))


@CATALOGUE.step(
    "D-34",
    group=GROUP,
    title="Close ends the session",
    purpose="Truncation must show, and the pump must be free for others at once.",
    stimulus="Close; the identical Close again; another request.",
    expected="Closed, the identical Closed, silence.",
    sources=(itp("6"), trust("4.7")),
    claims=BASE,
)
async def _close(bench: Bench) -> None:
    session = await bench.session()
    await bench.status(session)
    n, frame = session.next_frame(wire.Close())
    bodies = []
    for _ in range(2):
        session.line.send(frame)
        reply = await session.reply(n)
        closed = reply is not None and isinstance(reply.message, wire.Closed)
        bodies.append(reply.body if reply is not None and closed else b"")
    bench.expect(bodies[0] != b"", "Closed", "none")
    bench.expect(bodies[0] == bodies[1], "the identical Closed to the identical Close", "another, or none")
    await _silence(bench, session, session.seal(wire.ReadStatus(), session.n), "a request after Close")


@CATALOGUE.step(
    "D-35",
    group=GROUP,
    title="An idle session ends after thirty seconds",
    purpose="A tablet that was put down must not keep the pump from another.",
    stimulus="A request after 25 s of silence, and one after 31 s more.",
    expected="An answer to the first, silence to the second.",
    sources=(itp("13"), trust("4.7")),
    claims=BASE,
)
async def _idle(bench: Bench) -> None:
    session = await bench.session()
    await bench.status(session)
    await session.line.rest(IDLE_MS - 5_000)
    await _works(bench, session, "after 25 s of silence")
    await session.line.rest(IDLE_MS + 1_000)
    answer = await session.ask(wire.ReadStatus(), tries=1)
    bench.record.expect(answer is None, "silence after 31 s without a request", told(answer))


@CATALOGUE.step(
    "D-36",
    group=GROUP,
    title="No session lasts longer than ten minutes",
    purpose="Keys are for one visit.",
    stimulus="A request every 20 s until 601 s have passed.",
    expected="Answers until 595 s, silence at 601 s.",
    sources=(itp("13"), trust("4.7")),
    claims=("itp/1", "long"),
)
async def _session_limit(bench: Bench) -> None:
    session = await bench.session()
    began_ms = bench.clock.link_ms()
    while bench.clock.link_ms() - began_ms < SESSION_MS - 25_000:
        await session.line.rest(20_000)
        if not await _works(bench, session, f"at {(bench.clock.link_ms() - began_ms) // 1_000} s"):
            return
    await session.line.rest(SESSION_MS - 5_000 - (bench.clock.link_ms() - began_ms))
    await _works(bench, session, "at 595 s")
    await session.line.rest(6_000)
    answer = await session.ask(wire.ReadStatus(), tries=1)
    bench.record.expect(answer is None, "silence at 601 s", told(answer))


def _malformed() -> dict[str, tuple[bytes, RefusalReason]]:
    layout = RefusalReason.BAD_LAYOUT
    log, silence = encode(wire.ReadLog(from_sequence=0, max_records=1)), encode(wire.SilenceAlarms(duration_s=60))
    return {
        "an opcode nobody has": (pad(b"\x3f\x01\x00\x00"), RefusalReason.UNKNOWN_MESSAGE),
        "an answer as a request": (pad(encode(wire.Begun())), layout),
        "an unknown message version": (pad(log[:1] + b"\x07" + log[2:]), layout),
        "a field cut off": (pad(log[:2] + b"\x04\x00" + log[4:-1]), layout),
        "a byte too many": (pad(log[:2] + b"\x06\x00" + log[4:] + b"\x01"), layout),
        "a number below its range": (pad(log[:-1] + b"\x00"), layout),
        "a number above its range": (pad(log[:-1] + b"\x09"), layout),
        "a duration of nothing": (pad(silence[:-2] + b"\x00\x00"), layout),
        "a code in no table": (
            pad(encode(wire.AcknowledgeAlarm(kind=AlarmKind.LOW_RESERVOIR))[:-1] + b"\xfd"),
            layout,
        ),
        "padding that is not zero": (pad(log)[:-1] + b"\x01", layout),
        "a block of padding too many": (pad(log) + bytes(16), layout),
    }


@CATALOGUE.step(
    "D-37",
    group=GROUP,
    title="Refuses what is laid out wrongly, and goes on",
    purpose="An authentic programmer with a defect must be told, and must not bring anything down.",
    stimulus="Eleven sealed requests whose plaintext breaks its layout, each in a way of its own.",
    expected="Refusal format, bad_layout (or unsupported, unknown_message); the session goes on.",
    sources=(itp("5"), trust("2")),
    claims=BASE,
)
async def _malformed_requests(bench: Bench) -> None:
    session = await bench.session()
    for what, (padded, reason) in _malformed().items():
        bench.expect_refusal(await session.ask(padded, tries=1), reason, what)
    await _works(bench, session, "after eleven malformed requests")


@CATALOGUE.step(
    "D-38",
    group=GROUP,
    title="An answer bears the counter of its request, and opens",
    purpose="An answer to another question must not be taken for one to this.",
    stimulus="Twenty requests.",
    expected="Twenty answers, one for each counter, nothing besides.",
    sources=(itp("6"), trust("4.5")),
    claims=BASE,
)
async def _counters(bench: Bench) -> None:
    session = await bench.session()
    session.line.take()
    for _ in range(_ROUNDS):
        n, frame = session.next_frame(wire.ReadStatus())
        session.line.send(frame)
        reply = await session.reply(n)
        found = "none" if reply is None else str(reply.message) if isinstance(reply.message, BadPayload) else ""
        held = reply is not None and isinstance(reply.message, wire.Status)
        if not held:
            bench.record.expect(held=False, expected=f"a Status with counter {n}", observed=found or "another message")
    strays = session.line.take()
    bench.record.expect(not strays, f"{_ROUNDS} answers and nothing besides", f"{len(strays)} frames besides")


@CATALOGUE.step(
    "D-39",
    group=GROUP,
    title="Answers in time",
    purpose="A programmer that waits in vain repeats, and in the end must call the outcome unknown.",
    stimulus="Twenty requests of four kinds, none repeated.",
    expected="Each answered within 300 ms, air time, delays and the allowance for the host link added.",
    sources=(itp("13"), trust("4.7")),
    claims=BASE,
)
async def _in_time(bench: Bench) -> None:
    session = await bench.session()
    kinds = (wire.ReadStatus(), wire.ReadIdentity(), wire.ReadAlarms(), wire.ReadLedger())
    took_ms: list[int] = []
    limit_ms = session.line.patience_ms
    for round_number in range(_ROUNDS):
        n, frame = session.next_frame(kinds[round_number % len(kinds)])
        sent_ms = bench.clock.link_ms()
        session.line.send(frame)
        reply = await session.reply(n, within_ms=10 * limit_ms)
        if reply is None:
            bench.record.expect(
                held=False, expected=f"an answer to request {n}", observed=f"none in {10 * limit_ms} ms"
            )
            break
        took_ms.append(bench.clock.link_ms() - sent_ms)
    bench.record.measure("time to an answer", "ms", took_ms, limit=limit_ms)
    if took_ms:
        bench.record.conclude(f"{len(took_ms)} answers, the slowest after {max(took_ms)} ms of {limit_ms} ms allowed")
