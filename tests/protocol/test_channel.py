"""The two ends of the channel together: how a session opens, is used, fails and ends."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import telemetry.protocol.messages as m
from telemetry.errors import (
    BadPayload,
    LinkClosedError,
    LinkError,
    LinkTimeout,
    NotAccepted,
    OutOfTurn,
    PeerError,
    SecurityError,
    UsageError,
    WrongDialect,
)
from telemetry.model import Role
from telemetry.protocol import pump_channel, session
from telemetry.protocol.channel import (
    Answered,
    Closed,
    CloseReason,
    Direction,
    Failed,
    LinkPolicy,
    Opened,
    ProgrammerChannel,
)
from telemetry.protocol.codec import decode_record, encode_record, pad
from telemetry.protocol.credentials import Credential, test_credential, test_pump_secrets, test_slots
from telemetry.protocol.frame import Frame, decode_frame, encode_frame
from telemetry.protocol.primitives import Secret
from telemetry.protocol.wire import COUNTER, MAX_COUNTER, BeaconFlag, FrameType, Status
from tests.protocol.channel_rig import OPERATOR_REF, PUMP_ID, UTC_S, Pump, ask, opened, programmer, seeded, settle

if TYPE_CHECKING:
    from telemetry.protocol.channel import ChannelEvent


def beacon_of(data: bytes) -> m.Beacon:
    return decode_record("beacon", decode_frame(data).body)


def offered(pump: Pump | None = None) -> tuple[bytes, bytes]:
    """The frames of one PROBE and its BEACON."""
    channel = programmer()
    channel.open(0)
    (probe,) = channel.take_frames()
    (beacon,) = (pump or Pump()).receive(probe)
    return probe, beacon


def failure(events: list[ChannelEvent]) -> Failed:
    (event,) = events
    assert isinstance(event, Failed)
    return event


# --- opening ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", Role)
def test_every_role_of_the_test_card_opens_a_session(role: Role) -> None:
    pump, side = Pump(), programmer(role)
    side.open(0)
    kinds = [decode_frame(data).type for data in settle(side, pump)]
    assert kinds == [FrameType.PROBE, FrameType.BEACON, FrameType.HELLO, FrameType.ACCEPT]
    (event,) = side.take_events()
    assert isinstance(event, Opened)
    accept = event.accept
    assert (accept.pump_id, accept.role, accept.flags) == (PUMP_ID, role, 1)
    assert (accept.idle_s, accept.session_s, accept.boot_epoch) == (30, 600, 7)
    assert accept.last_operation_counter == test_credential(role).slot
    info = pump.channel.session
    assert info is not None
    assert (info.slot, info.role) == (test_credential(role).slot, role)
    assert (info.operator_ref, info.programmer_utc_s) == (OPERATOR_REF, UTC_S)
    assert len(info.token_secret) == 32
    assert info.handshake_hash == side._sealed.handshake_hash  # type: ignore[union-attr] # it is open


def test_the_firmware_hears_of_a_session_at_its_first_request() -> None:
    """ACCEPT alone proves nothing about the programmer: HELLO can be forged by whoever has the pump's key."""
    pump = Pump()
    side = opened(pump)
    assert pump.happened == []
    ask(side, pump, m.ReadLedger())
    ask(side, pump, m.ReadLedger())
    assert pump.happened == ["opened 3"]
    pump.channel.end_session(CloseReason.CONTACT_LOST)
    assert pump.happened == ["opened 3", "closed 3 contact_lost"]
    pump.channel.end_session(CloseReason.RESET)
    assert len(pump.happened) == 2


def test_frames_on_air_have_the_specified_sizes() -> None:
    side = programmer()
    side.open(0)
    assert [len(data) for data in settle(side, Pump())] == [16, 40, 100, 136]


def test_an_emergency_says_so_in_its_probe() -> None:
    side = programmer(Role.EMERGENCY, emergency=True)
    side.open(0)
    (probe,) = side.take_frames()
    assert decode_frame(probe).body[2] == 1


def test_a_session_may_run_as_less() -> None:
    pump = Pump()
    opened(pump, want_role=Role.OBSERVER)
    assert pump.channel.session is not None
    assert pump.channel.session.role is Role.OBSERVER
    assert pump.channel.session.slot == test_credential(Role.CLINICIAN).slot


def test_a_programmer_does_not_ask_for_more_than_its_credential() -> None:
    with pytest.raises(UsageError, match="want_role: clinician is more than the credential's role observer"):
        programmer(Role.OBSERVER, want_role=Role.CLINICIAN)


def test_bad_arguments_are_refused_before_anything_is_sent() -> None:
    pump = Pump()
    side = programmer(entropy=lambda size: bytes(size + 1))
    with pytest.raises(UsageError, match="entropy: asked for 4 bytes, got 5"):
        side.open(0)
    assert side.take_frames() == []
    with pytest.raises(UsageError, match="operator_ref"):
        type(side)(test_credential(Role.CLINICIAN), want_role=Role.CLINICIAN, entropy=bytes, utc_s=0, operator_ref=b"1")
    with pytest.raises(UsageError, match="number 1 is given twice"):
        replace(pump, slots=(*test_slots(), test_slots()[0]))


def test_a_channel_opens_once() -> None:
    side = programmer()
    side.open(0)
    with pytest.raises(OutOfTurn, match="opened before"):
        side.open(0)


def test_an_identical_probe_gets_the_cached_beacon_while_the_challenge_lives() -> None:
    pump = Pump()
    probe, beacon = offered(pump=pump)
    assert pump.receive(probe, 5_000) == [beacon]
    (fresh,) = pump.receive(probe, 5_001)
    assert beacon_of(fresh).challenge != beacon_of(beacon).challenge


def test_an_identical_hello_gets_the_cached_accept_and_no_second_session() -> None:
    pump, side = Pump(), programmer()
    side.open(0)
    _, _, hello, accept = settle(side, pump)
    info = pump.channel.session
    assert pump.receive(hello, 100) == [accept]
    assert pump.channel.session is info
    assert pump.channel.counters.sessions == 1
    assert pump.channel.counters.duplicates == 1


def test_an_unlucky_link_still_opens_the_session() -> None:
    """Every frame is lost once; each retry is the same bytes."""
    pump, side = Pump(), programmer()
    side.open(0)
    seen: set[bytes] = set()
    now_ms = 0
    while not (events := side.take_events()):
        for data in side.take_frames():
            for answer in pump.receive(data, now_ms) if data in seen else []:
                if answer in seen:
                    side.receive(decode_frame(answer), now_ms)
                seen.add(answer)
            seen.add(data)
        due_ms = side.next_deadline_ms()
        assert due_ms is not None
        now_ms = due_ms
        side.tick(now_ms)
    assert isinstance(events[0], Opened)
    assert len(seen) == 4


# --- why it does not open --------------------------------------------------------------------------------------------


def run_out(side: ProgrammerChannel) -> Failed:
    """Let time pass until the programmer gives up."""
    while (due_ms := side.next_deadline_ms()) is not None:
        side.tick(due_ms)
        side.take_frames()
    return failure(side.take_events())


def test_no_pump_is_a_timeout() -> None:
    side = programmer()
    side.open(0)
    failed = run_out(side)
    assert isinstance(failed.error, LinkTimeout)
    assert "4 tries" in str(failed.error)
    assert not failed.sent


def test_a_pump_that_is_silent_on_hello_did_not_accept() -> None:
    side, pump = programmer(credential=replace(test_credential(Role.CLINICIAN), gate=Secret(b"\x01" * 32))), Pump()
    side.open(0)
    settle(side, pump)
    failed = run_out(side)
    assert isinstance(failed.error, NotAccepted)
    assert "slot 3" in str(failed.error)
    assert not failed.sent
    assert pump.channel.counters.gate_failures == 1
    assert pump.happened == []


@pytest.mark.parametrize("slot", [7, 0, 16, 255])
def test_an_unknown_slot_meets_silence(slot: int) -> None:
    pump = Pump()
    side = programmer(credential=replace(test_credential(Role.CLINICIAN), slot=slot))
    side.open(0)
    settle(side, pump)
    assert isinstance(run_out(side).error, NotAccepted)
    assert pump.channel.counters.gate_failures == 1


def test_an_inconsistent_credential_meets_silence_and_is_reported() -> None:
    pump = Pump()
    side = programmer(credential=replace(test_credential(Role.CLINICIAN), psk=Secret(b"\x01" * 32)))
    side.open(0)
    *_, hello = settle(side, pump)
    assert decode_frame(hello).type is FrameType.HELLO
    assert pump.happened == ["failed 3"]
    assert pump.channel.counters.noise_failures == 1
    assert pump.receive(hello) == []
    assert pump.happened == ["failed 3"], "the identical HELLO costs no second Diffie-Hellman"
    assert isinstance(run_out(side).error, NotAccepted)


def test_failures_are_counted_without_a_firmware_that_listens() -> None:
    pump = Pump()
    pump.channel = pump_channel.PumpChannel(
        test_pump_secrets(PUMP_ID), test_slots(), seeded("pump"), facts=pump.facts, serve=pump.serve
    )
    side = programmer(credential=replace(test_credential(Role.CLINICIAN), psk=Secret(b"\x01" * 32)))
    side.open(0)
    settle(side, pump)
    assert pump.channel.counters.noise_failures == 1
    side = opened(pump, seed="good")
    side.request(m.ReadLedger(), 0)
    (request,) = side.take_frames()
    (answer,) = pump.receive(request)
    assert pump.receive(request) == [answer]
    side.receive(decode_frame(answer), 0)
    assert side.take_events() == [Answered(m.LedgerHead(1, 3, 0, 64))]
    assert isinstance(ask(side, pump, m.Close()), m.Closed)


def test_another_pumps_beacon_does_not_resolve() -> None:
    stranger = replace(test_credential(Role.CLINICIAN), find_key=Secret(b"\x01" * 32))
    side = programmer(credential=stranger)
    side.open(0)
    settle(side, Pump())
    failed = run_out(side)
    assert isinstance(failed.error, NotAccepted)
    assert "wake tag" in str(failed.error)


def test_a_slot_of_another_role_does_not_open_the_one_asked_for() -> None:
    """A programmer that lies about its own role is refused by the pump, whose slot knows better."""
    pump = Pump()
    liar = replace(test_credential(Role.OBSERVER), role=Role.CLINICIAN)
    side = programmer(credential=liar, want_role=Role.CLINICIAN)
    side.open(0)
    settle(side, pump)
    assert isinstance(run_out(side).error, NotAccepted)
    assert pump.channel.counters.role_claims == 1
    assert pump.channel.session is None


@pytest.mark.parametrize(
    "change", [{"min_version": 2, "max_version": 3}, {"max_version": 0, "min_version": 0}, {"suites": 1}]
)
def test_no_common_version_is_answered_with_the_pumps_own(change: dict[str, int]) -> None:
    pump = Pump()
    probe, _ = offered()
    other = replace(decode_record("probe", decode_frame(probe).body), **change)  # type: ignore[arg-type]
    (answer,) = pump.receive(encode_frame(Frame(FrameType.PROBE, 0, encode_record("probe", other))))
    beacon = beacon_of(answer)
    assert (beacon.version, beacon.suite, beacon.challenge) == (0, 1, bytes(16))
    assert beacon.probe_id == other.probe_id


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"version": 0, "suite": 2}, WrongDialect, "programmer is too old"),
        ({"version": 0, "suite": 0}, WrongDialect, "programmer is too new"),
        ({"suite": 9}, WrongDialect, "no common version"),
        ({"flags": BeaconFlag.TEST_DEVICE | BeaconFlag.BUSY, "wait_s": 12}, LinkError, "in use .* 12 s"),
        ({"flags": BeaconFlag.TEST_DEVICE | BeaconFlag.THROTTLED, "wait_s": 60}, LinkError, "battery.* 60 s"),
        ({"flags": BeaconFlag.NONE}, SecurityError, "no test device"),
    ],
)
def test_a_beacon_may_end_the_attempt(change: dict[str, int], kind: type[Exception], text: str) -> None:
    side, pump = programmer(), Pump()
    side.open(0)
    (probe,) = side.take_frames()
    (answer,) = pump.receive(probe)
    bent = replace(beacon_of(answer), **{name: int(value) for name, value in change.items()})  # type: ignore[arg-type]
    side.receive(Frame(FrameType.BEACON, 0, encode_record("beacon", bent)), 0)
    failed = failure(side.take_events())
    assert isinstance(failed.error, kind)
    assert re.search(text, str(failed.error))
    assert not failed.sent
    assert side.take_frames() == []
    assert side.next_deadline_ms() is None


def real_card() -> Credential:
    return Credential.from_root(
        Secret(b"\x42" * 32),
        slot=3,
        role=Role.CLINICIAN,
        pump_public=test_pump_secrets(PUMP_ID).static.public,
        find_key=test_pump_secrets(PUMP_ID).find_key,
        pump_id=PUMP_ID,
    )


def test_a_real_credential_refuses_a_test_device() -> None:
    side = programmer(credential=real_card())
    side.open(0)
    settle(side, Pump())
    assert isinstance(failure(side.take_events()).error, SecurityError)


def test_the_test_card_is_no_credential_of_a_real_pump() -> None:
    with pytest.raises(SecurityError, match="slot 1 is of the published test card"):
        Pump(test_device=False)


def test_a_real_pump_opens_for_its_own_card_and_keeps_its_keys() -> None:
    pump = Pump(slots=(real_card().pump_slot(),), test_device=False)
    side = programmer(credential=real_card())
    side.open(0)
    settle(side, pump)
    (event,) = side.take_events()
    assert isinstance(event, Opened)
    assert event.accept.flags == 0
    for end in (side, pump.channel):
        with pytest.raises(SecurityError, match="test devices only"):
            end.export_keys()


def test_a_pump_that_names_itself_otherwise_is_refused() -> None:
    pump = Pump(slots=(real_card().pump_slot(),), test_device=False, pump_id=b"SIM-0002")
    card = replace(real_card(), find_key=test_pump_secrets(b"SIM-0002").find_key)
    side = programmer(credential=card)
    side.open(0)
    settle(side, pump)
    failed = failure(side.take_events())
    assert type(failed.error) is PeerError
    assert "another pump_id" in str(failed.error)


def test_a_pump_that_grants_another_role_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pump = Pump()
    true = pump.channel._accept_payload
    monkeypatch.setattr(pump.channel, "_accept_payload", lambda *a: replace(true(*a), role=Role.EMERGENCY))
    side = programmer()
    side.open(0)
    settle(side, pump)
    assert "role in force: emergency" in str(failure(side.take_events()).error)


def test_ends_of_different_wire_tables_do_not_talk(monkeypatch: pytest.MonkeyPatch) -> None:
    pump = Pump()
    monkeypatch.setattr(pump_channel, "LAYOUT_FINGERPRINT", 0x1234_5678)
    side = programmer()
    side.open(0)
    settle(side, pump)
    failed = failure(side.take_events())
    assert isinstance(failed.error, WrongDialect)
    assert "12345678" in str(failed.error)
    assert pump.channel.session is None
    assert pump.channel.counters.dialects == 1


def test_an_accept_that_opens_and_does_not_decode_is_another_dialect(monkeypatch: pytest.MonkeyPatch) -> None:
    pump = Pump()
    true = encode_record
    monkeypatch.setattr(
        "telemetry.protocol.handshake.encode_record",
        lambda name, obj: true(name, obj)[:-4] + b"\x01\0\0\0" if name == "accept_payload" else true(name, obj),
    )
    side = programmer()
    side.open(0)
    settle(side, pump)
    assert isinstance(failure(side.take_events()).error, WrongDialect)


# --- two programmers -------------------------------------------------------------------------------------------------


def test_another_slot_is_told_that_the_pump_is_in_use() -> None:
    pump = Pump()
    first = opened(pump, Role.CLINICIAN)
    second = programmer(Role.OBSERVER, seed="second")
    second.open(1_500)
    *_, hello, answer = settle(second, pump, 1_500)
    failed = failure(second.take_events())
    assert isinstance(failed.error, LinkError)
    assert "in use by another programmer; it is free again in at most 29 s" in str(failed.error)
    assert pump.receive(hello, 1_500) == [answer], "the identical HELLO gets the identical answer"
    assert pump.channel.counters.busy == 1
    assert isinstance(ask(first, pump, m.ReadLedger(), 2_000), m.LedgerHead)


def test_the_wait_of_a_busy_beacon_fits_its_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump_channel, "IDLE_S", 400)
    pump = Pump()
    opened(pump, Role.CLINICIAN)
    second = programmer(Role.OBSERVER, seed="second")
    second.open(0)
    settle(second, pump)
    assert "at most 255 s" in str(failure(second.take_events()).error)


def test_a_probe_never_ends_a_session() -> None:
    pump = Pump()
    first = opened(pump)
    for number in range(20):
        offered_to = programmer(seed=f"other {number}")
        offered_to.open(0)
        assert pump.receive(offered_to.take_frames()[0])
    assert isinstance(ask(first, pump, m.ReadLedger()), m.LedgerHead)


def test_a_hello_of_the_same_slot_replaces_its_own_session() -> None:
    """A client killed on a pseudo-terminal must not block the next one."""
    pump = Pump()
    first = opened(pump, seed="killed")
    ask(first, pump, m.ReadLedger())
    second = opened(pump, seed="next")
    assert pump.happened == ["opened 3", "closed 3 replaced"]
    assert isinstance(ask(second, pump, m.ReadLedger()), m.LedgerHead)
    first.request(m.ReadLedger(), 0)
    settle(first, pump)
    assert run_out(first).sent


def test_a_failed_hello_of_the_same_slot_does_not_end_its_session() -> None:
    pump = Pump()
    first = opened(pump)
    other = programmer(credential=replace(test_credential(Role.CLINICIAN), psk=Secret(b"\x01" * 32)), seed="thief")
    other.open(0)
    settle(other, pump)
    assert isinstance(ask(first, pump, m.ReadLedger()), m.LedgerHead)


# --- requests --------------------------------------------------------------------------------------------------------


def test_requests_are_answered_in_turn() -> None:
    pump = Pump()
    side = opened(pump)
    for number in range(1, 6):
        answer = ask(side, pump, m.ReadLedger())
        assert answer == m.LedgerHead(number, 3, 0, 64)
    assert pump.channel.counters.requests == 5


def test_one_request_at_a_time_and_only_in_a_session() -> None:
    side = programmer()
    with pytest.raises(OutOfTurn, match="not opened"):
        side.request(m.ReadStatus(), 0)
    pump = Pump()
    side = opened(pump)
    side.request(m.ReadStatus(), 0)
    with pytest.raises(OutOfTurn, match="ReadStatus is outstanding"):
        side.request(m.ReadStatus(), 0)


def test_only_requests_are_requested() -> None:
    pump = Pump()
    side = opened(pump)
    for message in (m.Closed(), m.ReadTelemeter(1)):
        with pytest.raises(UsageError, match="no request"):
            side.request(message, 0)
    with pytest.raises(UsageError, match="duration_s"):
        side.request(m.SilenceAlarms(0), 0)
    assert side.take_frames() == []
    assert isinstance(ask(side, pump, m.ReadLedger()), m.LedgerHead)


def test_a_lost_answer_is_repeated_and_nothing_executed_twice() -> None:
    pump = Pump()
    side = opened(pump)
    side.request(m.ReadLedger(), 0)
    (request,) = side.take_frames()
    (lost,) = pump.receive(request)
    side.tick(300)
    assert side.take_frames() == []
    side.tick(350)
    (again,) = side.take_frames()
    assert again == request
    (answer,) = pump.receive(again, 350)
    assert answer == lost
    assert len(pump.executed) == 1
    side.receive(decode_frame(answer), 350)
    assert side.take_events() == [Answered(m.LedgerHead(1, 3, 0, 64))]
    side.receive(decode_frame(answer), 350)
    assert side.take_events() == []
    assert side.ignored == 1


def test_silence_says_whether_the_request_was_sent() -> None:
    pump = Pump()
    side = opened(pump)
    side.request(m.ReadLedger(), 0)
    side.link_lost(LinkClosedError("the port vanished"))
    unsent = failure(side.take_events())
    assert not unsent.sent, "the frame was never taken, so it cannot have arrived"
    assert side.take_frames() == []
    side = opened(pump, seed="second")
    side.request(m.ReadLedger(), 0)
    side.take_frames()
    failed = run_out(side)
    assert isinstance(failed.error, LinkTimeout)
    assert "no answer to ReadLedger (4 tries" in str(failed.error)
    assert failed.sent
    side.link_lost(LinkClosedError("late"))
    assert side.take_events() == []
    with pytest.raises(OutOfTurn, match="the channel is over"):
        side.request(m.ReadLedger(), 10_000)


def test_a_payload_without_meaning_is_served_as_such() -> None:
    pump = Pump()
    side = opened(pump)
    sealed = side._sealed
    assert sealed is not None
    for counter, payload in enumerate((pad(b"\x7e\x01\0\0"), b"\xff" * 16, pad(b"\x9f\x01\x01\0\0\0\0"))):
        body = COUNTER.pack(counter) + sealed._send.seal(counter, payload)
        (answer,) = pump.receive(encode_frame(Frame(FrameType.REQ, 0, body)))
        refusal = side.peek(decode_frame(answer))
        assert isinstance(refusal, m.Refusal)
        assert refusal.status is Status.FORMAT
        assert isinstance(pump.executed[-1], BadPayload)
    assert pump.channel.session is not None


@pytest.mark.parametrize("answer", [m.Begun(), m.Closed()], ids=["Begun", "Closed"])
def test_an_answer_of_another_kind_fails_the_request(answer: m.Message) -> None:
    pump = Pump()
    side = opened(pump)
    pump.channel._serve = lambda *_: answer
    side.request(m.ReadLedger(), 0)
    settle(side, pump)
    failed = failure(side.take_events())
    assert isinstance(failed.error, OutOfTurn)
    assert failed.sent


def test_an_authentic_answer_that_does_not_decode_fails_the_request() -> None:
    pump = Pump()
    side = opened(pump)
    side.request(m.ReadLedger(), 0)
    side.take_frames()
    ended = pump.channel._session
    assert ended is not None
    body = COUNTER.pack(0) + ended.sealed._send.seal(0, b"\xff" * 16)
    side.receive(Frame(FrameType.RSP, 0, body), 0)
    failed = failure(side.take_events())
    assert isinstance(failed.error, BadPayload)
    assert failed.sent


def test_an_error_in_the_firmware_ends_the_session_and_is_not_swallowed() -> None:
    pump = Pump()
    side = opened(pump)

    def broken(*_: object) -> m.Message:
        raise ZeroDivisionError

    pump.channel._serve = broken
    side.request(m.ReadLedger(), 0)
    (request,) = side.take_frames()
    with pytest.raises(ZeroDivisionError):
        pump.receive(request)
    assert pump.happened == ["opened 3", "closed 3 fault"]
    pump.channel._serve = pump.serve
    assert pump.receive(request) == []
    assert pump.executed == []


def test_the_sixteenth_bad_tag_closes_the_session() -> None:
    pump = Pump()
    side = opened(pump)
    side.request(m.ReadLedger(), 0)
    (request,) = side.take_frames()
    frame = decode_frame(request)
    bent = encode_frame(replace(frame, body=frame.body[:-1] + bytes((frame.body[-1] ^ 1,))))
    for _ in range(15):
        assert pump.receive(bent) == []
    assert "closed" not in "".join(pump.happened)
    assert pump.receive(bent) == []
    assert pump.channel.session is None
    assert pump.channel.counters.bad_tags == 16
    assert pump.receive(request) == []
    assert pump.channel.counters.no_session == 1


def test_fifteen_bad_tags_do_not_hurt_the_honest() -> None:
    pump = Pump()
    side = opened(pump)
    side.request(m.ReadLedger(), 0)
    (request,) = side.take_frames()
    frame = decode_frame(request)
    bent = encode_frame(replace(frame, body=frame.body[:-1] + bytes((frame.body[-1] ^ 1,))))
    for _ in range(15):
        pump.receive(bent)
    (answer,) = pump.receive(request)
    side.receive(decode_frame(answer), 0)
    assert isinstance(side.take_events()[0], Answered)


@pytest.mark.parametrize("size", [0, 4, 20, 35, 37, 245, 248])
def test_a_request_of_no_possible_size_is_garbage(size: int) -> None:
    pump = Pump()
    opened(pump)
    assert pump.receive(encode_frame(Frame(FrameType.REQ, 0, bytes(size)))) == []
    assert pump.channel.counters.garbage == 1
    assert pump.channel.counters.bad_tags == 0


# --- the end ---------------------------------------------------------------------------------------------------------


def test_close_is_answered_and_its_repeat_too() -> None:
    pump = Pump()
    side = opened(pump)
    ask(side, pump, m.ReadLedger())
    side.request(m.Close(), 10)
    (request,) = side.take_frames()
    (answer,) = pump.receive(request, 10)
    assert pump.happened[-1] == "closed 3 closed"
    assert pump.channel.session is None
    assert pump.receive(request, 20_000) == [answer]
    side.receive(decode_frame(answer), 20_000)
    assert side.take_events() == [Answered(m.Closed()), Closed(CloseReason.CLOSED)]
    assert side.next_deadline_ms() is None
    assert pump.receive(request, 30_010) == [], "an idle pump says nothing"


def test_a_new_session_ends_the_repeats_of_the_old() -> None:
    pump = Pump()
    side = opened(pump)
    side.request(m.Close(), 0)
    (request,) = side.take_frames()
    assert len(pump.receive(request)) == 1
    opened(pump, Role.OBSERVER, seed="next")
    assert pump.receive(request) == []


def test_after_close_another_slot_comes_in_at_once() -> None:
    pump = Pump()
    ask(opened(pump), pump, m.Close())
    opened(pump, Role.EMERGENCY, seed="next")


def test_a_refused_close_closes_nothing() -> None:
    pump = Pump()
    side = opened(pump)
    pump.channel._serve = lambda *_: m.Refusal(Status.STATE, 0x1F, None, 0, 0, ())
    assert isinstance(ask(side, pump, m.Close()), m.Refusal)
    assert pump.channel.session is not None
    pump.channel._serve = pump.serve
    assert isinstance(ask(side, pump, m.ReadLedger()), m.LedgerHead)


def test_an_idle_session_ends_after_30_s() -> None:
    pump = Pump()
    side = opened(pump)
    ask(side, pump, m.ReadLedger(), 1_000)
    assert pump.channel.next_deadline_ms() == 31_000
    pump.channel.tick(30_999)
    assert pump.channel.session is not None
    pump.channel.tick(31_000)
    assert pump.happened[-1] == "closed 3 idle"
    assert pump.channel.next_deadline_ms() is None


def test_a_session_ends_after_10_min_however_busy() -> None:
    pump = Pump()
    side = opened(pump)
    for second in range(20, 600, 20):
        ask(side, pump, m.ReadLedger(), second * 1_000)
    assert pump.channel.next_deadline_ms() == side.next_deadline_ms() == 600_000
    pump.channel.tick(600_000)
    assert pump.happened[-1] == "closed 3 session_limit"
    side.tick(600_000)
    assert side.take_events() == [Closed(CloseReason.SESSION_LIMIT)]


def test_the_programmer_knows_that_a_session_ran_out_and_sends_nothing_into_it() -> None:
    pump = Pump()
    side = opened(pump)
    assert side.next_deadline_ms() == 30_000
    side.request(m.ReadLedger(), 30_000)
    closed, failed = side.take_events()
    assert closed == Closed(CloseReason.IDLE)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, LinkClosedError)
    assert not failed.sent
    assert side.take_frames() == []


def test_repeats_and_forgeries_do_not_keep_a_session_alive() -> None:
    pump = Pump()
    side = opened(pump)
    side.request(m.ReadLedger(), 0)
    (request,) = side.take_frames()
    pump.receive(request, 0)
    assert pump.receive(request, 29_999)
    assert pump.receive(request, 30_000) == []


def test_the_counter_ends_the_session_at_its_limit() -> None:
    pump = Pump()
    side = opened(pump)
    for end in (side._sealed, pump.channel._session.sealed):  # type: ignore[union-attr] # both are open
        end._next = MAX_COUNTER  # type: ignore[union-attr]
    side._counter = MAX_COUNTER
    pump.channel._session.expected = MAX_COUNTER  # type: ignore[union-attr]
    side.request(m.ReadLedger(), 0)
    (request,) = side.take_frames()
    (answer,) = pump.receive(request)
    assert pump.happened[-1] == "closed 3 counter"
    assert pump.receive(request) == [answer]
    side.receive(decode_frame(answer), 0)
    assert side.take_events() == [Answered(m.LedgerHead(1, 3, 0, 64)), Closed(CloseReason.COUNTER)]
    side.request(m.ReadLedger(), 0)
    assert not failure(side.take_events()).sent


def test_lost_contact_ends_session_handshake_and_repeats() -> None:
    pump = Pump()
    side = opened(pump)
    side.request(m.Close(), 0)
    (request,) = side.take_frames()
    pump.receive(request)
    waiting = programmer(seed="second")
    waiting.open(0)
    (answer,) = pump.receive(waiting.take_frames()[0])
    waiting.receive(decode_frame(answer), 0)
    pump.channel.end_session(CloseReason.CONTACT_LOST)
    assert pump.receive(request) == []
    assert pump.receive(waiting.take_frames()[0]) == []


# --- recorders and classifiers ---------------------------------------------------------------------------------------


def test_the_tap_hears_every_frame_with_what_it_says() -> None:
    heard: list[tuple[str, FrameType, m.Message | None]] = []
    pump = Pump()
    side = programmer()
    side._tap = lambda direction, frame, message: heard.append((direction, frame.type, message))
    side.open(0)
    settle(side, pump)
    side.take_events()
    ask(side, pump, m.ReadLedger())
    side.request(m.ReadStatus(), 0)
    side.tick(350)
    side.receive(Frame(FrameType.RSP, 0, bytes(40)), 350)
    expected = [
        (Direction.TO_PUMP, FrameType.PROBE, None),
        (Direction.FROM_PUMP, FrameType.BEACON, None),
        (Direction.TO_PUMP, FrameType.HELLO, None),
        (Direction.FROM_PUMP, FrameType.ACCEPT, None),
        (Direction.TO_PUMP, FrameType.REQ, m.ReadLedger()),
        (Direction.FROM_PUMP, FrameType.RSP, m.LedgerHead(1, 3, 0, 64)),
    ]
    assert heard == [
        *expected,
        (Direction.TO_PUMP, FrameType.REQ, m.ReadStatus()),
        (Direction.TO_PUMP, FrameType.REQ, m.ReadStatus()),
        (Direction.FROM_PUMP, FrameType.RSP, None),
    ]
    assert [(d, frame.type, message) for d, frame, message in pump.tapped] == expected


def test_the_pumps_tap_hears_repeats_and_what_was_dropped() -> None:
    pump = Pump()
    side = opened(pump)
    side.request(m.ReadLedger(), 0)
    (request,) = side.take_frames()
    pump.receive(request)
    pump.tapped.clear()
    pump.receive(request)
    pump.receive(encode_frame(Frame(FrameType.REQ, 0, bytes(36))))
    pump.receive(encode_frame(Frame(FrameType.REQ, 0, COUNTER.pack(1) + bytes(32))))
    pump.receive(encode_frame(Frame(FrameType.RSP, 0, b"")))
    assert [(direction, frame.type, message) for direction, frame, message in pump.tapped] == [
        (Direction.TO_PUMP, FrameType.REQ, m.ReadLedger()),
        (Direction.FROM_PUMP, FrameType.RSP, m.LedgerHead(1, 3, 0, 64)),
        (Direction.TO_PUMP, FrameType.REQ, None),
        (Direction.TO_PUMP, FrameType.REQ, None),
        (Direction.TO_PUMP, FrameType.RSP, None),
    ]


def test_peeking_changes_nothing() -> None:
    pump = Pump()
    side = programmer()
    side.open(0)
    hello = decode_frame(settle(side, pump)[2])
    assert side.peek(hello) is None
    side.take_events()
    side.request(m.ReadLedger(), 0)
    request = decode_frame(side.take_frames()[0])
    for _ in range(3):
        assert pump.channel.peek(request) == side.peek(request) == m.ReadLedger()
    assert pump.channel.peek(replace(request, body=request.body[:-1] + b"!")) is None
    assert pump.channel.peek(replace(request, body=b"")) is None
    assert pump.executed == []
    (answer,) = pump.channel.receive(request, 0)
    response = decode_frame(answer)
    for _ in range(3):
        assert pump.channel.peek(response) == side.peek(response) == m.LedgerHead(1, 3, 0, 64)
    side.receive(response, 0)
    assert isinstance(side.take_events()[0], Answered)
    assert Pump().channel.peek(request) is None
    assert programmer().peek(request) is None


def test_peeking_at_a_sealed_text_without_meaning_gives_nothing() -> None:
    pump = Pump()
    side = opened(pump)
    sealed = side._sealed
    assert sealed is not None
    frame = Frame(FrameType.REQ, 0, COUNTER.pack(0) + sealed._send.seal(0, b"\xff" * 16))
    assert pump.channel.peek(frame) is None


def test_keys_of_a_test_device_can_be_exported_for_a_capture() -> None:
    pump = Pump()
    assert pump.channel.export_keys() is None
    assert programmer().export_keys() is None
    side = opened(pump)
    keys = side.export_keys()
    assert keys == pump.channel.export_keys()
    assert isinstance(keys, session.SessionKeys)
    assert len({keys.to_pump, keys.from_pump, keys.handshake_hash}) == 3


def test_frames_in_the_wrong_place_are_ignored() -> None:
    pump = Pump()
    side = programmer()
    side.open(0)
    probe, beacon, hello, accept = settle(side, pump)
    side.take_events()
    for data in (probe, beacon, hello, accept):
        side.receive(decode_frame(data), 0)
    side.receive(Frame(FrameType.RSP, 0, bytes(36)), 0)
    assert side.ignored == 5
    assert side.take_events() == []
    waiting = programmer(seed="second")
    waiting.open(0)
    waiting.receive(decode_frame(beacon), 0)
    waiting.receive(Frame(FrameType.BEACON, 0, b"short"), 0)
    waiting.receive(decode_frame(accept), 0)
    assert waiting.ignored == 3
    (answer,) = pump.receive(waiting.take_frames()[0])
    waiting.receive(decode_frame(answer), 0)
    waiting.receive(decode_frame(answer), 0)
    waiting.receive(decode_frame(beacon), 0)
    waiting.receive(Frame(FrameType.ACCEPT, 0, b"short"), 0)
    waiting.receive(decode_frame(accept), 0)
    assert waiting.take_events() == []


def test_slow_air_is_waited_for() -> None:
    side = programmer(policy=LinkPolicy(air_bits_per_s=4_000, air_delay_ms=5, host_allowance_ms=20))
    side.open(0)
    # PROBE 16 B + BEACON 40 B at 4 kbit/s: 112 ms.
    assert side.next_deadline_ms() == 300 + 112 + 10 + 20
