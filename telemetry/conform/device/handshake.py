"""Steps D-10 to D-22: the handshake. A stranger meets silence; a recorded word is worth nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.conform.device.bench import told
from telemetry.conform.device.catalogue import BASE, CATALOGUE, itp, trust
from telemetry.conform.device.session import Greeting, RawSession, ask_beacon, greet, probe_body
from telemetry.model import Role
from telemetry.protocol import messages as wire
from telemetry.protocol.credentials import SLOTS
from telemetry.protocol.frame import Frame, encode_frame
from telemetry.protocol.handshake import PROBE_ID_SIZE, wake_tag
from telemetry.protocol.primitives import KEY_SIZE, KeyPair, Secret
from telemetry.protocol.wire import LAYOUT_FINGERPRINT, PROTOCOL_MAJOR, SUITE_NOISE_KKPSK0, BeaconFlag, FrameType

if TYPE_CHECKING:
    from telemetry.conform.device.bench import Bench
    from telemetry.conform.device.line import Line
    from telemetry.protocol.credentials import Credential

GROUP = "handshake"
CHALLENGE_MS = 5_000
"""protocol.md 13."""
_CHALLENGES = 16
_BITS = 48


async def _meets_silence(bench: Bench, line: Line, greeting: Greeting, what: str) -> None:
    """A HELLO that must not be answered."""
    line.take()
    line.send(greeting.frame)
    frame = await line.frame(lambda frame: frame.type in {FrameType.ACCEPT, FrameType.BEACON}, line.patience_ms)
    bench.record.expect(
        frame is None, f"silence to {what}", "nothing came" if frame is None else f"{frame.type.name} came"
    )


async def _opens(bench: Bench, line: Line, what: str) -> None:
    """The right credential still opens a session."""
    opened = await bench.try_session(line)
    bench.record.expect(isinstance(opened, RawSession), f"a session for the right credential {what}", str(opened))


@CATALOGUE.step(
    "D-10",
    group=GROUP,
    title="BEACON answers PROBE, and only its owner can tell whose it is",
    purpose="A pump that anybody can recognise follows its patient everywhere.",
    stimulus="A PROBE with a random number.",
    expected="A BEACON of this version and suite with that number, and a wake tag that the card's key makes.",
    sources=(itp("6"), trust("4.4")),
    claims=BASE,
)
async def _beacon(bench: Bench) -> None:
    line = await bench.line()
    offer = await bench.offer(line)
    found = offer.beacon
    record = bench.record
    record.expect(
        (found.version, found.suite) == (PROTOCOL_MAJOR, SUITE_NOISE_KKPSK0),
        f"version {PROTOCOL_MAJOR}, suite {SUITE_NOISE_KKPSK0}",
        f"version {found.version}, suite {found.suite}",
    )
    expected = wake_tag(bench.credential(Role.CLINICIAN).find_key, found.challenge)
    record.expect(found.wake_tag == expected, f"wake tag {expected.hex()}", found.wake_tag.hex())
    record.expect(not found.flags & BeaconFlag.BUSY, "no busy flag before anybody is known", f"flags {found.flags}")
    test_card = bench.credential(Role.CLINICIAN).test
    record.expect(
        offer.test_device == test_card,
        "the test flag of a device that takes the test card" if test_card else "no test flag",
        "test device" if offer.test_device else "no test device",
    )


@CATALOGUE.step(
    "D-11",
    group=GROUP,
    title="A challenge is never used twice",
    purpose="A recorded HELLO is worthless exactly as long as no challenge comes again.",
    stimulus="One PROBE sent twice, then sixteen others.",
    expected="The identical BEACON to the identical PROBE; sixteen challenges and sixteen wake tags, all different.",
    sources=(itp("6"), trust("4.4")),
    claims=BASE,
)
async def _fresh_challenges(bench: Bench) -> None:
    line = await bench.line()
    probe = probe_body(bench.entropy(PROBE_ID_SIZE))
    first, again = await ask_beacon(line, probe), await ask_beacon(line, probe)
    same = first is not None and again is not None and first.body == again.body
    bench.expect(same, "the identical BEACON to the identical PROBE", "another one, or none")
    offers = [await bench.offer(line) for _ in range(_CHALLENGES)]
    challenges = {offer.beacon.challenge for offer in offers} | ({first.beacon.challenge} if first else set())
    tags = {offer.beacon.wake_tag for offer in offers}
    bench.record.expect(
        len(challenges) == _CHALLENGES + 1 and len(tags) == _CHALLENGES,
        f"{_CHALLENGES + 1} challenges and {_CHALLENGES} wake tags, all different",
        f"{len(challenges)} and {len(tags)}",
    )


@CATALOGUE.step(
    "D-12",
    group=GROUP,
    title="Says which version it speaks to a programmer of another",
    purpose="Too old and too new are mended differently.",
    stimulus="PROBEs for versions 2 to 9, and for no suite at all.",
    expected="A BEACON with version 0, the pump's own version in place of the suite, no challenge and no wake tag.",
    sources=(itp("6"), trust("4.3")),
    claims=BASE,
)
async def _no_common_version(bench: Bench) -> None:
    line = await bench.line()
    for what, probe in (
        ("versions 2 to 9", probe_body(bench.entropy(PROBE_ID_SIZE), low=2, high=9)),
        ("no suite", probe_body(bench.entropy(PROBE_ID_SIZE), suites=0)),
    ):
        offer = await ask_beacon(line, probe)
        found = None if offer is None else offer.beacon
        held = (
            found is not None
            and (found.version, found.suite) == (0, PROTOCOL_MAJOR)
            and not any(found.challenge)
            and not any(found.wake_tag)
        )
        bench.record.expect(held, f"version 0 and nothing else to {what}", str(found))
    await _opens(bench, line, "after that")


def _spoiled(right: Credential) -> dict[str, Credential]:
    other = Secret(bytes(range(KEY_SIZE)))
    return {
        "a wrong gate key": replace(right, gate=other),
        "a wrong pre-shared key": replace(right, psk=other),
        "another static key": replace(right, static=KeyPair(other)),
        "a slot that does not exist": replace(right, slot=SLOTS),
        "slot 0": replace(right, slot=0),
        "a slot number out of range": replace(right, slot=200),
        "another slot's number": replace(right, slot=right.slot % SLOTS + 1),
    }


@CATALOGUE.step(
    "D-13",
    group=GROUP,
    title="A wrong credential meets silence",
    purpose="Whoever is told why learns what to try next.",
    stimulus="HELLOs whose gate key, pre-shared key, static key or slot is wrong, each for a challenge of its own.",
    expected="Silence to each; afterwards the right credential opens a session.",
    sources=(itp("6"), trust("2")),
    claims=BASE,
)
async def _wrong_credentials(bench: Bench) -> None:
    line = await bench.line()
    for what, credential in _spoiled(bench.credential(Role.CLINICIAN)).items():
        greeting = bench.greeting(await bench.offer(line), credential=credential)
        await _meets_silence(bench, line, greeting, what)
    await _opens(bench, line, "after them")


@CATALOGUE.step(
    "D-14",
    group=GROUP,
    title="A session never gets more than its slot",
    purpose="The role belongs to the slot on the pump, not to what a programmer says of itself.",
    stimulus="An observer's credential that asks for every other role; a clinician's that asks for less.",
    expected="Silence to more; a session in the role asked for to less.",
    sources=(itp("10"), trust("4.9")),
    claims=("itp/1", "roles"),
)
async def _role_beyond_slot(bench: Bench) -> None:
    line = await bench.line()
    observer, clinician = bench.credential(Role.OBSERVER), bench.credential(Role.CLINICIAN)
    for role in Role:
        if role is not Role.OBSERVER:
            greeting = bench.greeting(await bench.offer(line), role, credential=observer)
            await _meets_silence(bench, line, greeting, f"an observer who asks for {role.value}")
    for role in (Role.OBSERVER, Role.EMERGENCY):
        greeting = bench.greeting(await bench.offer(line), role, credential=clinician)
        opened = await greet(line, greeting)
        found = opened.accept.role if isinstance(opened, RawSession) else None
        bench.record.expect(found is role, f"a session as {role.value} for a clinician's slot", str(found))
        if isinstance(opened, RawSession):
            await opened.ask(wire.Close())


@CATALOGUE.step(
    "D-15",
    group=GROUP,
    title="A challenge is good for one HELLO, and only the live one",
    purpose="Every second use of a challenge would be a chance for whoever recorded the first.",
    stimulus="A HELLO for a challenge that another PROBE has replaced; a second HELLO for a challenge already used.",
    expected="Silence to both.",
    sources=(itp("6"), trust("4.4")),
    claims=BASE,
)
async def _challenge_once(bench: Bench) -> None:
    line = await bench.line()
    old = await bench.offer(line)
    await bench.offer(line)
    await _meets_silence(bench, line, bench.greeting(old), "a challenge that was replaced")
    offer = await bench.offer(line)
    first = await greet(line, bench.greeting(offer))
    bench.record.demand(isinstance(first, RawSession), "a session for a fresh challenge", str(first))
    await _meets_silence(bench, line, bench.greeting(offer), "a challenge that was used")


@CATALOGUE.step(
    "D-16",
    group=GROUP,
    title="A challenge lives five seconds",
    purpose="What is not used at once is not used by whoever asked for it.",
    stimulus="A HELLO 5.5 s after its BEACON.",
    expected="Silence; a HELLO at once opens a session.",
    sources=(itp("13"), trust("4.7")),
    claims=BASE,
)
async def _challenge_expires(bench: Bench) -> None:
    line = await bench.line()
    offer = await bench.offer(line)
    await line.rest(CHALLENGE_MS + 500)
    await _meets_silence(bench, line, bench.greeting(offer), "a challenge of 5.5 s ago")
    await _opens(bench, line, "at once")


@CATALOGUE.step(
    "D-17",
    group=GROUP,
    title="A recorded handshake opens nothing",
    purpose="Whoever records a clinician's visit must not be able to repeat it.",
    stimulus="A whole visit is recorded; later its PROBE and HELLO are sent again, and its requests.",
    expected="Neither ACCEPT nor answer.",
    sources=(itp("6"), trust("2")),
    claims=BASE,
)
async def _recorded_handshake(bench: Bench) -> None:
    line = await bench.line()
    greeting = bench.greeting(await bench.offer(line))
    session = await greet(line, greeting)
    bench.record.demand(isinstance(session, RawSession), "a session to record", str(session))
    assert isinstance(session, RawSession)  # noqa: S101 - demanded
    _, request = session.next_frame(wire.ReadStatus())
    line.send(request)
    bench.demand(await session.reply(0) is not None, "an answer to record", "none")
    await session.ask(wire.Close())
    await bench.offer(line)  # somebody else wakes the pump meanwhile
    line.take()
    for what, data in (
        ("the recorded PROBE", encode_frame(Frame(FrameType.PROBE, 0, greeting.offer.probe))),
        ("the recorded HELLO", greeting.frame),
        ("the recorded request", request),
    ):
        line.send(data, "recorded earlier")
        frame = await line.frame(lambda frame: frame.type in {FrameType.ACCEPT, FrameType.RSP}, line.patience_ms)
        bench.record.expect(
            frame is None, f"neither ACCEPT nor answer to {what}", frame.type.name if frame else "nothing"
        )


@CATALOGUE.step(
    "D-18",
    group=GROUP,
    title="The identical HELLO gets the identical answer",
    purpose="An ACCEPT can be lost; the repeat must cost the pump nothing and change nothing.",
    stimulus="A HELLO sent three times.",
    expected="The same ACCEPT, byte for byte, three times; the session works.",
    sources=(itp("6"),),
    claims=BASE,
)
async def _identical_hello(bench: Bench) -> None:
    line = await bench.line()
    greeting = bench.greeting(await bench.offer(line))
    bodies = []
    for _ in range(3):
        line.send(greeting.frame)
        frame = await line.frame(lambda frame: frame.type is FrameType.ACCEPT, line.patience_ms)
        bodies.append(b"" if frame is None else frame.body)
    bench.record.expect(
        len(set(bodies)) == 1 and bodies[0] != b"", "the same ACCEPT three times", f"{len(set(bodies))} distinct"
    )
    opened = greeting.open(Frame(FrameType.ACCEPT, 0, bodies[0])) if bodies[0] else None
    bench.demand(opened is not None, "an ACCEPT that opens", "one that does not")
    assert opened is not None  # noqa: S101 - demanded
    await bench.status(RawSession(line, greeting, *opened))


@CATALOGUE.step(
    "D-19",
    group=GROUP,
    title="No bit of HELLO may change",
    purpose="Everything that was said before the session is bound into it.",
    stimulus="One HELLO with single bits turned, 48 of them spread over the whole of it; then the true one.",
    expected="Silence to each altered one; the true one is accepted, since a wrong gate does not use the challenge up.",
    sources=(itp("6"), trust("4.4")),
    claims=BASE,
)
async def _altered_hello(bench: Bench) -> None:
    line = await bench.line()
    greeting = bench.greeting(await bench.offer(line))
    body = greeting.body
    for index in range(_BITS):
        bit = index * len(body) * 8 // _BITS
        changed = body[: bit // 8] + bytes([body[bit // 8] ^ (1 << bit % 8)]) + body[bit // 8 + 1 :]
        line.send(encode_frame(Frame(FrameType.HELLO, 0, changed)), f"bit {bit} turned")
    opened = await greet(line, greeting)
    bench.record.expect(isinstance(opened, RawSession), "the true HELLO accepted after 48 altered ones", str(opened))
    strays = [frame.type.name for frame in line.take()]
    bench.record.expect(not strays, "one ACCEPT and nothing besides", ", ".join(strays) or "nothing")


@CATALOGUE.step(
    "D-20",
    group=GROUP,
    title="A programmer of another dialect gets no session",
    purpose="Two ends that disagree about a layout agree about nothing that is said in it.",
    stimulus="A right HELLO that names another layout fingerprint; then a request.",
    expected="An ACCEPT that names the pump's own fingerprint, and silence to the request.",
    sources=(itp("6"), itp("15")),
    claims=BASE,
)
async def _other_dialect(bench: Bench) -> None:
    line = await bench.line()
    greeting = bench.greeting(await bench.offer(line), fingerprint=LAYOUT_FINGERPRINT ^ 1)
    opened = await greet(line, greeting)
    bench.record.demand(isinstance(opened, RawSession), "an ACCEPT", str(opened))
    assert isinstance(opened, RawSession)  # noqa: S101 - demanded
    bench.record.expect(
        opened.accept.layout_fingerprint == LAYOUT_FINGERPRINT,
        f"fingerprint {LAYOUT_FINGERPRINT:#010x}",
        f"{opened.accept.layout_fingerprint:#010x}",
    )
    answer = await opened.ask(wire.ReadStatus(), tries=1)
    bench.record.expect(answer is None, "silence to a request", told(answer))


@CATALOGUE.step(
    "D-21",
    group=GROUP,
    title="Tells another slot that it is in use, and lets the first go on",
    purpose="Two programmers at once would each work on what the other has changed.",
    stimulus="A clinician holds a session; an observer greets on another link.",
    expected="BEACON with the busy flag and a time to wait; the clinician's session is not disturbed.",
    sources=(itp("6"), trust("2")),
    claims=("itp/1", "roles"),
)
async def _busy(bench: Bench) -> None:
    holder = await bench.session()
    await bench.status(holder)
    second = await bench.try_session(await bench.line(), Role.OBSERVER)
    if isinstance(second, wire.Beacon):
        held = bool(second.flags & BeaconFlag.BUSY) and 0 < second.wait_s <= 30
        bench.record.expect(held, "busy, and at most 30 s to wait", f"flags {second.flags}, {second.wait_s} s")
    else:
        bench.record.expect(held=False, expected="BEACON with the busy flag", observed=type(second).__name__)
    answer = await holder.ask(wire.ReadStatus())
    bench.record.expect(isinstance(answer, wire.Status), "the first session goes on", told(answer))
    await holder.ask(wire.Close())
    third = await bench.try_session(await bench.line(), Role.OBSERVER)
    bench.record.expect(isinstance(third, RawSession), "a session once the first has closed", str(third))


@CATALOGUE.step(
    "D-22",
    group=GROUP,
    title="The same slot replaces its own session",
    purpose="A tablet that was switched off must get back in; its old session must not linger.",
    stimulus="A clinician opens a session, and another one with the same credential on another link.",
    expected="The second works; the first gets silence.",
    sources=(itp("6"),),
    claims=BASE,
)
async def _same_slot(bench: Bench) -> None:
    first = await bench.session()
    await bench.status(first)
    second = await bench.session(await bench.line())
    await bench.status(second)
    answer = await first.ask(wire.ReadStatus(), tries=1)
    bench.record.expect(answer is None, "silence in the session that was replaced", told(answer))
    await bench.status(second)
