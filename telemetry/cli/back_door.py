"""The client of a simulator's back door: which simulator, and one request."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from telemetry.errors import LinkError, LinkOpenError, Refused, UsageError
from telemetry.sim.runtime import LiveSimulator, live_simulators

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN_VARIABLE = "TELEMETRY_CONTROL_TOKEN"  # noqa: S105 - the name of a variable, no secret
_TIMEOUT_S = 60
"""Host time for one answer; seven years of pump life take well under a second."""


def choose(url: str) -> LiveSimulator:
    """The simulator that ``url`` names (its control URL or one of its device URLs), or the only live one.

    Raises ``UsageError`` listing those that are alive when none or several fit.
    """
    alive = live_simulators()
    if not url:
        if len(alive) == 1:
            return _with_door(alive[0])
        if not alive:
            raise UsageError("no simulator is running for this user; start one with 'telemetry sim'")
        raise UsageError(
            f"{len(alive)} simulators are running; say which: telemetry control URL … with one of: {_listed(alive)}"
        )
    wanted = url.rstrip("/")
    for simulator in alive:
        if wanted == simulator.control_url or url in simulator.urls:
            return _with_door(simulator)
    token = os.environ.get(TOKEN_VARIABLE, "")
    if wanted.startswith("http://") and token:
        return LiveSimulator(0, (), wanted, token, "", "")
    running = f"running are: {_listed(alive)}" if alive else "none is running; 'telemetry sim' starts one"
    hint = f" (for the back door of another user's simulator set {TOKEN_VARIABLE})" if wanted.startswith("http") else ""
    raise UsageError(f"{url}: no running simulator of this user is there; {running}{hint}")


def _listed(alive: tuple[LiveSimulator, ...]) -> str:
    return "; ".join(f"{one.control_url or one.urls[0]} ({', '.join(one.urls)}, pid {one.pid})" for one in alive)


def _with_door(simulator: LiveSimulator) -> LiveSimulator:
    if not simulator.control_url:
        raise UsageError(
            f"the simulator with pid {simulator.pid} was started with --control none; start it without that option"
        )
    return simulator


def ask(
    simulator: LiveSimulator, method: str, path: str, body: Mapping[str, object] | None = None
) -> dict[str, object]:
    """One request; returns its answer.

    Raises ``LinkError`` when there is no answer, ``Refused`` when the simulator says no.
    """
    import ssl  # noqa: PLC0415 - only when there is somebody to ask

    import httpx  # noqa: PLC0415 - as above

    # Plain HTTP on loopback: to load the system's certificates would take most of the time of a request.
    no_certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    headers = {"Authorization": f"Bearer {simulator.token}"}
    try:
        # A proxy of the environment has no business between two processes of one machine.
        with httpx.Client(
            base_url=simulator.control_url, headers=headers, timeout=_TIMEOUT_S, trust_env=False, verify=no_certificates
        ) as client:
            answer = client.request(method, path, json=body)
            content = answer.json()
    except httpx.ConnectError as error:
        raise LinkOpenError(f"{simulator.control_url}: nobody answers there ({error})") from error
    except (httpx.HTTPError, httpx.InvalidURL, json.JSONDecodeError) as error:
        raise LinkError(f"{simulator.control_url}: no answer to {method} {path} ({error!r})") from error
    if not isinstance(content, dict):
        raise LinkError(f"{simulator.control_url}: {method} {path} was answered by something that is no simulator")
    if answer.is_error:
        limit = content.get("limit")
        raise Refused(
            "control_refused",
            f"the simulator refused: {content.get('error', answer.status_code)}",
            field=str(content.get("field") or ""),
            limit=limit if isinstance(limit, int) else None,
        )
    return content
