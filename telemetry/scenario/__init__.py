"""Scenarios: files that tell what is done to a pump, through the wire and at the bench, and what must come of it."""

from telemetry.scenario.format import Scenario, load, loads
from telemetry.scenario.junit import junit_xml
from telemetry.scenario.library import find_all, stock_files
from telemetry.scenario.problems import Problem, ScenarioError
from telemetry.scenario.results import Failure, Result, Verdict, text_of
from telemetry.scenario.runner import play
from telemetry.scenario.running import run_file, run_files

__all__ = [
    "Failure",
    "Problem",
    "Result",
    "Scenario",
    "ScenarioError",
    "Verdict",
    "find_all",
    "junit_xml",
    "load",
    "loads",
    "play",
    "run_file",
    "run_files",
    "stock_files",
    "text_of",
]
