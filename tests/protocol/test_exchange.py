"""The stop-and-wait machine: its table, its times, its refusals."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import OutOfTurn, UsageError
from telemetry.protocol.exchange import TRANSITIONS, Action, Event, Exchange, LinkPolicy, State

FROM_LINK = {Event.ANSWER, Event.REQUEST, Event.REPEAT}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_pair_of_state_and_event_has_one_outcome(state: State, event: Event) -> None:
    exchange = Exchange()
    exchange.state = state
    step = TRANSITIONS.get((state, event))
    if step is not None:
        assert exchange.on(event) is step[1]
        assert exchange.state is step[0]
    elif event in FROM_LINK:
        assert exchange.on(event) is Action.DROP
        assert exchange.state is state
    else:
        with pytest.raises(OutOfTurn, match=f"{event.value} is not possible while {state.value}"):
            exchange.on(event)


def test_every_state_is_reached_and_over_is_final() -> None:
    assert {state for state, _ in TRANSITIONS.values()} == set(State) - {State.IDLE}
    assert {event for (state, event) in TRANSITIONS if state is State.OVER} == {Event.END}


def test_an_unanswered_request_is_sent_four_times_with_growing_pauses_and_then_fails() -> None:
    exchange = Exchange(LinkPolicy(host_allowance_ms=100))
    sent = [0]
    assert exchange.ask(b"frame", 0) is Action.SEND
    action, now_ms = Action.DROP, 0
    while action is not Action.FAIL:
        due_ms = exchange.due_ms
        assert due_ms is not None
        assert exchange.tick(due_ms - 1) is Action.DROP
        now_ms = due_ms
        action = exchange.tick(now_ms)
        if action is Action.RESEND:
            sent.append(now_ms)
            assert exchange.held == b"frame"
    # 300 ms near field + 100 ms host, then 50, 100, 200 ms of back-off (trust.md 4.7).
    assert sent == [0, 450, 950, 1550]
    assert now_ms == 1950
    assert exchange.due_ms is None
    assert exchange.tick(now_ms + 1) is Action.DROP
    assert exchange.answered() is Action.DROP


def test_a_late_tick_moves_straight_on() -> None:
    exchange = Exchange()
    exchange.ask(b"frame", 0)
    assert exchange.tick(10_000) is Action.RESEND
    assert exchange.due_ms == 10_300


def test_an_answer_during_the_pause_counts() -> None:
    exchange = Exchange()
    exchange.ask(b"frame", 0)
    assert exchange.tick(300) is Action.DROP
    assert exchange.state is State.BACKING_OFF
    assert exchange.answered() is Action.DELIVER
    assert exchange.due_ms is None
    assert exchange.ask(b"next", 400) is Action.SEND


def test_one_request_at_a_time() -> None:
    exchange = Exchange()
    exchange.ask(b"frame", 0)
    with pytest.raises(OutOfTurn):
        exchange.ask(b"other", 0)


def test_the_answerer_serves_once_and_repeats_the_same_bytes() -> None:
    exchange = Exchange()
    assert exchange.repeated(b"") is Action.DROP
    assert exchange.serve(b"one") is Action.SERVE
    assert exchange.serve(b"two") is Action.DROP
    assert exchange.repeated(b"one") is Action.DROP
    assert exchange.served(b"answer") is Action.SEND
    assert exchange.repeated(b"one") is Action.RESEND
    assert exchange.held == b"answer"
    assert exchange.repeated(b"onE") is Action.DROP
    assert exchange.serve(b"two") is Action.SERVE
    assert exchange.held == b""
    exchange.end()
    assert exchange.serve(b"three") is Action.DROP


def test_the_deadline_is_pump_time_plus_air_time_plus_host() -> None:
    assert LinkPolicy().deadline_ms(100, 100) == 300
    # 236 bytes at 4 kbit/s: 472 ms of air; 10 ms of delay each way.
    assert LinkPolicy(air_bits_per_s=4_000, air_delay_ms=10).deadline_ms(100, 136) == 300 + 472 + 20
    assert LinkPolicy(air_bits_per_s=3_000).deadline_ms(1, 0) == 303  # 2.67 ms, rounded up


@given(
    bits=st.integers(1, 10**6),
    delay_ms=st.integers(0, 1000),
    host_ms=st.integers(0, 1000),
    retries=st.integers(0, 6),
    request=st.integers(8, 256),
)
def test_every_request_ends_by_a_time_known_beforehand(
    bits: int, delay_ms: int, host_ms: int, retries: int, request: int
) -> None:
    policy = LinkPolicy(air_bits_per_s=bits, air_delay_ms=delay_ms, host_allowance_ms=host_ms, retries=retries)
    exchange = Exchange(policy)
    exchange.ask(bytes(request), 0)
    ends_ms = (retries + 1) * policy.deadline_ms(request) + sum(map(policy.back_off_ms, range(1, retries + 1)))
    sends, now_ms = 1, 0
    while exchange.due_ms is not None:
        now_ms = exchange.due_ms
        sends += exchange.tick(now_ms) is Action.RESEND
    assert (sends, now_ms) == (retries + 1, ends_ms)
    assert exchange.state is State.OVER


@pytest.mark.parametrize("field", LinkPolicy.__slots__)
def test_a_negative_policy_is_refused(field: str) -> None:
    with pytest.raises(UsageError, match=field):
        LinkPolicy(**{field: -1})
