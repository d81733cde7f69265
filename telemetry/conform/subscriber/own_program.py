"""The reference dashboard as a program: ``python -m telemetry.conform.subscriber.own_program``, for ``--operator``.

It listens to the broker and the place that the kit names, and answers acts as ``piping.py`` has them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from telemetry.clock import host_utc_ms
from telemetry.conform.own_program import operate
from telemetry.conform.subscriber.bus import BrokerFeed
from telemetry.conform.subscriber.dashboard import Dashboard
from telemetry.conform.subscriber.kit import SERIAL
from telemetry.publish.topics import parse_destination
from telemetry.transport.mqtt_access import BrokerAccess
from telemetry.transport.url import parse_url

if TYPE_CHECKING:
    from telemetry.conform.operator import Operator


def own_dashboard(link: str) -> Operator:
    """The reference dashboard of the place that ``link`` names (``mqtt://host/SITE[/PLACE]``)."""
    place = parse_destination(link)
    access = BrokerAccess.from_url(parse_url(place.broker))
    return Dashboard(BrokerFeed(access), place.topics(SERIAL).root, host_utc_ms)


if __name__ == "__main__":
    asyncio.run(operate(own_dashboard))
