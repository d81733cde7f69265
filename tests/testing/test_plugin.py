"""The plug-in as a stranger meets it: in a project of its own, in a pytest of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., pytest.RunResult]

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

GUIDE = Path(__file__).resolve().parent.parent.parent / "docs" / "testing.md"
QUIET = ("-p", "no:cacheprovider", "-p", "no:cov")


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    def run(body: str, *arguments: str, mode: str = "auto") -> pytest.RunResult:
        lines = ["[pytest]", "asyncio_default_fixture_loop_scope = function", f"asyncio_mode = {mode}"]
        pytester.makeini("\n".join([*lines, "filterwarnings = error"] if mode else lines[:1]))
        pytester.makepyfile(test_inner=f"import pytest\nfrom telemetry import FlowRate, OutcomeUnknown\n{body}")
        return pytester.runpytest_subprocess(*QUIET, "--strict-markers", *arguments)

    return run


SUITE = """
RATE = FlowRate.parse("0.150 ml/day")

{mark}
async def test_coroutine(programmer, pump_clock, virtual_pump):
    assert (await programmer.set_rate(RATE)).before.rate_nl_per_day == 170_000
    pump_clock.advance(days=255)
    assert [alarm.kind for alarm in await programmer.read_alarms()] == ["low_reservoir"]
    assert virtual_pump.ledger.balance_nl == 0

def test_plain(programmer, pump_clock):
    programmer.set_rate(RATE)
    pump_clock.advance(days=255)
    assert [alarm.kind for alarm in programmer.read_alarms()] == ["low_reservoir"]

{mark}
@pytest.mark.parametrize("turn", range(6))
async def test_each_has_its_own(turn, programmer, virtual_pump):
    assert (await programmer.read_status()).program_sequence == 1
    await programmer.set_rate(RATE)
    assert len(virtual_pump.device.log(0, 10).records) < 10

{mark}
@pytest.mark.pump(seed=3)
async def test_bad_luck(programmer, link_faults):
    link_faults.add("drop:1@tx/Commit*2")
    await programmer.set_rate(RATE)
    assert (link_faults.hits, link_faults.seed) == (2, 3)

@pytest.mark.asyncio(loop_scope="module")
class TestLoopOfTheModule:
    async def test_first(self, programmer):
        await programmer.read_status()

    async def test_second(self, programmer):
        await programmer.read_status()
"""
TESTS_IN_SUITE = 11


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_a_suite_passes(run: Run, mode: str, workers: tuple[str, ...]) -> None:
    mark = "@pytest.mark.asyncio" if mode == "strict" else ""
    result = run(SUITE.format(mark=mark), *workers, mode=mode)
    result.assert_outcomes(passed=TESTS_IN_SUITE)
    if workers:
        result.stdout.fnmatch_lines(["*2 workers*"])


def test_tests_may_run_on_the_loop_of_the_session(run: Run) -> None:
    result = run(SUITE.format(mark=""), "-o", "asyncio_default_test_loop_scope=session")
    result.assert_outcomes(passed=TESTS_IN_SUITE)


FAILING = """
@pytest.mark.pump(profile="itb-20", seed=9, fill="3 ml")
async def test_fails(programmer, link_faults):
    link_faults.add("drop:1@rx/VerdictReport")
    await programmer.set_rate(FlowRate.parse("0.150 ml/day"))

@pytest.fixture
def broken(virtual_pump):
    virtual_pump.advance(days=2)
    raise ValueError("in a fixture")

def test_fails_in_setup(broken):
    pass

def test_passes(programmer):
    programmer.read_status()

def test_without_pump_fails():
    assert False

@pytest.mark.xfail(strict=True)
def test_fails_as_expected(virtual_pump):
    assert False
"""
REPORT = [
    "*OutcomeUnknown*",
    "*- telemetry: last frames (link ms; -> to the pump, <- from it) -*",
    "(* earlier ones: virtual_pump.frames)",
    " *0 link 1 -> Query  op_id=*",
    " *0 link 1 <- VerdictReport  op_id=* verdict=applied *",
    " *0 fault  <- VerdictReport  FAULT drop:1@rx/VerdictReport (hit *)  op_id=*",
    "*- telemetry: the pump, to see this again -*",
    "@pytest.mark.pump(profile='itb-20', seed=9, fill='3 ml')",
    "now     day 0 00:00:*",
    "status  mode=simple_continuous rate_nl_per_day=150000 *",
    "truth   now_ms=* reservoir_nl=* tip_dose_ng_per_day=*",
    "ledger  filled_nl=3335800 *",
    "faults  seed 9, * hits; in force: drop:1@rx/VerdictReport (seen *, hits *)",
]


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_failure_shows_the_last_frames_and_the_pump(run: Run, workers: tuple[str, ...]) -> None:
    result = run(FAILING, *workers)
    result.assert_outcomes(passed=1, failed=2, errors=1, xfailed=1)
    reports = re.split(r"^_+ (?:ERROR at setup of )?(test_\w+) _+$", result.stdout.str(), flags=re.MULTILINE)
    shown = dict(zip(reports[1::2], reports[2::2], strict=True))
    assert shown.keys() == {"test_fails", "test_fails_in_setup", "test_without_pump_fails"}
    pytest.LineMatcher(shown["test_fails"].splitlines()).fnmatch_lines(REPORT)
    assert "now     day 2 00:00:00.000" in shown["test_fails_in_setup"]
    assert "none: no programmer was connected" in shown["test_fails_in_setup"]
    assert "telemetry:" not in shown["test_without_pump_fails"]


def test_a_failure_is_the_same_the_second_time(run: Run) -> None:
    def sections() -> list[str]:
        lines = run(FAILING, "-k", "test_fails and not setup and not expected").stdout.lines
        frames = next(place for place, line in enumerate(lines) if "telemetry: last frames" in line)
        # What the pump draws and what the programmer draws come from the seed; only HELLO holds the date.
        return [
            line for line in lines[frames:] if re.search(r"(->|<-|now |truth |faults )", line) and "Hello" not in line
        ]

    first, second = sections(), sections()
    assert len(first) > 10
    assert [line for line in first if "Accept" not in line] == [line for line in second if "Accept" not in line]


@pytest.mark.parametrize(
    ("mark", "complaint"),
    [
        ("profil='itb-20'", "pump(profil=...): no pump has that; did you mean profile*settings: profile, seed,*"),
        ("'itb-20'", "pump('itb-20'): everything is said by name, such as pump(profile=*"),
        ("profile='itb-99'", "*itb-99*"),
        ("seed=-1", "seed: -1 is no whole number from 0 on"),
        ("fill='300 ml'", "fill: *300*outside 0 to the reservoir's 40.000 ml"),
        ("fill='a lot'", "*a lot*"),
        ("clock=None", "pump(clock=...): no pump has that;*"),
        ("low_reservoir_alarm_nl='2 ml'", "*low_reservoir_alarm_nl*2 ml*"),
    ],
)
def test_a_wrong_mark_is_said_in_one_line(run: Run, mark: str, complaint: str) -> None:
    result = run(f"@pytest.mark.pump({mark})\ndef test_it(virtual_pump): pass\n")
    result.assert_outcomes(errors=1)
    report = result.stdout.str().partition("ERROR at setup of test_it")[2].partition("short test summary")[0]
    lines = [line for line in report.splitlines()[1:] if line and not line.startswith("=")]
    assert len(lines) == 1, report
    pytest.LineMatcher(lines).fnmatch_lines([f"test_inner.py::test_it: @pytest.mark.pump: {complaint}"])


LINES = {
    "no pytest-asyncio": (
        "async def test_it(programmer): pass\n",
        ("-p", "no:asyncio"),
        "*::test_it: programmer: a coroutine test needs pytest-asyncio*pip install 'itb-telemetry*'*blocking one",
    ),
    "a blocking programmer in a coroutine": (
        "async def test_it(blocking_programmer): pass\n",
        (),
        "*::test_it: blocking_programmer: the test is a coroutine*ask for `programmer`",
    ),
    "a test of anyio": (
        "@pytest.mark.anyio\nasync def test_it(programmer): pass\n",
        ("-p", "no:asyncio"),
        "*: programmer: *async with telemetry.connect(pump=virtual_pump, faults=link_faults)*",
    ),
    "another pump": (
        "@pytest.fixture\ndef virtual_pump(): return object()\ndef test_it(programmer): pass\n",
        (),
        "*::test_it: virtual_pump: a fixture of yours gives another pump*",
    ),
}


@pytest.mark.parametrize("case", LINES)
def test_what_cannot_work_is_said_in_one_line(run: Run, case: str) -> None:
    body, arguments, line = LINES[case]
    result = run(body, *arguments, mode="" if "no:asyncio" in arguments else "auto")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([line])
    assert "Traceback" not in result.stdout.str()


def test_plain_tests_need_no_pytest_asyncio(run: Run) -> None:
    body = (
        "def test_it(programmer, pump_clock):\n    assert programmer.read_status().now_ms == pump_clock.therapy_ms()\n"
    )
    run(body, "-p", "no:asyncio", mode="").assert_outcomes(passed=1)


def test_the_plug_in_can_be_switched_off(run: Run) -> None:
    result = run("def test_it(virtual_pump): pass\n", "-p", "no:telemetry")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'virtual_pump' not found*"])


# What nobody should pay for who has the package installed and tests something else.
HEAVY = {"aiomqtt", "bleak", "bumble", "click", "cobs", "construct", "cryptography", "httpx", "msgspec", "rich"}
HEAVY |= {"serial", "starlette", "uvicorn"}
OURS = {"telemetry", "telemetry.testing", "telemetry.testing.coroutines", "telemetry.testing.plugin"}


def test_a_run_without_a_pump_loads_nothing_heavy(pytester: pytest.Pytester) -> None:
    body = f"""
        import sys

        def test_it():
            assert {HEAVY!r} & set(sys.modules) == set()
            assert {{name for name in sys.modules if name.partition(".")[0] == "telemetry"}} == {OURS!r}
    """
    pytester.makepyfile(body)
    # Without the coverage hook and anyio's plug-in, which would load modules of their own.
    pytester.runpytest_subprocess(*QUIET, "-p", "no:anyio").assert_outcomes(passed=1)


def test_pumps_do_not_outlive_their_tests(run: Run) -> None:
    result = run("""
import gc, weakref
kept = []

def test_first(programmer, virtual_pump):
    programmer.read_status()
    kept.append(weakref.ref(virtual_pump))

def test_second():
    gc.collect()
    assert kept[0]() is None
""")
    result.assert_outcomes(passed=2)


def test_the_marker_is_explained(run: Run) -> None:
    result = run("", "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.pump(profile='itb-40', seed=0, *"])


def test_the_guide_does_what_it_says(pytester: pytest.Pytester) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error"
    )
    for number, block in enumerate(blocks):
        pytester.path.joinpath(f"test_guide_{number}.py").write_text(block, encoding="utf-8")
    assert len(blocks[0].strip().splitlines()) == 10 - 1  # "ten lines", with the one that runs it
    pytester.runpytest_subprocess(*QUIET).assert_outcomes(passed=5)
