"""What ``import telemetry`` and the command line's help cost a cold process, and what they load.

Each sample is a fresh interpreter; the bare interpreter is measured in the same rounds, for scale. A module counts
as heavy when it is a vendor's, or asyncio itself: none of them may come with ``import telemetry`` (issue 2).
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks import harness

TARGET_MS = 60.0
HEAVY = (
    "aiomqtt",
    "asyncio",
    "bleak",
    "bumble",
    "cobs",
    "construct",
    "corncobs",
    "cryptography",
    "gevent",
    "httpx",
    "msgspec",
    "serial",
    "starlette",
    "uvicorn",
)
RUNS = 15
_COMMANDS = {
    "bare interpreter": ("-c", "pass"),
    "import telemetry": ("-c", "import telemetry"),
    "telemetry --help": ("-m", "telemetry", "--help"),
    "telemetry read --help": ("-m", "telemetry", "read", "--help"),
}
_LIST_HEAVY = (
    "import sys, telemetry; print(*sorted({name.partition('.')[0] for name in sys.modules} & set(sys.argv[1:])))"
)


def heavy_modules() -> list[str]:
    """Those of ``HEAVY`` that ``import telemetry`` loads, in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", _LIST_HEAVY, *HEAVY], capture_output=True, text=True, check=True)
    return done.stdout.split()


def cold_ns(arguments: tuple[str, ...]) -> int:
    """Wall time of one fresh interpreter from start to end; raises ``CalledProcessError`` when it fails."""
    begun = time.perf_counter_ns()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    return time.perf_counter_ns() - begun


def run(plan: harness.Plan) -> harness.Result:
    """Measure; figures in milliseconds of wall time, process start included."""
    result = harness.Result("import_time")
    samples: dict[str, list[tuple[int, ...]]] = {name: [] for name in _COMMANDS}
    for arguments in _COMMANDS.values():
        cold_ns(arguments)  # what is compiled on first sight is compiled now
    for turn in range(plan.rounds):
        for name in harness.in_turns(list(_COMMANDS), turn):
            samples[name].append(tuple(cold_ns(_COMMANDS[name]) for _ in range(plan.count(RUNS, 2))))
    timings = {name: harness.Timing(tuple(rounds)) for name, rounds in samples.items()}
    bare_ms = timings["bare interpreter"].median_us / 1_000
    found = heavy_modules()
    result.figures = {
        **{name: timing.as_figures() for name, timing in timings.items()},
        "heavy_modules": found,
        "import_telemetry_itself_ms": round(timings["import telemetry"].median_us / 1_000 - bare_ms, 2),
    }
    result.speed("import telemetry, whole process", timings["import telemetry"].median_us / 1_000, TARGET_MS, "ms")
    result.fact("heavy modules loaded by import telemetry", len(found))
    return result
