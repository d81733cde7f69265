"""The first commands that a newcomer types, on machines that lack this or that."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

# Stands for Debian's python3: its venv module works only once python3-venv is installed.
PYTHON = """#!/bin/bash
case "$*" in
  -V) echo "Python 3.11.2" ;;
  "-c import sys"*) exit {too_old} ;;
  "-m venv "*) [ -e {venv_works} ] || {{ mkdir -p "$3/half-made"; exit 1; }}; mkdir -p "$3/bin" ;;
  *) exit 99 ;;
esac
"""
# Notes what it was asked, and as whom.
APT = """#!/bin/bash
echo "apt-get $*" >> {log}
case "$1" in install) touch {venv_works} ;; esac
"""


class Machine:
    """A machine with just enough on it, every command of it faked."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.commands = place / "bin"
        self.log = place / "log"
        self.venv_works = place / "venv-works"
        self.folder = place / "project" / ".venv"
        self.folder.parent.mkdir()
        self.commands.mkdir()
        for name in ("bash", "env", "mkdir", "rm", "touch", "ls"):
            (self.commands / name).symlink_to(Path("/usr/bin") / name)
        self.fake("python3", PYTHON.format(venv_works=self.venv_works, too_old=0))

    def fake(self, name: str, text: str) -> None:
        path = self.commands / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def user(self, number: int) -> None:
        self.fake("id", f"#!/bin/bash\necho {number}\n")

    def apt(self) -> None:
        self.fake("apt-get", APT.format(log=self.log, venv_works=self.venv_works))

    def asked(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []

    def make_venv(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "tools" / "venv.sh", "python3", self.folder],
            env={"PATH": str(self.commands)},
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


INSTALLED = ["apt-get update", "apt-get install --yes --no-install-recommends python3-venv"]


@pytest.mark.real
def test_where_venv_works_it_is_used(machine: Machine) -> None:
    machine.venv_works.touch()
    done = machine.make_venv()
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"Making the environment {machine.folder} with Python 3.11.2 ...\n",
        "",
    )
    assert [path.name for path in machine.folder.iterdir()] == ["bin"]


@pytest.mark.real
def test_root_gets_the_missing_package(machine: Machine) -> None:
    machine.user(0)
    machine.apt()
    done = machine.make_venv()
    assert (done.returncode, machine.asked()) == (0, INSTALLED)
    assert "installing Debian's python3-venv" in done.stdout
    # Nothing of the first, failed attempt is left in it.
    assert [path.name for path in machine.folder.iterdir()] == ["bin"]


@pytest.mark.real
def test_a_user_who_may_become_root_gets_it_too(machine: Machine) -> None:
    machine.user(1000)
    machine.apt()
    machine.fake(
        "sudo", f'#!/bin/bash\n[ "$1" = -n ] && shift\n[ "$1" = true ] && exit\necho sudo >> {machine.log}\n"$@"\n'
    )
    done = machine.make_venv()
    assert (done.returncode, machine.asked()) == (0, ["sudo", INSTALLED[0], "sudo", INSTALLED[1]])


@pytest.mark.real
@pytest.mark.parametrize("sudo", [None, "#!/bin/bash\nexit 1\n"], ids=["no sudo", "sudo wants a password"])
def test_anyone_else_gets_the_one_command_to_type(machine: Machine, sudo: str | None) -> None:
    machine.user(1000)
    machine.apt()
    if sudo is not None:
        machine.fake("sudo", sudo)
    done = machine.make_venv()
    assert (done.returncode, machine.asked()) == (1, [])
    assert done.stderr.endswith("install it and call make again:\n    sudo apt-get install python3-venv\n")
    # A half-made environment would make the next call believe that all is well.
    assert not machine.folder.exists()


@pytest.mark.real
def test_elsewhere_than_debian_the_words_of_venv_itself_are_shown(machine: Machine) -> None:
    done = machine.make_venv()
    assert done.returncode == 1
    assert "install the venv and ensurepip modules of this Python" in done.stderr


@pytest.mark.real
def test_a_python_that_is_too_old_is_refused(machine: Machine) -> None:
    machine.fake("python3", PYTHON.format(venv_works=machine.venv_works, too_old=1))
    done = machine.make_venv()
    assert done.returncode == 1
    assert "Python 3.11 or later is needed" in done.stderr


@pytest.mark.real
def test_no_python_at_all_is_named(machine: Machine) -> None:
    (machine.commands / "python3").unlink()
    done = machine.make_venv()
    assert done.returncode == 1
    assert "no 'python3' on this machine" in done.stderr


@pytest.mark.parametrize(
    "target",
    ["run", "test", "test-bluez", "lint", "bench", "fuzz", "trace", "docs", "clean", "lock", "coverage", "help"],
)
def test_every_target_is_there_and_explained(target: str) -> None:
    assert re.search(rf"^\.PHONY: {target}\n{target}:.* ## \S", MAKEFILE, flags=re.MULTILINE)


def test_ci_runs_what_developers_run() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "set -euo pipefail" in script
    assert script[-1] == "exec make test"


def test_ci_runs_a_third_partys_project_against_the_wheel() -> None:
    steps = (ROOT / "tools" / "test_wheel.sh").read_text(encoding="utf-8")
    assert re.search(r"^cp -R examples/downstream .*\n.*--no-index.*\nrm -r .*/src.*\n.*-m pytest", steps, re.MULTILINE)
    assert "tools/test_wheel.sh" in MAKEFILE.partition("\ntest: ")[2].partition("\n\n")[0]


def test_ci_runs_on_real_bluez_with_the_packages_it_needs() -> None:
    recipe = MAKEFILE.partition("\ntest: ")[2].partition("\n\n")[0]
    assert recipe.index("-m tools.debian") < recipe.index("/pytest") < recipe.index("test-bluez")


def test_every_test_runs_in_one_of_the_two_runs() -> None:
    """What the wheel's run leaves out is what runs beside the sources, and both results are traced."""
    recipe = MAKEFILE.partition("\ntest: ")[2].partition("\n\n")[0]
    asking = ["make", "--no-print-directory", "--eval", "pure: ; @echo $(PURE)", "pure"]
    pure = subprocess.run(asking, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "tests/protocol" in pure
    assert all((ROOT / place).exists() for place in pure)
    assert re.search(r"/pytest \$\(PARALLEL\) --junitxml=build/junit-pure.xml \$\(PURE\)$", recipe, re.MULTILINE)
    assert re.search(
        r"test_wheel.sh .* \"\$\(PURE\)\" .*--cov .*--junitxml=\"\$\(CURDIR\)/build/junit-wheel.xml", recipe
    )
    assert "--junit build/junit-pure.xml --junit build/junit-wheel.xml" in recipe


@pytest.mark.parametrize("script", [".ci/run", "tools/venv.sh", "tools/test_wheel.sh"])
def test_scripts_can_be_run(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111 == 0o111
