"""The command ``titration-assistant``."""

from __future__ import annotations

import argparse
import asyncio
import sys

import telemetry
from telemetry import DailyDose, TelemetryError
from titration_assistant.plan import TitrationPlan
from titration_assistant.visit import NotToday, Uncertain, titrate


def main(arguments: list[str] | None = None) -> int:
    """Raise the dose by one step; exit status 0 done, 1 not today, 2 used wrongly, 3 not reached, 4 uncertain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="where the telemeter is, such as sim: or tcp://127.0.0.1:7410")
    parser.add_argument("--step", type=int, default=10, metavar="PERCENT", help="of the present dose (10)")
    parser.add_argument("--ceiling", type=int, required=True, metavar="UG", help="highest dose, in µg/day")
    options = parser.parse_args(arguments)
    try:
        plan = TitrationPlan(options.step, DailyDose.parse(f"{options.ceiling} ug/day"))
        return asyncio.run(_visit(options.url, plan))
    except Uncertain as uncertain:
        return _say(uncertain, 4)
    except NotToday as not_today:
        return _say(not_today, 1)
    except ValueError as error:  # telemetry.UsageError is one
        return _say(error, 2)
    except TelemetryError as error:
        return _say(error, 3)


async def _visit(url: str, plan: TitrationPlan) -> int:
    async with telemetry.connect(url) as programmer:
        sys.stdout.write(f"SIMULATED {await titrate(programmer, plan)}\n")
    return 0


def _say(error: Exception, status: int) -> int:
    sys.stderr.write(f"{error}\n")
    return status
