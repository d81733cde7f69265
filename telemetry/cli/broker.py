"""``telemetry broker``: a small MQTT broker for the bench, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import signal

import click

from telemetry.cli.output import note
from telemetry.errors import UsageError

_EPILOG = """\b
Examples:
  telemetry broker                                           mqtt://127.0.0.1:1883
  telemetry broker --listen mqtt://127.0.0.1:0               any free port; it is printed
  telemetry broker --listen "mqtt://0.0.0.0?public=yes"      other machines too: anybody may come in

\b
Then, in other terminals:
  telemetry sim --listen mqtt://127.0.0.1:1883/bench/telemeter-0001
  telemetry read mqtt://127.0.0.1:1883/bench/telemeter-0001
"""


@click.command(epilog=_EPILOG)
@click.option("--listen", default="mqtt://127.0.0.1:1883", show_default=True, metavar="URL", help="Where to listen.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with the URL.")
def command(listen: str, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Run an MQTT 3.1.1 broker in this process until Ctrl-C.

    A bench tool, not for production: it knows no users and no TLS, and keeps nothing. Listens on this machine only,
    unless told otherwise with public=yes.
    """
    from telemetry.transport.mqtt_access import BrokerAccess  # noqa: PLC0415 - --help must not wait for it
    from telemetry.transport.url import parse_url  # noqa: PLC0415 - as above

    url = parse_url(listen)
    if url.scheme != "mqtt":
        raise UsageError(f"--listen {listen}: this broker is reached by mqtt://, as in mqtt://127.0.0.1:1883")
    url.allow("public")
    access = BrokerAccess.from_url(url, {}, also=("public",), lowest_port=0)
    if access.path:
        raise UsageError(f"--listen {listen}: a broker has no topic of its own; leave /{access.path} out")
    asyncio.run(_serve(access.host, access.port, public=url.switch("public", default=False), as_json=as_json))


async def _serve(host: str, port: int, *, public: bool, as_json: bool) -> None:
    from telemetry.transport.mqtt_embedded import EmbeddedBroker  # noqa: PLC0415 - as above

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        async with EmbeddedBroker(host, port, public=public) as broker:
            if as_json:
                click.echo(json.dumps({"url": broker.url, "protocol": "MQTT 3.1.1", "bench_tool": True}))
            else:
                click.echo(f"{broker.url}  an MQTT 3.1.1 broker for the bench: no users, no TLS, nothing kept")
            note("Ctrl-C ends it")
            await stop.wait()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
