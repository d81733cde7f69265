"""One suite of behaviours for every kind of transport, bare and in every wrapper; quirks are declared in `links`.

A test module makes a class of it for each kind: ``TestTcp = conforming(TCP)``.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, TypeVar

import pytest

from telemetry.errors import LinkClosedError
from tests.conformance.links import WRAPPERS, Kind, Quirk, RecordingReceiver, Rig

if TYPE_CHECKING:
    from collections.abc import Callable

_Test = TypeVar("_Test", bound="Callable[..., object]")


def unless(quirk: Quirk) -> Callable[[_Test], _Test]:
    """Rule a test out for the kinds that declare a quirk."""

    def mark(test: _Test) -> _Test:
        test.quirk = quirk  # type: ignore[attr-defined]
        return test

    return mark


def only_wrapped(*wrappers: str) -> Callable[[_Test], _Test]:
    """Run a long test in some wrappers only."""

    def mark(test: _Test) -> _Test:
        test.wrappers = wrappers  # type: ignore[attr-defined]
        return test

    return mark


def conforming(kind: Kind) -> type[Suite]:
    """Make the suite for one kind, without the tests that its quirks rule out."""
    members = vars(Suite).items()
    ruled_out = {name: None for name, test in members if getattr(test, "quirk", Quirk.NONE) & kind.quirks}
    return type("Test" + kind.name.title(), (Suite,), {**ruled_out, "kind": kind, "__test__": True})


def wrappers_for(kind: Kind, test: Callable[..., object]) -> list[str]:
    """Every wrapper that fits around a kind and that the test asks for."""
    wanted = getattr(test, "wrappers", tuple(WRAPPERS))
    # A line at a pace needs time to pass, and the virtual lane's passes only while somebody waits for an answer.
    misfits = {"chunk": Quirk.DATAGRAMS in kind.quirks, "baud": not kind.real}
    return [name for name in wanted if not misfits.get(name, False) and (not kind.wrappers or name in kind.wrappers)]


def messages(seed: int, count: int) -> list[bytes]:
    """Zero-ended, as frames are on a stream, and short enough for `mtu=64`."""
    draw = random.Random(seed)
    return [bytes(draw.randint(1, 255) for _ in range(draw.randint(1, 60))) + b"\0" for _ in range(count)]


class Suite:
    """What every transport does, whatever it stands on."""

    __test__ = False
    kind: Kind

    async def test_bytes_arrive_in_order_both_ways(self, rig: Rig) -> None:
        client, served = await rig.pair()
        there, back = messages(1, 50), messages(2, 50)
        for one, other in zip(there, back, strict=True):
            client.write(one)
            served.write(other)
        await rig.until(lambda: served.receiver.data == b"".join(there) and client.receiver.data == b"".join(back))

    async def test_a_datagram_is_delivered_as_it_was_written(self, rig: Rig) -> None:
        client, served = await rig.pair()
        sent = messages(3, 20)
        for message in sent:
            client.write(message)
        await rig.until(lambda: served.receiver.data == b"".join(sent))
        assert client.transport.info.datagrams == (Quirk.DATAGRAMS in rig.kind.quirks)
        if client.transport.info.datagrams:
            assert served.receiver.chunks == sent

    async def test_much_data_arrives_whole_both_ways_at_once(self, rig: Rig) -> None:
        client, served = await rig.pair()
        count, pause = (300, 30) if Quirk.SHORT_QUEUE in rig.kind.quirks else (2_000, 2_000)
        there, back = b"".join(messages(4, count)), b"".join(messages(5, count))
        sent = 0, 0
        for number, (one, other) in enumerate(zip(messages(4, count), messages(5, count), strict=True), 1):
            client.write(one)
            served.write(other)
            sent = sent[0] + len(one), sent[1] + len(other)
            if number % pause == 0:
                await rig.until(
                    lambda sent=sent: (len(served.receiver.data), len(client.receiver.data)) == sent  # type: ignore[misc]
                )
        assert served.receiver.data == there
        assert client.receiver.data == back

    @unless(Quirk.DATAGRAMS)
    async def test_bytes_written_one_by_one_arrive_whole(self, rig: Rig) -> None:
        client, served = await rig.pair()
        sent = b"".join(messages(6, 10))
        for byte in sent:
            client.write(bytes([byte]))
            await asyncio.sleep(0)
        await rig.until(lambda: served.receiver.data == sent)

    async def test_an_answer_given_from_inside_data_received_arrives(self, rig: Rig) -> None:
        client, served = await rig.pair()
        served.receiver.when_data = served.transport.write
        client.receiver.when_data = lambda _data: (
            client.transport.write(b"again\0") if client.receiver.data.count(b"\0") < 30 else None
        )
        client.write(b"again\0")
        await rig.until(lambda: client.receiver.data.count(b"\0") >= 30)

    async def test_closing_tells_us_none_and_the_other_end_a_reason(self, rig: Rig) -> None:
        client, served = await rig.pair()
        await client.transport.close()
        assert client.receiver.lost
        assert client.receiver.reason is None
        await rig.until(lambda: served.receiver.lost)
        assert isinstance(served.receiver.reason, LinkClosedError)
        assert "clos" in str(served.receiver.reason)

    async def test_the_serving_end_may_close_too(self, rig: Rig) -> None:
        client, served = await rig.pair()
        served.transport.write(b"last words\0")
        await rig.until(lambda: client.receiver.data == b"last words\0")
        await served.transport.close()
        assert served.receiver.lost
        assert served.receiver.reason is None
        if Quirk.ONE_CLIENT not in rig.kind.quirks:  # a terminal stays plugged in when the program behind it hangs up
            await rig.until(lambda: client.receiver.lost)
            assert isinstance(client.receiver.reason, LinkClosedError)

    async def test_what_a_client_wrote_before_it_closed_arrives_before_the_loss(self, rig: Rig) -> None:
        client, served = await rig.pair()
        sent = b"".join(messages(7, 40))
        for message in messages(7, 40):
            client.write(message)
        await client.transport.close()
        await rig.until(lambda: served.receiver.lost)
        assert served.receiver.data == sent

    @unless(Quirk.UNPLUGGING_DROPS_UNREAD)
    async def test_what_the_device_wrote_before_it_closed_arrives_before_the_loss(self, rig: Rig) -> None:
        client, served = await rig.pair()
        sent = b"".join(messages(8, 40))
        for message in messages(8, 40):
            served.write(message)
        await served.transport.close()
        await rig.until(lambda: client.receiver.lost)
        assert client.receiver.data == sent

    async def test_closing_again_and_at_once_is_harmless(self, rig: Rig) -> None:
        client, served = await rig.pair()
        await asyncio.gather(client.transport.close(), client.transport.close())
        await client.transport.close()
        await rig.until(lambda: served.receiver.lost)
        await served.transport.close()

    async def test_writing_to_what_is_closed_names_the_reason(self, rig: Rig) -> None:
        client, served = await rig.pair()
        await client.transport.close()
        with pytest.raises(LinkClosedError, match="clos"):
            client.write(b"too late\0")
        await rig.until(lambda: served.receiver.lost)
        with pytest.raises(LinkClosedError, match="clos"):
            served.write(b"too late\0")

    async def test_a_close_that_is_cancelled_has_released_all_the_same(self, rig: Rig) -> None:
        client, served = await rig.pair()
        closing = asyncio.ensure_future(client.transport.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        await rig.until(lambda: client.receiver.lost and served.receiver.lost)

    async def test_a_reconnect_from_inside_connection_lost_succeeds(self, rig: Rig) -> None:
        client, served = await rig.pair()
        again: list[asyncio.Task[tuple[object, object]]] = []
        client.receiver.when_lost = lambda: again.append(asyncio.ensure_future(rig.pair()))
        await client.transport.close()
        await rig.until(lambda: bool(again) and again[0].done())
        new_client, new_served = again[0].result()
        assert new_client is not client
        assert new_served is not served

    @unless(Quirk.ONE_CLIENT)
    async def test_clients_do_not_hear_each_other(self, rig: Rig) -> None:
        first, first_served = await rig.pair()
        second, second_served = await rig.pair()
        first.write(b"one\0")
        second.write(b"two\0")
        await rig.until(lambda: bool(first_served.receiver.data and second_served.receiver.data))
        assert (first_served.receiver.data, second_served.receiver.data) == (b"one\0", b"two\0")
        await first.transport.close()
        second_served.write(b"still here\0")
        await rig.until(lambda: second.receiver.data == b"still here\0")

    async def test_a_closing_listener_loses_every_client(self, rig: Rig) -> None:
        client, served = await rig.pair()
        if rig.listener is None:
            await served.transport.close()
        else:
            await rig.listener.close()
            await rig.listener.close()
        await rig.until(lambda: client.receiver.lost and served.receiver.lost)
        assert served.receiver.reason is None
        assert isinstance(client.receiver.reason, LinkClosedError)

    async def test_closing_in_the_middle_of_much_writing_is_clean(self, rig: Rig) -> None:
        client, served = await rig.pair()

        def answer(data: bytes) -> None:
            try:
                served.transport.write(data)
            except LinkClosedError:
                served.receiver.when_data = lambda _data: None

        served.receiver.when_data = answer
        for message in messages(9, 50 if Quirk.SHORT_QUEUE in rig.kind.quirks else 500):
            client.write(message)
        await rig.until(lambda: bool(served.receiver.data))
        await client.transport.close()
        await rig.until(lambda: served.receiver.lost)

    async def test_a_receiver_that_fails_ends_its_link_and_is_reported(self, rig: Rig) -> None:
        client, served = await rig.pair()
        reported: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))

        def fail(_data: bytes) -> None:
            raise ZeroDivisionError("a fault of ours")

        client.receiver.when_data = fail
        served.write(b"bait\0")
        await rig.until(lambda: client.receiver.lost)
        assert "a fault of ours" in str(client.receiver.reason)
        assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]
        asyncio.get_running_loop().set_exception_handler(None)

    @only_wrapped("plain", "stack")
    async def test_a_hundred_connections_leave_nothing_behind(self, rig: Rig) -> None:
        for _ in range(20 if Quirk.SLOW_TO_OPEN in rig.kind.quirks else 100):
            client, served = await rig.pair()
            await client.transport.close()
            await rig.until(lambda served=served: served.receiver.lost)  # type: ignore[misc]

    async def test_nothing_is_delivered_before_the_opener_could_take_the_transport(self, rig: Rig) -> None:
        receiver = RecordingReceiver()
        client = await rig.open(receiver)
        assert receiver.chunks == []
        client.write(b"now\0")
        await rig.until(lambda: bool(rig.served) and rig.served[-1].receiver.data == b"now\0")
