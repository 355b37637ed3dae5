"""What a folder holds."""

from pathlib import Path


def entries(folder: Path) -> list[str]:
    """The names in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())
