"""Lay out the sources as the package `ullage` for mypy: symlinks in build/types (git-ignored)."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("cli", "compiler", "hwmodels", "rl_agent", "solvers")


def link() -> None:
    """Create the links that are missing."""
    folder = ROOT / "build" / "types" / "ullage"
    folder.mkdir(parents=True, exist_ok=True)
    for name in PACKAGES:
        place = folder / name
        if not place.exists():
            place.symlink_to(Path("..", "..", "..", name))


if __name__ == "__main__":
    link()
