"""The run's own judgement: what it calls good, and what it says when something is missing, hangs or breaks."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tools import debian
from tools.bluez import image, machine, run
from tools.bluez.image import Image
from tools.bluez.steps import DONE, STEPS, WHAT
from tools.debian import Failed, NotHere

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = [{"step": name, "ok": True} for name in STEPS] + [{"step": DONE, "ok": True, "tasks_left": 0}]
FIND_FILES = """
for word in "$@"; do
    case "$word" in
    file:*) [ -n "$CONSOLE" ] && CHANNEL=${word#file:} || CONSOLE=${word#file:} ;;
    esac
done
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put a shell script in the place of a command; no other command is there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(debian, "_SEARCH", str(folder))

    def put(name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    return put


@pytest.fixture
def some_image(tmp_path: Path) -> Image:
    modules = tmp_path / "modules.cpio.gz"
    modules.write_bytes(b"modules")
    return Image("linux-image-x", "1", tmp_path / "vmlinuz", modules)


@pytest.fixture
def tools(fake: Callable[[str, str], None]) -> Callable[[str], None]:
    """A machine in which QEMU is a script: it has the console in $CONSOLE and the channel in $CHANNEL."""
    fake("busybox", "")
    fake("cpio", "cat >/dev/null; echo archive")

    def qemu(script: str) -> None:
        fake("qemu-system-x86_64", f"{FIND_FILES}\n{script}")

    return qemu


def test_every_step_says_what_it_shows() -> None:
    assert list(WHAT) == list(STEPS)


def test_the_page_lists_every_step() -> None:
    page = (run.ROOT / "docs" / "bluez.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", page, re.MULTILINE))
    assert {step: text.replace("`", "") for step, text in rows.items()} == WHAT


def test_a_whole_run_is_good() -> None:
    assert run.verdict(GOOD) == ""


@pytest.mark.parametrize("missing", range(len(GOOD)))
def test_a_run_without_one_of_its_steps_is_not(missing: int) -> None:
    assert str(GOOD[missing]["step"]) in run.verdict(GOOD[:missing] + GOOD[missing + 1 :])


@pytest.mark.parametrize(
    ("reports", "says"),
    [
        ([], "nothing, not even its start"),
        (GOOD[:4], "reported 'bluetoothd' last"),
        ([*GOOD[:5], {"step": "not-found", "ok": False, "error": "too late"}], "'not-found' failed: too late"),
        ([{"step": "boot"}], "no reason given"),
        ([*GOOD[1::-1], *GOOD[2:]], "disorder"),
        ([*GOOD[:-1], {"step": DONE, "ok": True, "tasks_left": 1, "tasks": ["reader"]}], "reader"),
    ],
)
def test_what_is_wrong_is_said(reports: list[dict[str, object]], says: str) -> None:
    assert says in run.verdict(reports)


@pytest.mark.real
def test_reports_are_collected_as_they_come_and_the_machine_ends(
    tools: Callable[[str], None], some_image: Image, tmp_path: Path
) -> None:
    tools(
        'echo hello >"$CONSOLE"\n'
        """printf '{"step": "bo' >"$CHANNEL"; sleep 0.5; printf 'ot"}\\n{"step":"done"}\\n' >>"$CHANNEL" """
    )
    seen: list[dict[str, object]] = []
    done = machine.boot(some_image, "exit", tmp_path / "logs", limit_s=20, on_report=seen.append)
    assert seen == list(done.reports) == [{"step": "boot"}, {"step": "done"}]
    assert done.console.read_text(encoding="utf-8") == "hello\n"


@pytest.mark.real
def test_a_machine_that_hangs_is_ended_and_its_console_shown(
    tools: Callable[[str], None], some_image: Image, tmp_path: Path
) -> None:
    tools("""echo 'Kernel panic' >"$CONSOLE"; echo '{"step": "radio"}' >"$CHANNEL"; exec sleep 60""")
    with pytest.raises(Failed, match=r"still running after 1 s.*radio(?s:.*)Kernel panic"):
        machine.boot(some_image, "exit", tmp_path / "logs", limit_s=1)


@pytest.mark.real
def test_what_qemu_complains_of_is_shown(tools: Callable[[str], None], some_image: Image, tmp_path: Path) -> None:
    tools("echo 'no such machine' >&2; exit 3")
    with pytest.raises(Failed, match="status 3: no such machine"):
        machine.boot(some_image, "exit", tmp_path / "logs", limit_s=20)


@pytest.mark.real
def test_a_missing_package_is_named_with_the_command_to_type(
    fake: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("dpkg-query", "echo 'installed bluez 5.66'; echo 'config-files dbus 1.14'; exit 1")
    monkeypatch.setattr(debian, "as_root", lambda: None)
    with pytest.raises(NotHere, match=r"missing packages: dbus.*sudo apt-get install --no-install-recommends dbus$"):
        debian.ensure_packages(["bluez", "dbus"])


@pytest.mark.real
def test_root_gets_what_is_missing(
    fake: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    fake("dpkg-query", f"echo 'installed bluez 5.66'; [ -e {log} ] && echo 'installed dbus 1.14'; true")
    fake("apt-get", f'echo "$*" >>{log}')
    monkeypatch.setattr(debian, "as_root", list)
    assert debian.ensure_packages(["bluez", "dbus"]) == {"bluez": "5.66", "dbus": "1.14"}
    assert log.read_text(encoding="utf-8").splitlines() == [
        "update",
        "install --yes --no-install-recommends dbus",
    ]


@pytest.mark.real
def test_an_installation_that_fails_is_told_in_apts_words(
    fake: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("dpkg-query", "exit 1")
    fake("apt-get", "echo 'E: no network' >&2; exit 100")
    monkeypatch.setattr(debian, "as_root", list)
    with pytest.raises(NotHere, match="no network"):
        debian.ensure_packages(["dbus"])


@pytest.mark.real
@pytest.mark.parametrize(("ci", "status"), [("true", 1), ("", 0)])
def test_what_cannot_be_installed_fails_in_ci_only(
    fake: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ci: str,
    status: int,
) -> None:
    fake("dpkg-query", "exit 1")
    monkeypatch.setattr(debian, "as_root", lambda: None)
    monkeypatch.setenv("CI", ci)
    assert debian.main() == status
    assert "sudo apt-get install" in capsys.readouterr().err


def test_elsewhere_than_debian_that_is_said(fake: Callable[[str, str], None]) -> None:
    with pytest.raises(NotHere, match="Debian"):
        debian.ensure_packages(["dbus"])
    with pytest.raises(NotHere, match="Debian"):
        image.ensure_image()


@pytest.mark.real
def test_without_package_lists_the_cure_is_named(
    fake: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake("apt-cache", "exit 0")
    monkeypatch.setattr(image, "as_root", lambda: None)
    with pytest.raises(NotHere, match="sudo apt-get update"):
        image.ensure_image(tmp_path)


@pytest.mark.real
def test_a_kernel_that_is_in_the_cache_is_taken_from_there(fake: Callable[[str, str], None], tmp_path: Path) -> None:
    fake("apt-cache", '[ "$1" = depends ] && echo "  Depends: linux-image-9.9.9-1-amd64" || echo "Version: 1:9.9"')
    recipe = image.recipe()
    (tmp_path / f"linux-image-9.9.9-1-amd64_1-9.9_{recipe}").mkdir()
    found = image.ensure_image(tmp_path)
    assert (found.package, found.version) == ("linux-image-9.9.9-1-amd64", "1:9.9")
    assert found.kernel.parent == tmp_path / f"linux-image-9.9.9-1-amd64_1-9.9_{recipe}"


@pytest.mark.real
def test_a_download_that_fails_leaves_nothing_in_the_cache(fake: Callable[[str, str], None], tmp_path: Path) -> None:
    fake("apt-cache", '[ "$1" = depends ] && echo "  Depends: linux-image-9.9.9-1-amd64" || echo "Version: 9.9"')
    fake("apt-get", "echo 'E: 404' >&2; exit 100")
    with pytest.raises(NotHere, match="404"):
        image.ensure_image(tmp_path)
    assert list(tmp_path.glob("*image*")) == []


def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(Failed, match=r"sleep 30 was not done within 0\.2 s"):
        debian.run(["sleep", "30"], limit_s=0.2)


def test_the_reports_of_a_run_that_failed_can_be_read(tmp_path: Path) -> None:
    assert run.last_reports(tmp_path) == []
    (tmp_path / "report.jsonl").write_text(json.dumps(GOOD[0]) + "\n", encoding="utf-8")
    assert run.last_reports(tmp_path) == [GOOD[0]]
