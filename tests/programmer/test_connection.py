"""The conversation with telemeters that are mute, odd or gone, and with pumps that say strange things."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry import FlowRate, LinkClosedError, LinkError, LinkTimeout, OutcomeUnknown, VirtualPump
from telemetry.errors import LinkOpenError, OutOfTurn, PeerError
from telemetry.link import FrameLink
from telemetry.model import Verdict
from telemetry.protocol.codec import decode, encode
from telemetry.protocol.frame import Frame, encode_frame
from telemetry.protocol.messages import ContactEvent, Message, ReadTelemeter, Subscribed, TelemeterReport
from telemetry.protocol.wire import FrameType
from telemetry.sim.connector import station_of
from telemetry.sim.transaction import ReadyProposal
from telemetry.transport.memory import MemoryLink
from tests.support.turns import turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.clock import ManualClock
    from telemetry.transport.base import Receiver, Transport

RATE = FlowRate.parse("0.150 ml/day")


class Scripted:
    """A telemeter that answers what the test says."""

    def __init__(self, answer: Callable[[Frame], list[Frame]], *, refuse: int = 0) -> None:
        self.clock: ManualClock = telemetry.ManualClock()
        self.answer = answer
        self.refuse = refuse
        self.links: list[MemoryLink] = []

    async def open_link(self, receiver: Receiver) -> Transport:
        if self.refuse:
            self.refuse -= 1
            raise LinkOpenError("the port is busy")
        link = MemoryLink(clock=self.clock)
        self.links.append(link)

        def arrived(frame: Frame) -> None:
            for back in self.answer(frame):
                end.send(encode_frame(back))

        end = FrameLink(on_frame=arrived, on_lost=lambda _reason: None)
        link.left.start(receiver)
        link.right.start(end)
        end.attach(link.right)
        return link.left


def report(tag: int, *, contact: bool = True) -> TelemeterReport:
    return TelemeterReport(
        tag=tag,
        serial="SIM-T-0009",
        firmware=1,
        battery_percent=50,
        coupling_bars=5 if contact else 0,
        contact=contact,
        air_bits_per_s=0,
        air_delay_ms=0,
        frames_to_pump=0,
        frames_from_pump=0,
        frames_lost=0,
        simulated=True,
    )


def telemeter_says(frame: Frame, *messages: Message) -> list[Frame]:
    return [Frame(FrameType.TELEMETER_RSP, 0, encode(message)) for message in messages]


def tag_of(frame: Frame) -> int:
    request = decode(frame.body)
    assert isinstance(request, ReadTelemeter)
    return request.tag


async def test_a_pump_that_never_answers_is_told_from_a_telemeter_that_never_does() -> None:
    def answer(frame: Frame) -> list[Frame]:
        return telemeter_says(frame, report(tag_of(frame))) if frame.type is FrameType.TELEMETER_REQ else []

    async with telemetry.connect(pump=Scripted(answer)) as programmer:
        with pytest.raises(LinkTimeout, match="no pump answered"):
            await programmer.read_status()
        with pytest.raises(LinkTimeout, match="no pump answered"):
            await programmer.set_rate(RATE)
    async with telemetry.connect(pump=Scripted(lambda _frame: [])) as programmer:
        with pytest.raises(LinkTimeout, match="no telemeter answered"):
            await programmer.read_status()


async def test_a_telemeter_that_falls_silent_in_between_is_said_so() -> None:
    heard: list[Frame] = []

    def answer(frame: Frame) -> list[Frame]:
        heard.append(frame)
        return telemeter_says(frame, report(tag_of(frame))) if len(heard) == 1 else []

    async with telemetry.connect(pump=Scripted(answer)) as programmer:
        with pytest.raises(LinkTimeout, match="the telemeter does not answer either"):
            await programmer.read_status()


async def test_contact_lost_before_the_pump_answered_is_said_so() -> None:
    asked: list[int] = []

    def answer(frame: Frame) -> list[Frame]:
        if frame.type is not FrameType.TELEMETER_REQ:
            return []
        asked.append(1)
        return telemeter_says(frame, report(tag_of(frame), contact=len(asked) == 1))

    async with telemetry.connect(pump=Scripted(answer)) as programmer:
        with pytest.raises(LinkTimeout, match="the telemeter lost the pump"):
            await programmer.read_status()


async def test_noise_and_strangers_answers_on_the_telemeter_plane_are_stepped_over() -> None:
    def answer(frame: Frame) -> list[Frame]:
        if frame.type is not FrameType.TELEMETER_REQ:
            return [Frame(FrameType.RSP, 0, b"\x00" * 36)]
        tag = tag_of(frame)
        return [
            Frame(FrameType.TELEMETER_RSP, 0, b"\xff\xff"),
            Frame(FrameType.TELEMETER_EVENT, 0, encode(ContactEvent(contact=True, coupling_bars=1))),
            *telemeter_says(frame, report((tag + 9) % 65_536), report(tag)),
        ]

    async with telemetry.connect(pump=Scripted(answer)) as programmer:
        assert (await programmer.read_telemeter()).serial == "SIM-T-0009"


async def test_another_answer_than_was_asked_for_is_refused() -> None:
    def answer(frame: Frame) -> list[Frame]:
        return telemeter_says(frame, Subscribed(tag=tag_of(frame), events=True))

    async with telemetry.connect(pump=Scripted(answer)) as programmer:
        with pytest.raises(LinkError, match="answered Subscribed"):
            await programmer.read_telemeter()


async def test_a_link_that_cannot_be_opened_is_tried_again_at_the_next_call() -> None:
    scripted = Scripted(lambda frame: telemeter_says(frame, report(tag_of(frame))), refuse=1)
    async with telemetry.connect(pump=scripted) as programmer:
        with pytest.raises(LinkOpenError, match="busy"):
            await programmer.read_telemeter()
        assert (await programmer.read_telemeter()).contact


async def test_a_link_cut_while_waiting_ends_the_call_at_once_with_the_reason() -> None:
    def answer(frame: Frame) -> list[Frame]:
        if frame.type is FrameType.TELEMETER_REQ:
            return telemeter_says(frame, report(tag_of(frame)))
        scripted.links[-1].cut("somebody pulled the plug")
        return []

    scripted = Scripted(answer)
    async with telemetry.connect(pump=scripted) as programmer:
        with pytest.raises(LinkClosedError, match="pulled the plug"):
            await programmer.read_status()
        assert scripted.clock.link_ms() == 0, "a loss is no time-out"
        assert len(scripted.links) == 1
        assert (await programmer.read_telemeter()).contact
        assert len(scripted.links) == 2


async def test_a_link_cut_after_commit_leaves_the_outcome_unknown_and_is_resolved_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pump = VirtualPump(seed=8)
    links: list[Transport] = []
    cut = [True]

    class Cuttable:
        clock = pump.clock

        async def open_link(self, receiver: Receiver) -> Transport:
            if not cut[0] and links:
                raise LinkOpenError("no such port")
            link = await pump.open_link(receiver)
            links.append(link)
            return link

    firmware = station_of(pump).firmware
    serve = firmware._handlers[telemetry.protocol.messages.Commit]

    def commit_and_cut(session: object, message: object) -> Message:
        answer = serve(session, message)  # type: ignore[arg-type]
        cut[0] = False
        links[-1]._link.cut("the cable broke")  # type: ignore[attr-defined]
        return answer

    monkeypatch.setitem(firmware._handlers, telemetry.protocol.messages.Commit, commit_and_cut)
    device = Cuttable()
    async with telemetry.connect(pump=device) as programmer:
        with pytest.raises(OutcomeUnknown):
            await programmer.set_rate(RATE)
        assert pump.status.rate_nl_per_day == 150_000
        with pytest.raises(LinkOpenError, match="no such port"):
            await programmer.set_rate(RATE)
        cut[0] = True
        await programmer.read_status()
        (outcome,) = programmer.resolved
        assert outcome.verdict == "applied"


async def test_answers_out_of_turn_end_the_call_and_nothing_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    pump = VirtualPump(seed=8)
    firmware = station_of(pump).firmware
    messages = telemetry.protocol.messages
    monkeypatch.setitem(
        firmware._handlers,
        messages.ReadStatus,
        lambda _session, _message: messages.Begun(),
    )
    async with telemetry.connect(pump=pump) as programmer:
        with pytest.raises(PeerError, match="answered Begun"):
            await programmer.read_status()
        with pytest.raises(LinkError, match="nothing was changed") as refused:
            await programmer.set_rate(RATE)
        assert isinstance(refused.value.__cause__, OutOfTurn)
        with pytest.raises(LinkError, match="was not stopped"):
            await programmer.stop()


async def test_a_verdict_where_a_read_back_was_due_commits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pump = VirtualPump(seed=8)
    firmware = station_of(pump).firmware
    messages = telemetry.protocol.messages
    monkeypatch.setitem(
        firmware._handlers,
        messages.SetRate,
        lambda _session, message: messages.VerdictReport(
            op_id=message.op_id,
            verdict=Verdict.NEVER,
            reason=None,
            program_sequence=1,
            program_digest=bytes(8),
            effective_s=0,
            last_operation_counter=0,
        ),
    )
    async with telemetry.connect(pump=pump) as programmer:
        with pytest.raises(LinkError, match="answered VerdictReport where Staged was due"):
            await programmer.set_rate(RATE)
    assert pump.status.rate_nl_per_day == 170_000


@pytest.mark.parametrize("lie", ["other image", "no image", "endless"])
async def test_the_long_way_is_compared_too(monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    pump = VirtualPump(seed=8)
    messages = telemetry.protocol.messages
    true_part = ReadyProposal.part

    def part(self: ReadyProposal, number: int) -> Message:
        if lie == "endless":
            return messages.ReadBack(part=number, parts=255, image=b"\x01")
        staged = true_part(self, number)
        assert isinstance(staged, messages.Staged)
        image = b"" if lie == "no image" else staged.image[:-1] + b"\xff"
        return telemetry.protocol.messages.Staged(
            **{name: getattr(staged, name) for name in staged.__slots__ if name != "image"}, image=image
        )

    monkeypatch.setattr(ReadyProposal, "part", part)
    async with telemetry.connect(pump=pump) as programmer:
        with pytest.raises((telemetry.Refused, LinkError), match=r"another program|does not end"):
            await programmer.program(telemetry.Therapy.minimum_rate(), accept=tuple(telemetry.Warn))
    assert pump.status.rate_nl_per_day == 170_000


async def test_closing_is_idempotent_and_a_session_of_another_owner_is_left_alone() -> None:
    pump = VirtualPump(seed=8)
    async with telemetry.connect(pump=pump) as programmer:
        await programmer.read_status()
        await programmer.release()
        await programmer.release()
        await programmer.close()
        await programmer.close()
    await turns(5)
    assert station_of(pump).firmware.channel.session is None
