"""The back door: who is let in, what is refused, and how."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import LinkOpenError, UsageError
from telemetry.sim.control import (
    LARGEST_BODY_BYTES,
    LONGEST_ADVANCE_MS,
    ControlServer,
    application,
    loopback_address,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

TOKEN = "the-token"  # noqa: S105 - of this test only
HOST = "127.0.0.1:9"


class Bench:
    """Notes what it was told."""

    def __init__(self) -> None:
        self.jumped: list[int] = []
        self.bars: list[int] = []
        self.acts: list[tuple[str, dict[str, object]]] = []
        self.full = False

    def inspect(self) -> dict[str, object]:
        return {"now_ms": 1}

    def advance(self, ms: int) -> dict[str, object]:
        if self.full:
            raise UsageError("advance: the disk is full")
        self.jumped.append(ms)
        return {"events": []}

    def contact(self, coupling_bars: int) -> dict[str, object]:
        self.bars.append(coupling_bars)
        return {"coupling_bars": coupling_bars}

    def snapshot(self) -> dict[str, object]:
        return {"snapshot": {}}

    def faults(self) -> dict[str, object]:
        return {"catalogue": [], "armed": []}

    def tamper(self, act: str, body: Mapping[str, object]) -> dict[str, object]:
        self.acts.append((act, dict(body)))
        return {"events": []}


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
async def client(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    app = application(bench, TOKEN, frozenset({HOST}))
    transport = httpx.ASGITransport(app=app)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}", headers=headers) as made:
        yield made


async def test_every_answer_says_simulated(client: httpx.AsyncClient) -> None:
    for method, path, body in (
        ("GET", "/v1/inspect", None),
        ("GET", "/v1/snapshot", None),
        ("POST", "/v1/advance", {"days": 1}),
        ("POST", "/v1/contact", {"coupling_bars": 3}),
        ("GET", "/v1/faults", None),
        ("POST", "/v1/fault", {"name": "motor_stall"}),
        ("POST", "/v1/fault/clear", {}),
        ("POST", "/v1/mri", {"field": "1.5 T"}),
    ):
        answer = await client.request(method, path, json=body)
        assert answer.status_code == 200
        assert answer.json()["simulated"] is True


async def test_advance_adds_its_parts_exactly(client: httpx.AsyncClient, bench: Bench) -> None:
    parts = {"days": 190, "hours": 1, "minutes": 2, "seconds": 3, "ms": 4}
    assert (await client.post("/v1/advance", json=parts)).status_code == 200
    assert bench.jumped == [((190 * 24 + 1) * 60 + 2) * 60_000 + 3_004]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/advance", {}, "ms"),
        ("/v1/advance", {"days": -1}, "days"),
        ("/v1/advance", {"days": 1.5}, "days"),
        ("/v1/advance", {"days": True}, "days"),
        ("/v1/advance", {"days": "1"}, "days"),
        ("/v1/advance", {"years": 1}, "years"),
        ("/v1/advance", {"days": LONGEST_ADVANCE_MS}, "ms"),
        ("/v1/advance", [1], ""),
        ("/v1/contact", {}, "coupling_bars"),
        ("/v1/contact", {"coupling_bars": 6}, "coupling_bars"),
        ("/v1/contact", {"coupling_bars": None}, "coupling_bars"),
        ("/v1/fault", {"fault": "motor_stall"}, "fault"),
        ("/v1/needle", {"volume_ml": 3}, "volume_ml"),
        ("/v1/memory-reset", {"now": True}, "now"),
    ],
)
async def test_a_wrong_request_is_refused_with_field_and_limit(
    client: httpx.AsyncClient, bench: Bench, path: str, body: object, field: str
) -> None:
    answer = await client.post(path, json=body)
    assert answer.status_code == 400
    found = answer.json()
    assert set(found) == {"error", "field", "limit"}
    assert found["error"]
    assert found["field"] == field
    assert bench.jumped == bench.bars == []
    assert bench.acts == []


async def test_what_is_no_json_or_too_long_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/advance", content=b"{")).status_code == 400
    assert (await client.post("/v1/advance", content=b"\xff")).status_code == 400
    assert (await client.post("/v1/advance", content=b" " * (LARGEST_BODY_BYTES + 1))).status_code == 413


async def test_a_refusal_of_the_bench_is_an_answer(client: httpx.AsyncClient, bench: Bench) -> None:
    bench.full = True
    answer = await client.post("/v1/advance", json={"days": 1})
    assert answer.status_code == 400
    assert "disk is full" in answer.json()["error"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v2/x", 404), ("GET", "/v1/advance", 405)])
async def test_other_places_and_methods_are_json_too(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": HOST}, 401),
        ({"Host": HOST, "Authorization": "Bearer wrong"}, 403),
        ({"Host": HOST, "Authorization": TOKEN}, 403),
        ({"Host": "evil.example", "Authorization": f"Bearer {TOKEN}"}, 403),
        ({"Host": "127.0.0.1:10", "Authorization": f"Bearer {TOKEN}"}, 403),
    ],
)
async def test_nobody_else_is_let_in(bench: Bench, headers: dict[str, str], status: int) -> None:
    transport = httpx.ASGITransport(app=application(bench, TOKEN, frozenset({HOST})))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as stranger:
        answer = await stranger.post("/v1/advance", json={"days": 1}, headers=headers)
    assert answer.status_code == status
    assert TOKEN not in answer.text
    assert bench.jumped == []


async def test_other_kinds_of_connection_get_nothing(bench: Bench) -> None:
    app = application(bench, TOKEN, frozenset({HOST}))

    async def never() -> dict[str, object]:
        raise AssertionError("nothing is read")

    async def nothing(_message: object) -> None:
        raise AssertionError("nothing is sent")

    await app({"type": "websocket", "headers": []}, never, nothing)


@pytest.mark.parametrize("url", ["http://0.0.0.0:0", "http://192.168.1.2:80", "http://example.org:80", "http://[::]:0"])
def test_only_loopback_is_listened_on(url: str) -> None:
    with pytest.raises(UsageError, match="loopback only"):
        loopback_address(url)


@pytest.mark.parametrize(
    "url", ["", "tcp://127.0.0.1:1", "http://127.0.0.1", "http://127.0.0.1:x", "http://[::1]:1?a=b"]
)
def test_a_wrong_control_url_is_named(url: str) -> None:
    with pytest.raises(UsageError):
        loopback_address(url)


def test_loopback_has_several_names() -> None:
    assert loopback_address("http://127.0.0.1:7") == ("127.0.0.1", 7)
    assert loopback_address("http://localhost:0") == ("127.0.0.1", 0)
    assert loopback_address("http://[::1]:7") == ("::1", 7)


@given(st.binary(max_size=200))
def test_any_body_is_answered(body: bytes) -> None:
    import asyncio

    async def ask() -> int:
        transport = httpx.ASGITransport(app=application(Bench(), TOKEN, frozenset({HOST})))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            answer = await client.post("/v1/contact", content=body, headers=headers)
            json.loads(answer.text)
            return answer.status_code

    assert asyncio.run(ask()) in {200, 400}


@pytest.mark.real
async def test_on_a_real_socket_and_free_again() -> None:
    server = ControlServer(Bench(), "http://127.0.0.1:0")
    await server.start()
    async with httpx.AsyncClient(trust_env=False) as client:
        headers = {"Authorization": f"Bearer {server.token}"}
        answer = await client.get(f"{server.url}/v1/inspect", headers=headers)
        assert answer.json() == {"simulated": True, "now_ms": 1}
        with pytest.raises(LinkOpenError, match="cannot be had"):
            ControlServer(Bench(), server.url)
    await server.close()
    await server.close()
    again = ControlServer(Bench(), server.url)
    await again.close()
