"""What of the documents is generated: the reference from the code, figures from results. Not part of the package."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"


def documents() -> list[Path]:
    """Every page of the site, and the README."""
    return [README, *sorted(DOCS.rglob("*.md"))]
