"""Stop-and-wait, once: request, answer, retry, duplicate, deadline. One table of transitions for both ends.

::

    asker      IDLE --ASK/send--> WAITING --ANSWER/deliver--> DONE --ASK/send--> ...
               WAITING --DEADLINE/back off--> BACKING_OFF --DUE/resend--> WAITING
               WAITING --GIVE_UP/fail--> OVER
    answerer   IDLE --REQUEST/serve--> SERVING --SERVED/send--> DONE --REQUEST/serve--> ...
               DONE --REPEAT/resend--> DONE

``resend`` means the same bytes again, on both sides: the asker's request, the answerer's answer. Only the asker
repeats by itself (protocol.md, Decided 12). Anything that the table does not list is dropped when it came from the
link and ``OutOfTurn`` when our own side asked for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from telemetry.errors import OutOfTurn, UsageError
from telemetry.protocol.wire import MAX_FRAME

MS_PER_SECOND = 1_000
_BITS_PER_BYTE = 8
_BITS_PER_BYTE_ON_A_LINE = 10
"""Start and stop bit included (8N1)."""
_STUFFING = 4
"""What a stream adds to a frame at most: two bytes of COBS and a zero at either end (protocol.md 3)."""


class _Fast(Enum):
    """An enumeration whose members hash by identity: looked up twice for every frame."""

    __hash__ = object.__hash__


class State(_Fast):
    """Where an exchange stands."""

    IDLE = "idle"
    WAITING = "waiting"
    BACKING_OFF = "backing_off"
    SERVING = "serving"
    DONE = "done"
    OVER = "over"


class Event(_Fast):
    """What happens to an exchange."""

    ASK = "ask"
    ANSWER = "answer"
    DEADLINE = "deadline"
    DUE = "due"
    GIVE_UP = "give_up"
    REQUEST = "request"
    SERVED = "served"
    REPEAT = "repeat"
    END = "end"


class Action(_Fast):
    """What the owner of the exchange does about it."""

    SEND = "send"
    RESEND = "resend"
    DELIVER = "deliver"
    BACK_OFF = "back_off"
    FAIL = "fail"
    SERVE = "serve"
    DROP = "drop"
    STOP = "stop"


TRANSITIONS: MappingProxyType[tuple[State, Event], tuple[State, Action]] = MappingProxyType(
    {
        # asker
        (State.IDLE, Event.ASK): (State.WAITING, Action.SEND),
        (State.DONE, Event.ASK): (State.WAITING, Action.SEND),
        (State.WAITING, Event.ANSWER): (State.DONE, Action.DELIVER),
        (State.BACKING_OFF, Event.ANSWER): (State.DONE, Action.DELIVER),
        (State.WAITING, Event.DEADLINE): (State.BACKING_OFF, Action.BACK_OFF),
        (State.BACKING_OFF, Event.DUE): (State.WAITING, Action.RESEND),
        (State.WAITING, Event.GIVE_UP): (State.OVER, Action.FAIL),
        # answerer
        (State.IDLE, Event.REQUEST): (State.SERVING, Action.SERVE),
        (State.DONE, Event.REQUEST): (State.SERVING, Action.SERVE),
        (State.SERVING, Event.SERVED): (State.DONE, Action.SEND),
        (State.DONE, Event.REPEAT): (State.DONE, Action.RESEND),
        # either
        **{(state, Event.END): (State.OVER, Action.STOP) for state in State},
    }
)
"""The whole behaviour. From the link (ANSWER, REQUEST, REPEAT) everything unlisted is dropped."""

_FROM_LINK = frozenset({Event.ANSWER, Event.REQUEST, Event.REPEAT})


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """How long to wait and how often to ask again. Times in ms; defaults from trust.md 4.7, protocol.md Decided 12.

    ``air_bits_per_s`` (0: not limited) and ``air_delay_ms`` (each way) are what the telemeter says of the near
    field; ``host_allowance_ms`` covers the link between host and telemeter, and ``host_bits_per_s`` (0: not limited)
    its pace where it is a serial line. Back-off doubles from ``first`` to ``last``. Raises ``UsageError`` for a
    negative value.
    """

    air_bits_per_s: int = 0
    air_delay_ms: int = 0
    host_allowance_ms: int = 0
    host_bits_per_s: int = 0
    reply_deadline_ms: int = 300
    retries: int = 3
    first_back_off_ms: int = 50
    last_back_off_ms: int = 400

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise UsageError(f"link policy {name}: {value!r} is no whole number from 0 on")

    def deadline_ms(self, request_bytes: int, answer_bytes: int = MAX_FRAME) -> int:
        """How long an answer may take: the pump's time, the air time of both frames, the host link."""
        size = request_bytes + answer_bytes
        air_ms = _time_ms(size * _BITS_PER_BYTE, self.air_bits_per_s)
        line_ms = _time_ms((size + 2 * _STUFFING) * _BITS_PER_BYTE_ON_A_LINE, self.host_bits_per_s)
        return self.reply_deadline_ms + air_ms + 2 * self.air_delay_ms + line_ms + self.host_allowance_ms

    def back_off_ms(self, failures: int) -> int:
        """Pause after the ``failures``-th deadline that passed."""
        return min(self.first_back_off_ms << (failures - 1), self.last_back_off_ms)


def _time_ms(bits: int, bits_per_s: int) -> int:
    return -(-bits * MS_PER_SECOND // bits_per_s) if bits_per_s else 0


class Exchange:
    """One conversation of stop-and-wait, either end. Holds what would be sent again and, for an asker, its times.

    ``asked`` is the identity of the request (the answerer compares a repeat with it, byte for byte), ``held`` the
    encoded frame that RESEND sends.
    """

    __slots__ = ("_allowed_ms", "_policy", "asked", "attempts", "due_ms", "held", "state")

    def __init__(self, policy: LinkPolicy | None = None) -> None:
        self._policy = policy or LinkPolicy()
        self._allowed_ms = 0
        self.state = State.IDLE
        self.asked = b""
        self.held = b""
        self.attempts = 0
        self.due_ms: int | None = None

    def on(self, event: Event) -> Action:
        """Move by the table; raises ``OutOfTurn`` for a step of our own that the state forbids."""
        step = TRANSITIONS.get((self.state, event))
        if step is None:
            if event in _FROM_LINK:
                return Action.DROP
            raise OutOfTurn(f"exchange: {event.value} is not possible while {self.state.value}")
        self.state, action = step
        return action

    # --- asker -------------------------------------------------------------------------------------------------------

    def ask(self, frame: bytes, now_ms: int, answer_bytes: int = MAX_FRAME) -> Action:
        """Start a request whose encoded frame is ``frame``; SEND, or ``OutOfTurn`` while another is outstanding."""
        action = self.on(Event.ASK)
        self.held, self.attempts = frame, 1
        self._allowed_ms = self._policy.deadline_ms(len(frame), answer_bytes)
        self.due_ms = now_ms + self._allowed_ms
        return action

    def answered(self) -> Action:
        """The answer came: DELIVER, or DROP when nothing is outstanding."""
        action = self.on(Event.ANSWER)
        if action is Action.DELIVER:
            self.due_ms = None
        return action

    def tick(self, now_ms: int) -> Action:
        """Time passed: RESEND, FAIL, or DROP when there is nothing to do yet."""
        if self.due_ms is None or now_ms < self.due_ms:
            return Action.DROP
        if self.state is State.BACKING_OFF:
            self.attempts += 1
            self.due_ms = now_ms + self._allowed_ms
            return self.on(Event.DUE)
        if self.attempts > self._policy.retries:
            self.due_ms = None
            return self.on(Event.GIVE_UP)
        self.due_ms += self._policy.back_off_ms(self.attempts)
        self.on(Event.DEADLINE)
        return self.tick(now_ms)

    # --- answerer ----------------------------------------------------------------------------------------------------

    def serve(self, asked: bytes) -> Action:
        """A new request came: SERVE (then call ``served``), or DROP while another is being served."""
        action = self.on(Event.REQUEST)
        if action is Action.SERVE:
            self.asked, self.held = asked, b""
        return action

    def served(self, frame: bytes) -> Action:
        """The answer to the request is the encoded frame ``frame``: SEND it and hold it for repeats."""
        action = self.on(Event.SERVED)
        self.held = frame
        return action

    def repeated(self, asked: bytes) -> Action:
        """RESEND when ``asked`` is, byte for byte, the request answered last; DROP otherwise."""
        if asked != self.asked:
            return Action.DROP
        return self.on(Event.REPEAT)

    def end(self) -> None:
        """Nothing will be asked or answered any more."""
        self.due_ms = None
        self.on(Event.END)
