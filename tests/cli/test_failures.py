"""Every exception has its status, its kind and one line; whatever is open is said to be open."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from telemetry.cli import connecting, failures
from telemetry.cli.failures import Exit, classify
from telemetry.errors import (
    BadFrame,
    LinkClosedError,
    LinkTimeout,
    NotAccepted,
    OutcomeUnknown,
    Refused,
    SecurityError,
    UnknownScheme,
    UsageError,
    WrongDialect,
)
from telemetry.model import OperationKind, TherapyState, Verdict
from telemetry.programmer import Outcome, Programmer, Proposal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.cli.conftest import Done

    Confirm = Callable[[Proposal], Awaitable[bool]]

pytestmark = pytest.mark.real


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (Refused("rate_below_minimum"), Exit.REFUSED, "refused"),
        (OutcomeUnknown("00" * 16), Exit.UNKNOWN, "outcome_unknown"),
        (failures.InterruptedChangeError("x"), Exit.UNKNOWN, "outcome_unknown"),
        (failures.DefectInChangeError("x"), Exit.UNKNOWN, "outcome_unknown"),
        (UsageError("x"), Exit.USAGE, "usage"),
        (UnknownScheme("x"), Exit.USAGE, "usage"),
        (click.UsageError("x"), Exit.USAGE, "usage"),
        (SecurityError("x"), Exit.USAGE, "security"),
        (caused(SecurityError("x"), LinkClosedError("y")), Exit.LINK, "security"),
        (LinkClosedError("x"), Exit.LINK, "link"),
        (LinkTimeout("x"), Exit.LINK, "link"),
        (BadFrame("x"), Exit.LINK, "peer"),
        (NotAccepted("x"), Exit.LINK, "peer"),
        (WrongDialect("x"), Exit.LINK, "peer"),
        (KeyboardInterrupt(), Exit.INTERRUPTED, "interrupted"),
        (click.Abort(), Exit.INTERRUPTED, "interrupted"),
        (ZeroDivisionError("x"), Exit.DEFECT, "defect"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_each_kind_has_its_status(error: BaseException, status: Exit, kind: str) -> None:
    failure = classify(error)
    assert (failure.exit, failure.kind) == (status, kind)


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException, *, confirmed: bool = True) -> None:
    async def set_rate(_self: Programmer, _rate: object, *, accept: object, confirm: Confirm) -> None:
        del accept
        if confirmed:
            await confirm(await _proposal(_self))
        raise error

    monkeypatch.setattr(Programmer, "set_rate", set_rate)


async def _proposal(programmer: Programmer) -> Proposal:
    status = await programmer.read_status()
    state = TherapyState(status.mode, status.rate_nl_per_day, status.dose_ng_per_day, status.concentration_ng_per_ml)
    return Proposal(OperationKind.PROGRAM, state, state, 0, 0, 0, 0, 0, None, ())


def test_an_unknown_outcome_is_4_and_names_the_operation(
    telemetry: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(monkeypatch, OutcomeUnknown("ab" * 16))
    done = telemetry("set-rate", "sim:", "0.2 ml/day", "--yes", "--json")
    assert done.status == 4
    assert done.json["error"]["transaction"] == "ab" * 16
    assert "do not repeat" in done.err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken")])
def test_what_breaks_off_a_change_on_its_way_leaves_it_open(
    telemetry: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    raising(monkeypatch, error)
    done = telemetry("set-rate", "sim:", "0.2 ml/day", "--yes")
    assert done.status == 4
    assert "telemetry read sim: status" in done.err


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 130), (RuntimeError("broken"), 70)])
def test_what_breaks_off_before_that_does_not(
    telemetry: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int
) -> None:
    raising(monkeypatch, error, confirmed=False)
    assert telemetry("set-rate", "sim:", "0.2 ml/day", "--yes").status == status


def test_a_change_that_was_applied_is_not_made_an_error_by_what_comes_after(
    telemetry: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Programmer.read_status
    calls: list[int] = []

    async def read_status(self: Programmer) -> object:
        calls.append(1)
        if len(calls) > 1:
            raise LinkClosedError("the cable is out")
        return await real(self)

    monkeypatch.setattr(Programmer, "read_status", read_status)
    done = telemetry("set-rate", "sim:", "0.2 ml/day", "--yes", "--json")
    assert done.status == 0
    assert done.json["outcome"] == "applied"
    assert done.json["low_reservoir_at_ms"] is None
    assert "the change is applied" in done.err
    calls.clear()
    assert telemetry("set-rate", "sim:", "0.2 ml/day", "--yes").status == 0


def test_a_defect_is_one_line_and_its_traceback_is_kept(
    telemetry: Callable[..., Done], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read_identity(_self: Programmer) -> object:
        raise ZeroDivisionError("broken")

    monkeypatch.setattr(Programmer, "read_identity", read_identity)
    done = telemetry("read", "sim:", "--json")
    assert done.status == 70
    assert done.err.count("\n") == 1
    assert "this is a defect" in done.err
    assert done.json["error"]["kind"] == "defect"
    (kept,) = (home / ".local" / "state" / "itb-telemetry").glob("defect-*.txt")
    assert "ZeroDivisionError: broken" in kept.read_text(encoding="utf-8")


def test_a_traceback_that_cannot_be_kept_is_said(
    telemetry: Callable[..., Done], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read_identity(_self: Programmer) -> object:
        raise ZeroDivisionError("broken")

    monkeypatch.setattr(Programmer, "read_identity", read_identity)
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "file"))
    (home / "file").write_text("", encoding="utf-8")
    assert "--debug" in telemetry("read", "sim:").err


def test_debug_shows_the_traceback(capfd: pytest.CaptureFixture[str], home: Path) -> None:
    from telemetry.cli.app import run

    assert run(["--debug", "read", "foo://x"]) == 2
    assert "Traceback" in capfd.readouterr().err


def test_what_was_resolved_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    outcomes = tuple(Outcome("ab" * 16, verdict, None, None) for verdict in Verdict)
    connecting.tell_resolved(outcomes)
    told = " ".join(capfd.readouterr().err.split())
    assert "it WAS applied" in told
    assert "never reached the pump" in told
    assert "refused and not applied" in told
    assert "forgotten" in told


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "telemetry", *arguments], text=True, timeout=60, check=False, capture_output=True
    )


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    for more in ([], ["--json"]):
        arguments = " ".join(["profile", "show", "itb-40", *more])
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m telemetry {arguments} | head -c 1 | wc -c"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stderr == ""
        assert done.stdout.strip() == "1"


def test_the_module_is_the_command() -> None:
    done = command("--version")
    assert (done.returncode, done.stderr) == (0, "")
    done = command("read", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["exit_status"] == 2


def test_the_console_entry_is_quick_to_import() -> None:
    code = "import sys, telemetry.cli; print([m for m in ('click', 'rich', 'httpx', 'asyncio') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_nothing_that_it_does_not_need() -> None:
    code = (
        "import sys; from telemetry.cli.app import run; run(['read', '--help']); "
        "heavy = ('httpx', 'starlette', 'uvicorn', 'cryptography', 'serial', 'construct'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
