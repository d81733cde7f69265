"""What stands in the tree: nothing of the machine it was written on, and nothing that leads nowhere."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SKIPPED = {".git", ".hypothesis", ".venv", "__pycache__", "build", "dist"}
TEXT = {"", ".cfg", ".css", ".html", ".in", ".js", ".json", ".jsonl", ".lock", ".lua", ".md", ".py", ".sh", ".toml"}
TEXT |= {".svg", ".telcap", ".txt", ".typed", ".yaml", ".yml"}


def files() -> list[Path]:
    return sorted(
        path
        for path in ROOT.rglob("*")
        if path.is_file()
        and path.suffix in TEXT
        and not any(part in SKIPPED or part.endswith("_cache") for part in path.relative_to(ROOT).parts)
        and not path.name.startswith(".coverage")
    )


def texts() -> dict[str, str]:
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files()}


# Put together here, so that this file does not find itself.
MACHINE = [
    re.compile("/" + "work/"),
    re.compile("/" + "root/"),
    re.compile("/" + r"(?:home|Users)/\w"),
    re.compile("/" + r"tmp/[\w-]*\d{3}"),
]
INDEX = [
    re.compile("pypi" + r"\.org"),
    re.compile("python" + r"hosted"),
    re.compile("--(?:extra-)?index" + "-url"),
    re.compile("--trusted" + "-host"),
    re.compile("--find" + "-links"),
]


def found(patterns: list[re.Pattern[str]], contents: dict[str, str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in contents.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if any(pattern.search(line) for pattern in patterns)
    ]


def test_the_tree_is_found() -> None:
    assert {"pyproject.toml", "Makefile", ".ci/run", "requirements/run.lock", "tests/conftest.py"} <= texts().keys()


def test_no_file_names_a_path_of_a_machine() -> None:
    assert found(MACHINE, texts()) == []


@pytest.mark.parametrize("line", ["see /" + "work/x", "/" + "root/.pyenv", "/" + "home/ann/x", "/" + "tmp/tmp1234x"])
def test_the_check_sees_a_path_of_a_machine(line: str) -> None:
    assert len(found(MACHINE, {"x": line})) == 1


def test_no_file_names_a_package_index() -> None:
    # The two long options are the ones with which the locks are kept free of index names.
    contents = texts()
    contents["Makefile"] = re.sub(r"--no-emit-\S+", "", contents["Makefile"])
    assert found(INDEX, contents) == []


@pytest.mark.parametrize(
    "line",
    ["https://" + "pypi" + ".org/simple", "files.python" + "hosted.org", "--index" + "-url x", "--find" + "-links x"],
)
def test_the_check_sees_a_package_index(line: str) -> None:
    assert len(found(INDEX, {"x": line})) == 1


@pytest.mark.parametrize("name", ["run", "dev"])
def test_a_lock_holds_no_address_and_no_option(name: str) -> None:
    lock = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    assert [line for line in lock.splitlines() if line.startswith(("-", "/", "."))] == []


@pytest.mark.parametrize("name", ["run", "dev"])
def test_every_requirement_of_a_lock_is_pinned_and_hashed(name: str) -> None:
    lock = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    code = "".join(line for line in lock.splitlines(keepends=True) if not line.lstrip().startswith("#"))
    requirements = [line for line in code.replace("\\\n", " ").splitlines() if line.strip()]
    assert len(requirements) > 20
    pinned = re.compile(r"[\w.-]+==[\w.+!-]+( ; [^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")
    assert [line for line in requirements if not pinned.fullmatch(line)] == []


def test_every_toml_and_json_file_parses() -> None:
    for path in files():
        if path.suffix == ".toml":
            tomllib.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))


LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


def test_every_link_between_documents_leads_somewhere() -> None:
    broken = [
        f"{name}: {target}"
        for name, text in texts().items()
        if name.endswith(".md")
        for target in LINK.findall(text)
        if "://" not in target
        and not target.startswith("mailto:")
        and not (ROOT / name).parent.joinpath(target).exists()
    ]
    assert broken == []
