"""Invariants of the session (trust.md section 6), exhaustively where the space is small enough."""

from __future__ import annotations

import ast
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import telemetry.protocol.messages as m
from telemetry.errors import BadFrame, BadPayload, SecurityError, UsageError
from telemetry.model import Role
from telemetry.protocol import primitives
from telemetry.protocol.channel import Answered, Opened, ProgrammerChannel, SessionInfo
from telemetry.protocol.codec import decode_record, encode, encode_record, pad
from telemetry.protocol.credentials import role_within, test_credential, test_pump_secrets, test_slots
from telemetry.protocol.frame import Frame, decode_frame, encode_frame
from telemetry.protocol.handshake import gate_mac
from telemetry.protocol.wire import COUNTER, FrameType
from tests.protocol.channel_rig import (
    OPERATOR_REF,
    PUMP_ID,
    Pump,
    StolenPump,
    ask,
    opened,
    programmer,
    seeded,
    settle,
    stuck,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def flips(data: bytes) -> Iterator[bytes]:
    """Every byte string that differs from ``data`` in one bit."""
    for bit in range(len(data) * 8):
        bent = bytearray(data)
        bent[bit // 8] ^= 1 << bit % 8
        yield bytes(bent)


def body_flips(data: bytes) -> Iterator[bytes]:
    """Every frame whose body differs in one bit, its CRC made right again: what an attacker would send."""
    frame = decode_frame(data)
    for body in flips(frame.body):
        yield encode_frame(replace(frame, body=body))


@pytest.fixture
def agreements(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Public keys of every Diffie-Hellman that is done from here on, by whichever end."""
    done: list[bytes] = []
    true = primitives.KeyPair.exchange

    def counted(self: primitives.KeyPair, public: bytes) -> bytes:
        done.append(public)
        return true(self, public)

    monkeypatch.setattr(primitives.KeyPair, "exchange", counted)
    return done


def greeting(pump: Pump, *, seed: str = "programmer") -> tuple[ProgrammerChannel, bytes, bytes, bytes]:
    """A programmer that waits for ACCEPT, and the frames so far; its HELLO has not been delivered."""
    side = programmer(seed=seed)
    side.open(0)
    (probe,) = side.take_frames()
    (beacon,) = pump.receive(probe)
    side.receive(decode_frame(beacon), 0)
    (hello,) = side.take_frames()
    return side, probe, beacon, hello


@pytest.mark.inv(1)
@given(kind=st.sampled_from(FrameType), body=st.binary(max_size=248))
@settings(max_examples=300)
def test_inv_01_an_idle_pump_answers_nothing_but_a_probe(kind: FrameType, body: bytes) -> None:
    pump = Pump()
    answers = pump.receive(encode_frame(Frame(kind, 0, body)))
    if kind is not FrameType.PROBE:
        assert answers == []


@pytest.mark.inv(1)
def test_inv_01_recorded_frames_draw_nothing_from_an_idle_pump() -> None:
    first = Pump()
    side = programmer()
    side.open(0)
    recorded = settle(side, first)
    side.take_events()
    side.request(m.ReadLedger(), 0)
    recorded += settle(side, first)
    idle = Pump(boot_epoch=8)
    for data in recorded[1:]:
        assert idle.receive(data) == []
    after = [data for data in recorded if decode_frame(data).type is not FrameType.PROBE]
    first.channel.tick(60_000)
    for data in after:
        assert first.receive(data, 60_000) == []


@pytest.mark.inv(2)
@given(mac=st.binary(min_size=16, max_size=16), slot=st.integers(0, 255), noise1=st.binary(min_size=72, max_size=72))
@settings(max_examples=100)
def test_inv_02_without_a_valid_gate_mac_nothing_happens(mac: bytes, slot: int, noise1: bytes) -> None:
    pump = Pump()
    greeting(pump)
    done = 0
    true = primitives.KeyPair.exchange

    def counted(self: primitives.KeyPair, public: bytes) -> bytes:
        nonlocal done
        done += 1
        return true(self, public)

    primitives.KeyPair.exchange = counted  # type: ignore[method-assign] # Hypothesis and monkeypatch do not mix
    try:
        hello = encode_record("hello", m.Hello(slot, Role.CLINICIAN, 0, mac, noise1))
        assert pump.receive(encode_frame(Frame(FrameType.HELLO, 0, hello))) == []
    finally:
        primitives.KeyPair.exchange = true  # type: ignore[method-assign]
    assert done == 0
    assert pump.channel.session is None
    assert (pump.executed, pump.happened) == ([], [])
    assert pump.channel.counters.gate_failures == 1


@pytest.mark.inv(3)
@given(seeds=st.tuples(st.text(max_size=5), st.text(max_size=5)), role=st.sampled_from(Role))
@settings(max_examples=40)
def test_inv_03_both_ends_share_one_handshake_hash(seeds: tuple[str, str], role: Role) -> None:
    pump = Pump(seed=seeds[0])
    side = opened(pump, role, seed=seeds[1])
    assert pump.channel.session is not None
    assert side.export_keys() == pump.channel.export_keys()


@pytest.mark.inv(4)
@given(age_ms=st.integers(0, 20_000), before_ms=st.integers(0, 10**9))
def test_inv_04_a_challenge_lives_5_s(age_ms: int, before_ms: int) -> None:
    pump = Pump()
    side = programmer()
    side.open(0)
    (beacon,) = pump.receive(side.take_frames()[0], before_ms)
    side.receive(decode_frame(beacon), 0)
    answers = pump.receive(side.take_frames()[0], before_ms + age_ms)
    assert len(answers) == (age_ms <= 5_000)
    assert (pump.channel.session is not None) == (age_ms <= 5_000)


@pytest.mark.inv(4)
def test_inv_04_a_challenge_is_used_once() -> None:
    """A second, different HELLO for a used challenge meets silence, however true its credential."""
    pump = Pump()
    side, _, beacon, hello = greeting(pump)
    again = programmer(seed="programmer", entropy=_replay_probe_then("other"))
    again.open(0)
    again.take_frames()
    again.receive(decode_frame(beacon), 0)
    (other,) = again.take_frames()
    assert other != hello
    assert len(pump.receive(hello)) == 1
    assert pump.receive(other) == []
    assert pump.channel.counters.stale_challenges == 1
    assert side.take_events() == []


def _replay_probe_then(seed: str) -> Callable[[int], bytes]:
    """The same probe identifier as ``programmer`` draws, and another ephemeral key."""
    first, later = seeded("programmer"), seeded(seed)
    sources = iter((first,))

    def draw(size: int) -> bytes:
        return next(sources, later)(size)

    return draw


@pytest.mark.inv(5)
def test_inv_05_recordings_are_never_accepted_in_a_later_session() -> None:
    """Every frame of ten sessions, both directions, offered to both ends at every step of an eleventh."""
    pump = Pump()
    recorded: list[bytes] = []
    for number in range(10):
        side = programmer(seed=f"session {number}")
        side.open(0)
        recorded += settle(side, pump)
        side.take_events()
        for message in (m.ReadLedger(), m.ReadStatus(), m.Close()):
            side.request(message, 0)
            recorded += settle(side, pump)
    executed = len(pump.executed)
    assert len(recorded) == 100

    late_ms = 60_000  # by then no pump repeats the answer to a CLOSE

    def flood(side: ProgrammerChannel) -> None:
        for data in recorded:
            frame = decode_frame(data)
            if frame.type is not FrameType.PROBE:
                assert pump.receive(data, late_ms) == []
            side.receive(frame, late_ms)
        assert side.take_events() == []
        assert len(pump.executed) == executed

    side = programmer(seed="eleventh")
    side.open(late_ms)
    (probe,) = side.take_frames()
    flood(side)
    (beacon,) = pump.receive(probe, late_ms)
    flood(side)
    side.receive(decode_frame(beacon), late_ms)
    (hello,) = side.take_frames()
    flood(side)
    (accept,) = pump.receive(hello, late_ms)
    flood(side)
    side.receive(decode_frame(accept), late_ms)
    assert isinstance(side.take_events()[0], Opened)
    # REQ 0 of the ten sessions carries the expected counter and a foreign key: ten bad tags, under the limit of 16.
    assert pump.channel.counters.bad_tags == 10
    side.request(m.ReadLedger(), late_ms)
    (request,) = side.take_frames()
    (answer,) = pump.receive(request, late_ms)
    side.receive(decode_frame(answer), late_ms)
    assert isinstance(side.take_events()[0], Answered)
    assert len(pump.executed) == executed + 1


@pytest.mark.inv(6)
@given(copies=st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_inv_06_each_number_executes_once_and_repeats_are_identical(copies: list[int]) -> None:
    pump = Pump()
    side = opened(pump)
    for number, extra in enumerate(copies, start=1):
        side.request(m.ReadLedger(), 0)
        (request,) = side.take_frames()
        (answer,) = pump.receive(request)
        for _ in range(extra):
            assert pump.receive(request) == [answer]
        assert len(pump.executed) == number
        side.receive(decode_frame(answer), 0)
    assert pump.channel.counters.duplicates == sum(copies)


@pytest.mark.inv(7)
@given(order=st.permutations(range(6)))
def test_inv_07_numbers_out_of_order_never_execute(order: list[int]) -> None:
    """Six authentic requests in any order: executed is exactly the run that arrives in sequence."""
    pump = Pump()
    side = opened(pump)
    sealed = side._sealed
    assert sealed is not None
    requests = [encode_frame(Frame(FrameType.REQ, 0, sealed.seal(number, m.Verify(number)))) for number in range(6)]
    expected = 0
    for number in order:
        answers = pump.receive(requests[number])
        if number == expected:
            expected += 1
            assert len(answers) == 1
        else:
            assert answers == []
    assert pump.executed == [m.Verify(number) for number in range(expected)]
    assert pump.channel.counters.replays == 6 - expected
    assert pump.channel.session is not None


@pytest.mark.inv(8)
def test_inv_08_noise_on_any_frame_is_no_frame() -> None:
    pump = Pump()
    side = programmer()
    side.open(0)
    frames = settle(side, pump)
    side.take_events()
    side.request(m.ReadLedger(), 0)
    frames += settle(side, pump)
    count = 0
    for data in frames:
        for bent in flips(data):
            count += 1
            with pytest.raises(BadFrame):
                decode_frame(bent)
    assert count == 8 * sum(map(len, frames)) == 8 * (16 + 40 + 100 + 136 + 44 + 60)


@pytest.mark.inv(8)
def test_inv_08_flips_of_the_probe_stop_at_the_gate(agreements: list[bytes]) -> None:
    for number in range(64):
        pump, side = Pump(), programmer()
        side.open(0)
        (probe,) = side.take_frames()
        bent = list(body_flips(probe))[number]
        for beacon in pump.receive(bent):
            side.receive(decode_frame(beacon), 0)
        hellos = side.take_frames()
        agreements.clear()
        for hello in hellos:
            assert pump.receive(hello) == []
        assert agreements == []
        assert pump.channel.session is None
        assert not any(isinstance(event, Opened) for event in side.take_events())


@pytest.mark.inv(8)
def test_inv_08_flips_of_the_beacon_stop_at_the_gate(agreements: list[bytes]) -> None:
    pump = Pump()
    _, _, beacon, _ = greeting(pump)
    count = 0
    for bent in body_flips(beacon):
        side = programmer()
        side.open(0)
        side.take_frames()
        side.receive(decode_frame(bent), 0)
        hellos = side.take_frames()
        agreements.clear()
        for hello in hellos:
            assert pump.receive(hello) == []
        assert agreements == []
        assert not any(isinstance(event, Opened) for event in side.take_events())
        count += 1
    assert count == 256
    assert pump.channel.session is None


@pytest.mark.inv(8)
@pytest.mark.inv(2)
def test_inv_08_flips_of_the_hello_stop_at_the_gate(agreements: list[bytes]) -> None:
    pump = Pump()
    side, _, _, hello = greeting(pump)
    agreements.clear()
    count = 0
    for bent in body_flips(hello):
        assert pump.receive(bent) == []
        count += 1
    assert count == 736
    assert agreements == []
    assert pump.channel.session is None
    assert (pump.executed, pump.happened) == ([], [])
    # ... and none of them burnt the challenge for the honest one.
    (accept,) = pump.receive(hello)
    side.receive(decode_frame(accept), 0)
    assert isinstance(side.take_events()[0], Opened)


@pytest.mark.inv(8)
def test_inv_08_flips_of_the_accept_open_no_session() -> None:
    pump = Pump()
    side, _, _, hello = greeting(pump)
    (accept,) = pump.receive(hello)
    count = 0
    for bent in body_flips(accept):
        side.receive(decode_frame(bent), 0)
        count += 1
    assert count == 1024
    assert side.take_events() == []
    assert side.ignored == 1024
    side.receive(decode_frame(accept), 0)
    assert isinstance(side.take_events()[0], Opened)


@pytest.mark.inv(8)
def test_inv_08_flips_of_a_request_and_its_answer_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemetry.protocol.pump_channel.MAX_BAD_TAGS", 10_000)  # so that every flip meets a session
    pump = Pump()
    side = opened(pump)
    side.request(m.ReadLedger(), 0)
    (request,) = side.take_frames()
    before = list(body_flips(request))
    for bent in before:
        assert pump.receive(bent) == []
    assert pump.executed == []
    (answer,) = pump.receive(request)
    for bent in before:
        assert pump.receive(bent) == [], "an altered repeat gets no cached answer either"
    assert len(pump.executed) == 1
    after = list(body_flips(answer))
    for bent in after:
        side.receive(decode_frame(bent), 0)
    assert side.take_events() == []
    assert (len(before), len(after)) == (36 * 8, 52 * 8)
    side.receive(decode_frame(answer), 0)
    assert isinstance(side.take_events()[0], Answered)


@pytest.mark.inv(9)
def test_inv_09_a_stuck_random_source_repeats_nothing() -> None:
    """200 handshakes over three starts of a pump whose random source gives zeros only."""
    challenges: set[bytes] = set()
    ephemerals: set[bytes] = set()
    secrets: set[bytes] = set()
    for boot_epoch in range(3):
        pump = Pump(entropy=stuck, boot_epoch=boot_epoch)
        for number in range(70):
            side = programmer(seed=f"{boot_epoch} {number}")
            side.open(0)
            _, beacon, _, accept = settle(side, pump)
            challenges.add(decode_record("beacon", decode_frame(beacon).body).challenge)
            ephemerals.add(decode_frame(accept).body[:32])
            assert pump.channel.session is not None
            secrets.add(pump.channel.session.token_secret.reveal())
    assert len(challenges) == len(ephemerals) == len(secrets) == 210


@pytest.mark.inv(9)
def test_inv_09_two_pumps_with_stuck_sources_share_no_challenge() -> None:
    one, two = (Pump(entropy=stuck, pump_id=name) for name in (b"SIM-0001", b"SIM-0002"))
    assert greeting(one)[2] != greeting(two)[2]


@pytest.mark.inv(10)
def test_inv_10_no_secret_on_air_in_logs_or_reprs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        pump = Pump()
        side = programmer()
        side.open(0)
        air = settle(side, pump)
        shown = [repr(side), repr(pump.channel), repr(pump.channel.session), repr(side.__dict__)]
        side.take_events()
        for message in (m.ReadLedger(), m.Query(b"operation-number"), m.Close()):
            side.request(message, 0)
            air += settle(side, pump)
        shown += [repr(pump.channel.__dict__), repr(side._sealed), repr(pump.channel._ended)]
    keys = side.export_keys()
    assert keys is not None
    credential, secrets = test_credential(Role.CLINICIAN), test_pump_secrets(PUMP_ID)
    hidden = [
        keys.to_pump,
        keys.from_pump,
        credential.psk.reveal(),
        credential.gate.reveal(),
        secrets.find_key.reveal(),
        secrets.rng_key.reveal(),
    ]
    text = caplog.text + "".join(shown)
    for secret in hidden:
        assert secret.hex() not in text
        assert repr(secret)[2:-1] not in text
    stream = b"".join(air)
    plaintexts = [PUMP_ID, OPERATOR_REF, b"operation-number", b"program!", b"log-head"]
    for secret in (*hidden, *plaintexts):
        assert secret not in stream
    assert repr(OPERATOR_REF)[2:-1] not in repr(pump.channel.session)


@pytest.mark.inv(11)
def test_inv_11_no_key_and_counter_seal_two_plaintexts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that lose a fifth of all frames, every seal of either end recorded."""
    sealed: dict[tuple[bytes, int], bytes] = {}
    true = primitives.Aead.seal

    def recorded(self: primitives.Aead, counter: int, plaintext: bytes, associated: bytes = b"") -> bytes:
        use = plaintext + b"|" + associated
        assert sealed.setdefault((self.key.reveal(), counter), use) == use
        return true(self, counter, plaintext, associated)

    monkeypatch.setattr(primitives.Aead, "seal", recorded)
    lost = iter(seeded("losses")(8_192))
    pump = Pump()
    for number in range(5):
        side = programmer(seed=f"session {number}")
        side.open(number * 10**6)
        now_ms, wanted = number * 10**6, 20
        while side.next_deadline_ms() is not None:
            for data in side.take_frames():
                for answer in pump.receive(data, now_ms) if next(lost) % 5 else []:
                    if next(lost) % 5:
                        side.receive(decode_frame(answer), now_ms)
            for event in side.take_events():
                if isinstance(event, Opened | Answered) and wanted:
                    wanted -= 1
                    side.request(m.Verify(wanted), now_ms)
            if not side._frames and (due_ms := side.next_deadline_ms()) is not None:
                now_ms = due_ms
                side.tick(now_ms)
    assert len(sealed) > 60


@pytest.mark.inv(11)
def test_inv_11_a_counter_is_sealed_once() -> None:
    pump = Pump()
    side = opened(pump)
    sealed = side._sealed
    assert sealed is not None
    sealed.seal(0, m.ReadLedger())
    with pytest.raises(SecurityError, match="counter 0 was sealed before"):
        sealed.seal(0, m.ReadStatus())


@pytest.mark.inv(12)
def test_inv_12_everything_the_pump_stores_does_not_forge_a_request() -> None:
    """A thief with the pump's memory gets as far as ACCEPT, reads nothing of it, and no request of his executes."""
    pump = Pump()
    slot = next(slot for slot in test_slots() if slot.role is Role.CLINICIAN)
    stolen = test_pump_secrets(PUMP_ID)
    thief = replace(
        test_credential(Role.CLINICIAN),
        static=StolenPump(stolen.static, slot.public),
        psk=slot.psk,
        gate=slot.gate,
        find_key=stolen.find_key,
    )
    side = programmer(credential=thief)
    side.open(0)
    carried = settle(side, pump)
    assert decode_frame(carried[-1]).type is FrameType.ACCEPT
    assert side.ignored == 1
    assert side.take_events() == []
    assert side.export_keys() is None
    # What he can compute: the session keys with his guess in place of the one secret that he lacks.
    accept = decode_frame(carried[-1]).body
    noise = side._handshake._noise  # type: ignore[union-attr] # it waits for ACCEPT
    state = noise._state.copy()
    state.mix_ephemeral(accept[:32])
    for key in (noise._ephemeral, noise._static):
        state.mix_key(key.exchange(accept[:32]))
    guess = primitives.Aead(state.split().initiator_to_responder)
    for counter in range(3):
        body = COUNTER.pack(counter) + guess.seal(counter, pad(encode(m.ReadLedger())))
        assert pump.receive(encode_frame(Frame(FrameType.REQ, 0, body))) == []
    assert (pump.executed, pump.happened) == ([], []), "the firmware never hears of his session"


@pytest.mark.inv(13)
@pytest.mark.parametrize("role", Role)
def test_inv_13_requests_are_served_under_the_role_in_force(role: Role) -> None:
    pump = Pump()
    roles: list[Role] = []

    def serve(info: SessionInfo, request: m.Message | BadPayload) -> m.Message:
        roles.append(info.role)
        return pump.serve(info, request)

    pump.channel._serve = serve
    side = opened(pump, role)
    ask(side, pump, m.ReadLedger())
    assert roles == [role]


@pytest.mark.inv(14)
@pytest.mark.parametrize("granted", Role)
@pytest.mark.parametrize("asked", Role)
def test_inv_14_the_role_in_force_is_never_more_than_the_slots(granted: Role, asked: Role) -> None:
    """The pump itself, asked with a right gate MAC for every role by every slot."""
    pump = Pump()
    credential = replace(test_credential(granted), role=asked)
    side = programmer(credential=credential, want_role=asked)
    side.open(0)
    settle(side, pump)
    assert (pump.channel.session is not None) == role_within(asked, granted)
    if pump.channel.session is not None:
        assert pump.channel.session.role is asked
        assert pump.channel.session.slot == test_credential(granted).slot
    else:
        assert pump.channel.counters.role_claims == 1


@pytest.mark.inv(47)
def test_inv_47_link_time_never_runs_backwards() -> None:
    pump, side = Pump(), programmer()
    side.open(100)
    (probe,) = side.take_frames()
    (beacon,) = pump.receive(probe, 100)
    for late in (
        lambda: pump.receive(probe, 99),
        lambda: pump.channel.tick(99),
        lambda: side.tick(99),
        lambda: side.receive(decode_frame(beacon), 99),
        lambda: side.request(m.ReadLedger(), 99),
    ):
        with pytest.raises(UsageError, match="99 lies before 100"):
            late()
    assert pump.receive(probe, 100) == [beacon]


@pytest.mark.inv(48)
@given(utc_s=st.integers(0, 2**64 - 1), skew_ms=st.integers(0, 10**12), age_ms=st.integers(0, 40_000))
@settings(max_examples=60)
def test_inv_48_expiry_holds_whatever_the_programmers_clock_says(utc_s: int, skew_ms: int, age_ms: int) -> None:
    pump = Pump()
    side = ProgrammerChannel(
        test_credential(Role.CLINICIAN), want_role=Role.CLINICIAN, entropy=seeded("skewed"), utc_s=utc_s
    )
    side.open(skew_ms)
    (beacon,) = pump.receive(side.take_frames()[0], 1_000)
    side.receive(decode_frame(beacon), skew_ms)
    (hello,) = side.take_frames()
    accepted = pump.receive(hello, 1_000 + age_ms)
    assert bool(accepted) == (age_ms <= 5_000)
    if not accepted:
        return
    side.receive(decode_frame(accepted[0]), skew_ms)
    side.request(m.ReadLedger(), skew_ms)
    (request,) = side.take_frames()
    opened_ms = 1_000 + age_ms
    pump.channel.tick(opened_ms + 29_999)
    assert pump.channel.session is not None
    assert pump.receive(request, opened_ms + 30_000) == []


@pytest.mark.inv(62)
def test_inv_62_the_same_seeds_give_the_same_bytes() -> None:
    def trace() -> list[bytes]:
        pump, side = Pump(), programmer()
        side.open(0)
        carried = settle(side, pump)
        side.take_events()
        for message in (m.ReadLedger(), m.ReadStatus(), m.Close()):
            side.request(message, 0)
            carried += settle(side, pump)
        return carried

    first = trace()
    assert first == trace()
    assert len(first) == 10


@pytest.mark.inv(59)
@given(frames=st.lists(st.tuples(st.sampled_from(FrameType), st.binary(max_size=248)), max_size=20))
def test_inv_59_no_frame_raises_at_either_end(frames: list[tuple[FrameType, bytes]]) -> None:
    pump = Pump()
    side = opened(pump)
    side.request(m.ReadLedger(), 0)
    fresh = programmer(seed="fresh")
    fresh.open(0)
    for kind, body in frames:
        frame = Frame(kind, 0, body)
        pump.channel.receive(frame, 0)
        for end in (side, fresh):
            end.receive(frame, 0)
            end.peek(frame)
        pump.channel.peek(frame)
    assert pump.executed == []


def test_secrets_are_compared_in_constant_time_only() -> None:
    """No ``==`` or ``!=`` on a MAC, tag or key in the modules that hold them (trust.md 7.5)."""
    suspicious = ("mac", "psk", "gate", "wake_tag", "find_key", "rng_key", "token", "secret")
    for name in ("noise", "credentials", "handshake", "session", "pump_channel", "programmer_channel"):
        tree = ast.parse(Path(primitives.__file__).with_name(f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                for side in (node.left, *node.comparators):
                    text = ast.unparse(side)
                    if text.startswith(("len(", "Secret(")) or "psk ==" in ast.unparse(node):
                        continue  # a length, or Secret's own comparison, which is constant-time
                    assert not any(word in text for word in suspicious), f"{name}:{node.lineno}: {ast.unparse(node)}"


def test_a_gate_mac_binds_everything_before_noise() -> None:
    gate = test_credential(Role.CLINICIAN).gate
    parts = [bytes(8), bytes(32), bytes(4), bytes(72)]
    found = {gate_mac(gate, *parts)}
    for index in range(4):
        bent = [*parts]
        bent[index] = b"\x01" + bent[index][1:]
        found.add(gate_mac(gate, *bent))
    assert len(found) == 5
