"""What a subscriber's step works with: a publisher with a virtual pump behind it, and the subscriber's operator."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from telemetry.conform.bedside import pass_until
from telemetry.conform.operator import Act, ActKind, Answer, AnswerKind, Field
from telemetry.conform.results import EvidenceKind
from telemetry.conform.screen_text import quantities, says
from telemetry.conform.steps import Inconclusive
from telemetry.interrogation import Interrogation
from telemetry.model import TelemeterInfo
from telemetry.publish.linking import LinkFacts, link_body
from telemetry.publish.memory import Memory
from telemetry.publish.messages import Source, message_id, render
from telemetry.publish.observing import Room, observe
from telemetry.publish.topics import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.clock import Clock
    from telemetry.conform.manifest import Manifest
    from telemetry.conform.operator import Operator
    from telemetry.conform.recorder import Recorder
    from telemetry.conform.screen_text import Kind as Quantity
    from telemetry.conform.subscriber.bus import Outlet
    from telemetry.publish.messages import Message
    from telemetry.publish.topics import Topics
    from telemetry.sim.virtual_pump import VirtualPump

VALID_MS = 20_000
"""How long what the kit publishes is valid: long enough for a person to look, short enough to wait for its end."""
ACT_MS = 600_000
_ROOM = Room(1_000, 1 << 20)
_WORDS = {
    ActKind.RESTART: "Switch the subscriber off and on again, and wait until it is connected to the broker.",
    ActKind.LEAVE: "End the work with this pump.",
}
_TELEMETER = TelemeterInfo("SIM-T-0001", 0x1_0000, 90, 5, True, 0, 0, 0, 0, 0, True)  # noqa: FBT003 - a record


class SubscriberBench:
    """The stage of one step."""

    def __init__(  # noqa: PLR0913 - each is one fact of the stage
        self,
        record: Recorder,
        operator: Operator,
        *,
        outlet: Outlet,
        topics: Topics,
        pump: VirtualPump,
        clock: Clock,
        utc_ms: Callable[[], int],
        manifest: Manifest,
        gateway_id: str,
    ) -> None:
        self.record = record
        self.outlet = outlet
        self.topics = topics
        self.pump = pump
        self.clock = clock
        self.utc_ms = utc_ms
        self.manifest = manifest
        self.memory = Memory(gateway_id)
        self._operator = operator
        self._retained: set[str] = set()
        self._log_next = 0

    # --- the publisher -----------------------------------------------------------------------------------------------

    async def online(self) -> None:
        """The gateway is there: its will is with the broker, it says that it reads the pump, and tells all states."""
        will = self._link("offline", "gateway_lost")
        await self.outlet.open(self.topics.of(Kind.LINK), will)
        await self.tell_link("online", "read")
        await self.look()

    def _link(self, state: str, reason: str, problem: tuple[str, str] = ("", "")) -> bytes:
        facts = LinkFacts(state, reason, *problem)
        now = self.utc_ms()
        body = link_body(facts, said_utc_ms=now, read_utc_ms=now, waiting=0)
        sequence = self._number()
        return render(
            Kind.LINK, self.source, message_id("kit", Kind.LINK, self.memory.gateway_id, sequence), sequence, body
        ).encode()

    def _number(self) -> int:
        sequence = self.memory.sequence
        self.memory = replace(self.memory, sequence=sequence + 1)
        return sequence

    @property
    def source(self) -> Source:
        """Whose messages they are."""
        who = self.pump.device.identity()
        return Source(self.memory.gateway_id, who.model, who.serial, who.simulated)

    async def tell_link(self, state: str, reason: str, problem: tuple[str, str] = ("", "")) -> None:
        """Say how the link to the pump is."""
        await self.publish(self.topics.of(Kind.LINK), self._link(state, reason, problem), retain=True)

    def reading(self) -> Interrogation:
        """The pump read now."""
        device = self.pump.device
        log = device.log(self._log_next, 1_000).records
        if log:
            self._log_next = log[-1].sequence + 1
        return Interrogation(
            read_utc_ms=self.utc_ms(),
            identity=device.identity(),
            telemeter=_TELEMETER,
            status=self.pump.status,
            alarms=device.alarms(),
            program=device.program_report(),
            delivery=self.pump.delivery,
            limits=device.limits(),
            log=log,
        )

    async def look(self, *, keep: Callable[[Message], bool] = lambda _message: True) -> list[Message]:
        """Read the pump and publish what that brings; ``keep`` leaves messages out. Returns all of them."""
        batch = observe(self.memory, self.reading(), self.topics, valid_ms=VALID_MS, log_room=_ROOM)
        self.memory = batch.memory
        for message in batch.messages:
            if keep(message):
                await self.publish(message.topic, message.payload.encode(), retain=message.retain)
        return list(batch.messages)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish these bytes."""
        if retain:
            self._retained.add(topic)
        said = payload[:120].decode("utf-8", "replace")
        self.record.tell(EvidenceKind.DISTURBANCE, f"published {topic}{' (retained)' if retain else ''}", said)
        await self.outlet.publish(topic, payload, retain=retain)

    async def publish_changed(self, message: Message, *, retain: bool | None = None, **changes: Any) -> None:  # noqa: ANN401 - of JSON
        """Publish a message with some of its keys changed (those that are None are left out)."""
        body = json.loads(message.payload) | changes
        payload = json.dumps({name: value for name, value in body.items() if value is not None or name not in changes})
        await self.publish(message.topic, payload.encode(), retain=message.retain if retain is None else retain)

    async def close(self) -> None:
        """Take away what was retained, and go."""
        for topic in sorted(self._retained):
            await self.outlet.publish(topic, b"", retain=True)
        await self.outlet.close()

    # --- the subscriber ----------------------------------------------------------------------------------------------

    async def act(self, kind: ActKind, *, field: str = "") -> Answer:
        """Have the operator do something."""
        called = self.manifest.fields.get(field, field.replace("_", " "))
        words = _WORDS.get(kind, f"What does the subscriber show at “{called}”, letter by letter?")
        answer = await self._operator.do(Act(kind, field, words=words, limit_ms=ACT_MS))
        evidence = EvidenceKind.SHOWN if kind is ActKind.SHOW else EvidenceKind.ACT
        self.record.tell(evidence, field or words, answer.text or f"({answer.kind})")
        if answer.kind in {AnswerKind.SKIPPED, AnswerKind.UNABLE}:
            raise Inconclusive(f"the operator could not do this: {words}")
        return answer

    async def connect(self) -> None:
        """The subscriber connects anew."""
        await self.act(ActKind.RESTART)
        await self.rest(0)

    async def show(self, field: Field) -> str:
        """What stands at a field."""
        answer = await self.act(ActKind.SHOW, field=field.value)
        return answer.text.strip() if answer.kind is AnswerKind.SHOWN else ""

    async def rest(self, ms: int) -> None:
        """Let time pass; at least what a message takes to be on the screen."""
        least = self.manifest.limits.alarm_shown_ms
        await pass_until(self.clock, self.clock.link_ms() + max(ms, least))

    # --- expectations ------------------------------------------------------------------------------------------------

    def expect(self, held: bool, expected: str, observed: str) -> bool:  # noqa: FBT001 - the one thing it is about
        """See ``Recorder.expect``."""
        return self.record.expect(held, expected, observed or "nothing")

    def expect_quantity(self, text: str, kind: Quantity, count: int, what: str) -> bool:
        """A number of this kind with its unit says this count, and no other number of the kind stands there."""
        found = quantities(text, kind)
        right = bool(found) and all(one.is_about(count) for one in found)
        return self.expect(right, f"{what}: {count} in its base unit, with a unit", text)

    def expect_says(self, text: str, words: tuple[str, ...], what: str) -> bool:
        """One of these words stands there."""
        return self.expect(says(text, *words), f"{what}: one of {', '.join(map(repr, words))}", text)

    def expect_silent(self, text: str, words: tuple[str, ...], what: str) -> bool:
        """None of these words stands there."""
        return self.expect(not says(text, *words), f"{what}: none of {', '.join(map(repr, words))}", text)
