"""Write the JSON schema of scenario files into the package and into ``fixtures/schemas``."""

from __future__ import annotations

from pathlib import Path

from telemetry.scenario import schema

ROOT = Path(__file__).parents[1]
TARGETS = (
    ROOT / "telemetry" / "scenario" / schema.SCHEMA_FILE,
    ROOT / "fixtures" / "schemas" / schema.SCHEMA_FILE,
)


def main() -> None:
    """Write both files."""
    for path in TARGETS:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(schema.text(), encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: written")


if __name__ == "__main__":
    main()
