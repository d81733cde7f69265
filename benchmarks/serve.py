"""A server in a process of its own, for the measurements that need one; says where it is and stays until terminated.

python -m benchmarks.serve pump                     our telemeter and pump on a pseudo-terminal
python -m benchmarks.serve sinstruments ANSWER      a sinstruments TCP device that answers ANSWER bytes to a line
"""

from __future__ import annotations

import argparse
import asyncio


async def _serve_pump() -> None:
    from benchmarks.ours import make_station  # noqa: PLC0415 - the other server must not pay for it
    from telemetry.transport.registry import listen  # noqa: PLC0415 - as above

    station, clock = make_station()
    listener = await listen("pty:", station.accept, clock=clock)
    print(listener.url, flush=True)
    try:
        await station.run(clock)
    finally:
        await listener.close()
        await station.close()


def _serve_sinstruments(answer_bytes: int) -> None:
    import gevent  # type: ignore[import-untyped]  # noqa: PLC0415 - a peer's event loop has no place in the other server
    from sinstruments.simulator import BaseDevice, TCPServer  # noqa: PLC0415 - as above

    answer = b"x" * (answer_bytes - 1) + b"\n"

    class Device(BaseDevice):  # type: ignore[misc]
        """Answers every line with the same bytes."""

        def handle_message(self, _message: bytes) -> bytes:
            """One request, one answer."""
            return answer

    device = Device("status")
    server = TCPServer(device.name, device.get_protocol, url=("127.0.0.1", 0))
    device.transports = [server]
    server.start()
    print(server.address[1], flush=True)
    gevent.get_hub().join()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="serve until terminated")
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("pump")
    kinds.add_parser("sinstruments").add_argument("answer_bytes", type=int)
    arguments = parser.parse_args()
    if arguments.kind == "pump":
        asyncio.run(_serve_pump())
    else:
        _serve_sinstruments(arguments.answer_bytes)


if __name__ == "__main__":
    main()
