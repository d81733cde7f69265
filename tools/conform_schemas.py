"""Write the JSON schemas of conformance runs and manifests into the package and into ``fixtures/schemas``."""

from __future__ import annotations

from pathlib import Path

from telemetry.conform import manifest, results

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "telemetry" / "conform"
PUBLISHED = ROOT / "fixtures" / "schemas"


def main() -> None:
    """Write all four files."""
    for text, name in (
        (results.schema_text(), results.SCHEMA_FILE),
        (manifest.schema_text(), manifest.SCHEMA_FILE),
    ):
        for path in (PACKAGE / name, PUBLISHED / f"conform-{name}"):
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: written")


if __name__ == "__main__":
    main()
