"""The whole run on the host: packages, kernel, machine, verdict; what ``make test-bluez`` tests.

python -m tools.bluez.run             step by step on the terminal, log in build/bluez/
python -m tools.bluez.run --store     the same, and its times into benchmarks/results/bluez.json
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import harness
from tools.bluez.image import ensure_image
from tools.bluez.machine import REPORT_PORT, Run, boot, tail
from tools.bluez.steps import DONE, STEPS, WHAT
from tools.debian import BLUEZ, Failed, NotHere, ensure_packages

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "bluez"
LIMIT_S = 240
"""The whole machine, boot to power-off: twice what a loaded machine of two cores needs."""
TARGET_S = 120
_JOB = """\
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
stty -F {port} raw -echo
mkdir -p /run/dbus /var/lib/bluetooth
mount -t tmpfs bonds /var/lib/bluetooth
dbus-daemon --system --fork || exit 1
cd {root} && {python} -m tools.bluez.guest {port}
"""


def play(folder: Path = FOLDER, *, limit_s: float = LIMIT_S, verbose: bool = False) -> Run:
    """Boot, run the scenario, keep ``console.log``, ``report.jsonl`` and ``result.json`` in ``folder``.

    Raises ``NotHere`` when this machine lacks something, ``Failed`` with the step and the end of the console when
    the run is not good.
    """
    for name in ("console.log", "report.jsonl", "result.json"):
        (folder / name).unlink(missing_ok=True)  # what is found there afterwards is of this run
    versions = ensure_packages(BLUEZ)
    image = ensure_image()
    job = _JOB.format(port=REPORT_PORT, root=shlex.quote(str(ROOT)), python=shlex.quote(sys.executable))
    run = boot(image, job, folder, limit_s=limit_s, on_report=_show if verbose else lambda _: None)
    result = {
        "wall_s": round(run.wall_s, 1),
        "packages": {**versions, image.package: image.version},
        "reports": run.reports,
    }
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    problem = verdict(run.reports)
    if problem:
        raise Failed(f"{problem}\n{tail(run.console)}")
    return run


def last_reports(folder: Path = FOLDER) -> list[dict[str, object]]:
    """What the last run reported, also when it failed; empty when there is none."""
    channel = folder / "report.jsonl"
    if not channel.exists():
        return []
    whole = (line for line in channel.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n"))
    return [json.loads(line) for line in whole]


def verdict(reports: Sequence[dict[str, object]]) -> str:
    """What is wrong with a run, empty when every step is there in order, good, and the end was reached."""
    for report in reports:
        if report.get("ok") is not True:
            return f"step {report.get('step')!r} failed: {report.get('error', 'no reason given')}"
    seen = [report.get("step") for report in reports]
    expected = [*STEPS, DONE]
    if seen != expected:
        missing = [name for name in expected if name not in seen]
        after = seen[-1] if seen else "nothing, not even its start"
        return (
            f"the run broke off: it reported {after!r} last; missing: {', '.join(missing) or 'none, but in disorder'}"
        )
    if reports[-1].get("tasks_left") != 0:
        return f"tasks were left running: {reports[-1].get('tasks')}"
    return ""


def store(run: Run, result: dict[str, object]) -> Path:
    """Keep the times of a run beside the other measurements; returns the file."""
    found = harness.Result("bluez")
    found.figures["wall_s"] = round(run.wall_s, 1)
    found.figures["packages"] = result["packages"]
    found.figures["steps"] = {
        str(report["step"]): {key: value for key, value in report.items() if key not in {"step", "ok"}}
        for report in run.reports
        if report["step"] in STEPS
    }
    found.speed("boot to power-off of the whole run", run.wall_s, TARGET_S, "s")
    found.fact("tasks left behind", int(str(run.reports[-1]["tasks_left"])))
    plan = harness.Plan(rounds=1)
    return harness.store(found, command="python -m tools.bluez.run --store", plan=plan, date=None)


def _show(report: dict[str, object]) -> None:
    word = "ok    " if report.get("ok") else "FAILED"
    step = str(report.get("step"))
    facts = {key: value for key, value in report.items() if key not in {"step", "ok", "at_s"}}
    print(f"{report.get('at_s', 0):>7} s  {word} {step:13} {WHAT.get(step, '')} {facts}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it for a person; status 1 for a failure, 2 when this machine cannot."""
    parser = argparse.ArgumentParser(description="BlueZ, a kernel and our central in an emulated machine")
    parser.add_argument("--store", action="store_true", help="keep the times in benchmarks/results/bluez.json")
    chosen = parser.parse_args(arguments)
    try:
        run = play(verbose=True)
    except NotHere as error:
        print(f"cannot run here: {error}", file=sys.stderr)
        return 2
    except Failed as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    print(f"good: {len(STEPS)} steps in {run.wall_s:.1f} s; log: {run.console}")
    if chosen.store:
        print(f"stored: {store(run, json.loads((FOLDER / 'result.json').read_text(encoding='utf-8')))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
