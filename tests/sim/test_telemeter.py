"""The handheld relay: what it passes on, what it answers for itself, when it lets go."""

from __future__ import annotations

import pytest

from telemetry.clock import ManualClock
from telemetry.errors import UsageError
from telemetry.protocol.codec import decode, encode
from telemetry.protocol.frame import Frame, decode_frame, encode_frame
from telemetry.protocol.messages import (
    ContactEvent,
    Message,
    ReadStatus,
    ReadTelemeter,
    Subscribe,
    Subscribed,
    TelemeterReport,
)
from telemetry.protocol.wire import FrameType
from telemetry.sim.nearfield import NearField, NearFieldSettings
from telemetry.sim.telemeter import Telemeter

PROBE = Frame(FrameType.PROBE, 0, bytes(8))


class EchoingPump:
    """Sends every frame back as a BEACON, and counts."""

    def __init__(self) -> None:
        self.received: list[Frame] = []
        self.contacts_lost = 0

    def receive(self, frame: Frame) -> list[bytes]:
        self.received.append(frame)
        return [encode_frame(Frame(FrameType.BEACON, 0, frame.body))]

    def contact_lost(self) -> None:
        self.contacts_lost += 1


class Bench:
    def __init__(self, settings: NearFieldSettings | None = None, seed: int = 0) -> None:
        self.clock = ManualClock()
        self.pump = EchoingPump()
        self.telemeter = Telemeter(
            self.pump, NearField(settings or NearFieldSettings(), seed), self.clock, serial="SIM-T-0001"
        )
        self.sent: list[bytes] = []
        self.host = self.telemeter.connect(self.sent.append)

    def say(self, frame: Frame) -> list[Frame]:
        """One frame from the host; what came back at once."""
        self.sent.clear()
        self.telemeter.host_frame(self.host, frame)
        return [decode_frame(data) for data in self.sent]

    def ask(self, message: Message) -> Message:
        (frame,) = self.say(Frame(FrameType.TELEMETER_REQ, 0, encode(message)))
        assert frame.type is FrameType.TELEMETER_RSP
        return decode(frame.body)

    def report(self) -> TelemeterReport:
        report = self.ask(ReadTelemeter(tag=7))
        assert isinstance(report, TelemeterReport)
        return report


def test_sealed_frames_pass_unread_and_unchanged() -> None:
    bench = Bench()
    for kind in (FrameType.PROBE, FrameType.HELLO, FrameType.REQ):
        (answer,) = bench.say(Frame(kind, 0, b"sealed"))
        assert answer == Frame(FrameType.BEACON, 0, b"sealed")
    assert [frame.type for frame in bench.pump.received] == [FrameType.PROBE, FrameType.HELLO, FrameType.REQ]
    report = bench.report()
    assert (report.tag, report.frames_to_pump, report.frames_from_pump, report.frames_lost) == (7, 3, 3, 0)
    assert report.simulated


@pytest.mark.parametrize(
    "kind",
    [
        FrameType.BEACON,
        FrameType.ACCEPT,
        FrameType.RSP,
        FrameType.TELEMETER_RSP,
        FrameType.TELEMETER_EVENT,
    ],
)
def test_what_a_host_must_not_say_goes_nowhere(kind: FrameType) -> None:
    bench = Bench()
    assert bench.say(Frame(kind, 0, b"")) == []
    assert bench.pump.received == []


@pytest.mark.parametrize("body", [b"", b"\xff" * 20, encode(ReadStatus())])
def test_noise_on_its_own_plane_is_left_unanswered(body: bytes) -> None:
    bench = Bench()
    assert bench.say(Frame(FrameType.TELEMETER_REQ, 0, body)) == []
    assert bench.report().contact


def test_without_contact_nothing_crosses_and_the_telemeter_says_so() -> None:
    bench = Bench()
    bench.telemeter.lift()
    assert bench.say(PROBE) == []
    report = bench.report()
    assert (report.contact, report.coupling_bars, report.frames_lost) == (False, 0, 1)
    bench.telemeter.place(2)
    assert bench.report().coupling_bars == 2
    assert len(bench.say(PROBE)) == 1
    for wrong in (-1, 6):
        with pytest.raises(UsageError, match="coupling_bars"):
            bench.telemeter.place(wrong)


def test_events_go_to_those_who_asked_and_only_then() -> None:
    bench = Bench()
    bench.telemeter.place(3)
    assert bench.sent == []
    assert bench.ask(Subscribe(tag=9, events=True)) == Subscribed(tag=9, events=True)
    bench.sent.clear()
    bench.telemeter.place(3)
    assert bench.sent == [], "nothing moved"
    bench.telemeter.lift()
    bench.telemeter.place(1)
    events = [decode_frame(data) for data in bench.sent]
    assert {frame.type for frame in events} == {FrameType.TELEMETER_EVENT}
    assert [decode(frame.body) for frame in events] == [
        ContactEvent(contact=False, coupling_bars=0),
        ContactEvent(contact=True, coupling_bars=1),
    ]
    bench.ask(Subscribe(tag=10, events=False))
    bench.sent.clear()
    bench.telemeter.lift()
    assert bench.sent == []


@pytest.mark.parametrize(("away_ms", "lost"), [(4_999, 0), (5_000, 1), (60_000, 1)])
def test_the_pump_is_told_after_five_seconds_without_contact(away_ms: int, lost: int) -> None:
    bench = Bench()
    bench.telemeter.lift()
    bench.clock.advance(ms=away_ms)
    bench.telemeter.place()
    bench.clock.advance(minutes=1)
    assert bench.pump.contacts_lost == lost


def test_lifting_twice_is_one_loss_and_closing_forgets_it() -> None:
    bench = Bench()
    bench.telemeter.lift()
    bench.telemeter.lift()
    bench.clock.advance(seconds=6)
    assert bench.pump.contacts_lost == 1
    bench.telemeter.place()
    bench.telemeter.lift()
    bench.telemeter.close()
    bench.clock.advance(seconds=6)
    assert bench.pump.contacts_lost == 1


def test_a_slow_field_delivers_later_and_not_to_hosts_that_left() -> None:
    bench = Bench(NearFieldSettings(delay_ms=20, bits_per_s=4_000))
    assert bench.say(PROBE) == []
    bench.clock.advance(ms=51)
    assert bench.pump.received == []
    bench.clock.advance(ms=1)  # 16 bytes at 4 kbit/s are 32 ms, and 20 ms of delay
    assert len(bench.pump.received) == 1
    bench.clock.advance(ms=52)
    assert len(bench.sent) == 1
    bench.say(PROBE)
    bench.telemeter.disconnect(bench.host)
    bench.telemeter.disconnect(bench.host)
    bench.clock.advance(seconds=1)
    assert bench.sent == []


def test_a_frame_on_its_way_is_lost_when_the_telemeter_is_lifted() -> None:
    bench = Bench(NearFieldSettings(delay_ms=20))
    bench.say(PROBE)
    bench.telemeter.lift()
    bench.clock.advance(ms=30)
    assert bench.pump.received == []
    assert bench.telemeter.frames_lost == 1


def test_loss_is_seeded_and_as_frequent_as_asked() -> None:
    def crossings(seed: int) -> list[bool]:
        bench = Bench(NearFieldSettings(loss_ppm=200_000), seed)
        return [bool(bench.say(PROBE)) for _ in range(2_000)]

    first = crossings(1)
    assert first == crossings(1)
    assert first != crossings(2)
    through = sum(first) / len(first)
    assert 0.60 < through < 0.68, "both ways at 20 % loss leave 64 %"


@pytest.mark.parametrize(("name", "value"), [("loss_ppm", 1_000_001), ("delay_ms", -1), ("bits_per_s", -5)])
def test_settings_out_of_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"near field {name}: {value}"):
        NearFieldSettings(**{name: value})


def test_its_battery_lasts_a_hundred_hours_of_use_and_then_it_is_mute() -> None:
    bench = Bench()
    assert bench.telemeter.battery_percent == 100
    for _ in range(50 * 12):  # 50 hours, never five minutes without a word
        bench.clock.advance(minutes=5)
        bench.report()
    assert bench.telemeter.battery_percent == 50
    bench.clock.advance(days=30)  # asleep
    assert bench.telemeter.battery_percent == 50
    for _ in range(51 * 12):
        bench.clock.advance(minutes=5)
        bench.say(PROBE)
    assert bench.telemeter.battery_percent == 0
    assert bench.say(PROBE) == []
    assert bench.say(Frame(FrameType.TELEMETER_REQ, 0, encode(ReadTelemeter(tag=1)))) == []
    bench.telemeter.recharge()
    assert bench.report().battery_percent == 100
