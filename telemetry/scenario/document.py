"""YAML as plain data, with the place of every part: numbers stay exact, and nothing is a date or a float by accident.

YAML 1.2 (``yes`` and ``08:00`` are texts). A number with a point stays text (``0.5`` is never a binary fraction);
anchors may be used, merge keys and tags of other kinds are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telemetry.scenario.problems import Problem, ScenarioError, path_text

if TYPE_CHECKING:
    from collections.abc import Sequence

Path = tuple[str | int, ...]
_TAG = "tag:yaml.org,2002:"
_TEXTS = frozenset({f"{_TAG}{name}" for name in ("str", "float", "timestamp")})
_TRUE = frozenset({"true"})
_LARGEST_BYTES = 1 << 20


class Document:
    """The plain data of a file and where each part of it stands."""

    def __init__(self, file: str, data: Any, places: dict[Path, tuple[int, int]]) -> None:  # noqa: ANN401 - YAML
        self.file = file
        self.data = data
        self._places = places

    def place(self, path: Sequence[str | int]) -> tuple[int, int]:
        """Line and column, from 1, of a part, or of the nearest part around it."""
        wanted = tuple(path)
        while wanted and wanted not in self._places:
            wanted = wanted[:-1]
        return self._places.get(wanted, (1, 1))

    def key_place(self, path: Sequence[str | int], key: str) -> tuple[int, int]:
        """Line and column, from 1, of a key itself (the place of a part is its value's)."""
        return self._places.get((*path, key, _KEY), self.place(path))

    def problem(self, path: Sequence[str | int], message: str, *, key: str | None = None) -> Problem:
        """A problem at a part, or at a key of it."""
        line, column = self.place(path) if key is None else self.key_place(path, key)
        return Problem(line, column, path_text(path if key is None else (*path, key)), message)

    def error(self, path: Sequence[str | int], message: str) -> ScenarioError:
        """A single problem as the exception for it."""
        return ScenarioError(self.file, [self.problem(path, message)])


_KEY = -1
"""Behind a path it stands for the key itself: no list has such an index."""


def parse(text: str, file: str = "scenario") -> Document:
    """Read one YAML document; raises ``ScenarioError`` with the place of the first mistake in its form."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - only who plays scenarios pays for it
    from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415 - as above

    if len(text) > _LARGEST_BYTES:
        raise ScenarioError(file, [Problem(1, 1, "", f"{len(text)} characters are more than {_LARGEST_BYTES}")])
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        words = " ".join(part for part in (error.context, error.problem) if part)
        raise ScenarioError(file, [Problem(line, column, "", f"this is no YAML: {words}")]) from error
    except (YAMLError, ValueError) as error:
        raise ScenarioError(file, [Problem(1, 1, "", f"this is no YAML: {' '.join(str(error).split())}")]) from error
    reader = _Reader(file)
    data = reader.read(node, ()) if node is not None else None
    if reader.problems:
        raise ScenarioError(file, reader.problems)
    return Document(file, data, reader.places)


class _Reader:
    """Turns composed nodes into plain data and notes their places."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[Path, tuple[int, int]] = {}
        self.problems: list[Problem] = []
        self._open: set[int] = set()

    def read(self, node: Any, path: Path) -> Any:  # noqa: ANN401 - nodes of ruamel.yaml, plain data out
        mark = node.start_mark
        self.places[path] = mark.line + 1, mark.column + 1
        if id(node) in self._open:
            self._wrong(node, path, "this alias holds itself")
            return None
        self._open.add(id(node))
        try:
            if node.id == "mapping":
                return self._mapping(node, path)
            if node.id == "sequence":
                return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: Any, path: Path) -> dict[str, Any]:  # noqa: ANN401 - as above
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key_node.id != "scalar" or str(key_node.tag) == f"{_TAG}merge":
                self._wrong(key_node, path, "merge keys and keys that are no text are not taken; write the part out")
                continue
            if key in found:
                self._wrong(key_node, (*path, key), f"{key!r} stands here a second time; keep one")
                continue
            key_mark = key_node.start_mark
            self.places[(*path, key, _KEY)] = key_mark.line + 1, key_mark.column + 1
            found[key] = self.read(value_node, (*path, key))
        return found

    def _scalar(self, node: Any, path: Path) -> Any:  # noqa: ANN401 - as above
        tag, text = str(node.tag), str(node.value)
        if tag in _TEXTS:
            return text
        if tag == f"{_TAG}int":
            try:
                return int(text.replace("_", ""), 0)
            except ValueError:
                return text
        if tag == f"{_TAG}bool":
            return text.lower() in _TRUE
        if tag == f"{_TAG}null":
            return None
        self._wrong(node, path, f"the tag {tag!r} is not taken; write plain text, numbers, lists and tables")
        return None

    def _wrong(self, node: Any, path: Path, message: str) -> None:  # noqa: ANN401 - as above
        mark = node.start_mark
        self.problems.append(Problem(mark.line + 1, mark.column + 1, path_text(path), message))
