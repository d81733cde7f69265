"""Two programmers and a pump over a link that loses, repeats, delays, reorders and bends, against a model of 20 lines.

The model knows operation numbers only: which were requested, which the pump executed, what the programmers were told.
"""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import telemetry.protocol.messages as m
from telemetry.errors import BadFrame
from telemetry.model import Role
from telemetry.protocol.channel import Answered, Closed, Failed, Opened, ProgrammerChannel
from telemetry.protocol.frame import decode_frame, encode_frame
from tests.protocol.channel_rig import Pump, programmer

pytestmark = pytest.mark.inv(4, 5, 6, 7, 48)
ROLES = (Role.CLINICIAN, Role.EMERGENCY)


class LossyChannels(RuleBasedStateMachine):
    """Frames once sent stay on the link for ever and may arrive at any time, any number of times, bent or not."""

    def __init__(self) -> None:
        super().__init__()
        self.pump = Pump()
        self.now_ms = 0
        self.to_pump: list[bytes] = []
        self.from_pump: list[bytes] = []
        self.sessions = 0
        self.operations = 0
        self.sides: dict[Role, ProgrammerChannel] = {}
        self.latest: dict[Role, bytes] = {}
        self.ready: dict[Role, bool] = {}
        self.outstanding: dict[Role, bytes | None] = {}
        self.told_done: set[bytes] = set()
        self.told_unsent: set[bytes] = set()

    @initialize()
    def start(self) -> None:
        for role in ROLES:
            self.reopen(role)

    @rule(role=st.sampled_from(ROLES))
    def reopen(self, role: Role) -> None:
        """Give up the present attempt or session, as a killed client does, and begin another."""
        self.sessions += 1
        self.sides[role] = programmer(role, seed=f"session {self.sessions}")
        self.ready[role] = False
        self.outstanding[role] = None
        self.sides[role].open(self.now_ms)
        self.collect(role)

    @precondition(lambda self: any(self.ready.values()))
    @rule(role=st.sampled_from(ROLES), taken=st.booleans())
    def request(self, role: Role, taken: bool) -> None:
        if not self.ready[role] or self.outstanding[role] is not None:
            return
        self.operations += 1
        op_id = self.operations.to_bytes(16, "little")
        self.outstanding[role] = op_id
        self.sides[role].request(m.Abort(op_id), self.now_ms)
        if taken:
            self.collect(role)

    @rule(
        newest=st.integers(0, 3),
        bend=st.none() | st.integers(0, 8 * 256 - 1),
        forge=st.booleans(),
    )
    def arrive_at_pump(self, newest: int, bend: int | None, forge: bool) -> None:
        if newest < len(self.to_pump):
            for data in self.bent(self.to_pump[-1 - newest], bend, forge=forge):
                self.from_pump += self.pump.receive(data, self.now_ms)

    @rule(at=st.integers(0, 10**6))
    def old_frame_arrives_at_pump(self, at: int) -> None:
        if self.to_pump:
            self.from_pump += self.pump.receive(self.to_pump[at % len(self.to_pump)], self.now_ms)

    @rule(
        role=st.sampled_from(ROLES),
        newest=st.integers(0, 3),
        bend=st.none() | st.integers(0, 8 * 256 - 1),
        forge=st.booleans(),
    )
    def arrive_at_programmer(self, role: Role, newest: int, bend: int | None, forge: bool) -> None:
        if newest < len(self.from_pump):
            for data in self.bent(self.from_pump[-1 - newest], bend, forge=forge):
                self.sides[role].receive(decode_frame(data), self.now_ms)
            self.collect(role)

    @rule(role=st.sampled_from(ROLES))
    def everything_gets_through(self, role: Role) -> None:
        """A good moment: what this programmer has in hand reaches the pump, and the answer comes back."""
        self.collect(role)
        for _ in range(4):
            answers = self.pump.receive(self.latest[role], self.now_ms)
            self.from_pump += answers
            for answer in answers:
                self.sides[role].receive(decode_frame(answer), self.now_ms)
            self.collect(role)

    @rule(ms=st.sampled_from((1, 40, 300, 350, 1_000, 5_001, 30_000)))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms
        self.pump.channel.tick(self.now_ms)
        for role in ROLES:
            self.sides[role].tick(self.now_ms)
            self.collect(role)

    @rule()
    def contact_is_lost(self) -> None:
        self.pump.channel.end_session("contact_lost")

    def bent(self, data: bytes, bend: int | None, *, forge: bool) -> list[bytes]:
        """The frame as it arrives: whole, or with one bit changed; an attacker (forge) makes the CRC right again."""
        if bend is None:
            return [data]
        if forge:
            frame = decode_frame(data)
            body = bytearray(frame.body)
            body[bend // 8 % len(body)] ^= 1 << bend % 8
            return [encode_frame(type(frame)(frame.type, 0, bytes(body)))]
        noise = bytearray(data)
        noise[bend // 8 % len(noise)] ^= 1 << bend % 8
        with pytest.raises(BadFrame):
            decode_frame(bytes(noise))
        return []

    def collect(self, role: Role) -> None:
        """Put on the link what a programmer sends, and note what it says."""
        side = self.sides[role]
        sent = side.take_frames()
        self.to_pump += sent
        if sent:
            self.latest[role] = sent[-1]
        for event in side.take_events():
            op_id = self.outstanding[role]
            if isinstance(event, Opened):
                self.ready[role] = True
            elif isinstance(event, Answered):
                assert op_id is not None
                assert isinstance(event.message, m.Refusal)
                # The answer names the execution it belongs to: it must be ours.
                assert self.pump.executed[event.message.value - 1] == m.Abort(op_id)
                self.told_done.add(op_id)
                self.outstanding[role] = None
            else:
                assert isinstance(event, Failed | Closed)
                if isinstance(event, Failed) and op_id is not None and not event.sent:
                    self.told_unsent.add(op_id)
                self.ready[role] = False
                self.outstanding[role] = None

    @invariant()
    def each_operation_happened_at_most_once_and_in_order(self) -> None:
        done = [request.op_id for request in self.pump.executed if isinstance(request, m.Abort)]
        assert len(done) == len(set(done)) == len(self.pump.executed)

    @invariant()
    def what_was_told_is_so(self) -> None:
        done = {request.op_id for request in self.pump.executed if isinstance(request, m.Abort)}
        assert self.told_done <= done
        assert not self.told_unsent & done

    @invariant()
    def a_session_belongs_to_a_true_credential_and_its_time(self) -> None:
        info = self.pump.channel.session
        if info is not None:
            assert info.role in ROLES
            assert self.now_ms < info.last_activity_ms + 30_000
            assert self.now_ms < info.opened_at_ms + 600_000

    @invariant()
    def opened_and_closed_alternate(self) -> None:
        kinds = [entry.split()[0] for entry in self.pump.happened if not entry.startswith("failed")]
        assert kinds == ["opened", "closed"] * (len(kinds) // 2) + ["opened"] * (len(kinds) % 2)


TestLossyChannels = LossyChannels.TestCase


def test_the_machine_reaches_answers_and_losses() -> None:
    """A machine that never gets anywhere would prove nothing: a fixed walk that opens, asks, loses and asks again."""
    machine = LossyChannels()
    machine.start()
    machine.everything_gets_through(Role.CLINICIAN)
    assert machine.ready[Role.CLINICIAN]
    machine.request(Role.CLINICIAN, taken=True)
    machine.everything_gets_through(Role.CLINICIAN)
    assert len(machine.told_done) == 1
    machine.request(Role.CLINICIAN, taken=False)
    machine.contact_is_lost()
    for _ in range(12):
        machine.time_passes(1_000)
    assert not machine.ready[Role.CLINICIAN]
    machine.reopen(Role.CLINICIAN)
    machine.everything_gets_through(Role.CLINICIAN)
    assert machine.ready[Role.CLINICIAN]
    machine.each_operation_happened_at_most_once_and_in_order()
    machine.what_was_told_is_so()
