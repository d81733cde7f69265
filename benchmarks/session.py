"""What security costs: the handshake, opening a session, and one sealed exchange, without any device behind it.

*Handshake* is Noise KKpsk0 with gate and wake tag, both ends, PROBE to ACCEPT, by the channels alone. *Session open*
is what ``connect`` and a first ``read_status`` take over memory, link and telemeter report included. *Sealed
exchange* seals, opens and answers one ReadStatus, both ends.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import telemetry
from benchmarks import harness, ours
from benchmarks.samples import STATUS
from telemetry.model import Role
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.protocol.channel import AcceptFacts, Answered, LinkPolicy, Opened, ProgrammerChannel, PumpChannel
from telemetry.protocol.credentials import test_credential, test_pump_secrets, test_slots
from telemetry.protocol.frame import decode_frame
from telemetry.protocol.messages import Message, ReadStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.errors import BadPayload
    from telemetry.protocol.channel import ChannelEvent, SessionInfo

HANDSHAKES = 200
EXCHANGES = 2_000
_PUMP_ID = bytes(range(8))
_UTC_S = 1_795_000_000


def _facts(_slot: int) -> AcceptFacts:
    return AcceptFacts(
        firmware=1,
        now_s=1,
        program_sequence=1,
        program_digest=bytes(8),
        ledger_sequence=0,
        last_operation_counter=0,
        log_sequence=0,
        log_head=bytes(8),
        alarm_sequence=0,
        active_alarms=0,
        failed_attempts=0,
    )


def _serve(_session: SessionInfo, _request: Message | BadPayload) -> Message:
    return STATUS


class Channels:
    """Both ends of the secure channel, frames handed over directly; ``on_frame`` sees each on its way."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.on_frame: Callable[[bytes], None] | None = None
        self.pump = PumpChannel(
            test_pump_secrets(_PUMP_ID),
            test_slots(),
            os.urandom,
            facts=_facts,
            serve=_serve,
            boot_epoch=1,
            test_device=True,
        )
        self.programmer = self._new_programmer()

    def handshake(self) -> None:
        """Open a session with fresh keys, which replaces the one before; raises ``RuntimeError`` when it fails."""
        self.now_ms += 60_000  # the token bucket of attempts is full again
        self.programmer = self._new_programmer()
        self.programmer.open(self.now_ms)
        self._run(Opened)

    def exchange(self) -> None:
        """One request and its answer in the open session; raises ``RuntimeError`` when it fails."""
        self.programmer.request(ReadStatus(), self.now_ms)
        self._run(Answered)

    def _new_programmer(self) -> ProgrammerChannel:
        return ProgrammerChannel(
            test_credential(Role.CLINICIAN),
            want_role=Role.CLINICIAN,
            entropy=os.urandom,
            utc_s=_UTC_S,
            policy=LinkPolicy(),
        )

    def _run(self, expected: type[ChannelEvent]) -> None:
        while True:
            for frame in self.programmer.take_frames():
                self._passes(frame)
                for answer in self.pump.receive(decode_frame(frame), self.now_ms):
                    self._passes(answer)
                    self.programmer.receive(decode_frame(answer), self.now_ms)
            events = self.programmer.take_events()
            if events:
                break
        if type(events[0]) is not expected:
            raise RuntimeError(f"{expected.__name__} was due, and this came: {events[0]!r}")

    def _passes(self, frame: bytes) -> None:
        if self.on_frame is not None:
            self.on_frame(frame)


async def open_sessions(plan: harness.Plan) -> harness.Timing:
    """``connect``, first ``read_status``, close, over memory, again and again to one station."""
    station, _clock = ours.make_station()
    link = ours.StationLink(station)
    rounds = []
    for _ in range(plan.rounds):
        taken = []
        for _ in range(plan.count(HANDSHAKES, 2)):
            begun = time.perf_counter_ns()
            async with telemetry.connect(pump=link, journal=MemoryJournalStore()) as programmer:
                await programmer.read_status()
                taken.append(time.perf_counter_ns() - begun)
        rounds.append(tuple(taken))
    await station.close()
    return harness.Timing(tuple(rounds))


def run(plan: harness.Plan) -> harness.Result:
    """Measure; figures in microseconds."""
    result = harness.Result("session")
    channels = Channels()
    channels.handshake()
    handshake = harness.interleave({"handshake": channels.handshake}, plan, full=HANDSHAKES, loops=1)
    exchange = harness.interleave({"exchange": channels.exchange}, plan, full=EXCHANGES, loops=1)
    opened = harness.run_async(open_sessions(plan))
    result.figures = {
        "handshake, both ends": handshake["handshake"].as_figures(),
        "session open over memory": opened.as_figures(),
        "sealed exchange, both ends": exchange["exchange"].as_figures(),
    }
    result.notes = ["handshake and exchange: channels only, no link, no telemeter, no device"]
    return result
