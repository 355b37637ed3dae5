"""`make release-dry-run`: every file of a release that can be made without a registry, in
dist/release, and a list of them. The release's workflow runs the same with the image's digest.
"""

import argparse
import hashlib
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import artifacts

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = ("python", "image", "install", "chart", "krew", "notes")
NO_URL = "https://example.com/boundtoken/releases"


def main() -> None:
    """Make the parts, then the checksums, and list all files."""
    parser = argparse.ArgumentParser(prog="python -m docs.release", description=__doc__)
    parser.add_argument("--out", type=Path, default=artifacts.ROOT / "dist/release")
    parser.add_argument("--image", default=artifacts.IMAGE, help="name of the image, without tag")
    parser.add_argument("--digest", default="", help="of the image in the registry: sha256:…")
    parser.add_argument("--url", default=NO_URL, help="where the files will be downloaded")
    parser.add_argument("--only", choices=PARTS, action="append", help="make this part again")
    parsed = parser.parse_args()
    out: Path = parsed.out
    if not parsed.only and out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    makers: dict[str, Callable[[], list[Path]]] = {
        "python": lambda: artifacts.python_packages(out / "python"),
        "image": lambda: artifacts.image(out),
        "install": lambda: artifacts.install_manifest(out, parsed.image, parsed.digest),
        "chart": lambda: artifacts.chart(out, parsed.image, parsed.digest, parsed.url),
        "krew": lambda: artifacts.krew(out / "krew", parsed.url or NO_URL),
        "notes": lambda: artifacts.notes(out, parsed.image, parsed.digest),
    }
    for part in parsed.only or PARTS:
        if not makers[part]():
            sys.stdout.write(
                f"left out: {part} (it needs manifests/chart, and helm in PATH or HELM)\n"
            )
    artifacts.checksums(out)
    _list(out)


def _list(folder: Path) -> None:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        sys.stdout.write(f"{digest}  {path.stat().st_size:>10}  {path.relative_to(folder)}\n")
    layers = folder / "image-layers.json"
    if layers.exists():
        sys.stdout.write(layers.read_text())


if __name__ == "__main__":
    main()
