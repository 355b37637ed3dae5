"""The version: it stands in webhook/__init__.py. What must name it elsewhere is found here,
compared by a test, and written by `make version VERSION=X.Y.Z`, which also dates the changelog's
section.
"""

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = "webhook/__init__.py"
PLACES = (
    "Dockerfile",
    "README.md",
    "docs/krew/README.md",
    "docs/pipelines.md",
    "manifests/40-deployment.yaml",
    "manifests/chart/Chart.yaml",
    "manifests/examples/overlay/kustomization.yaml",
)
"""Files that name the version; one that is not there is passed over."""
PAGES = ("*.md", "docs/**/*.md", "manifests/**/*.md")
UNRELEASED = "published yet"
"""What pages say while there is no release, which the first one must take out."""
RELEASE = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-(?:alpha|beta|rc)\.\d+)?")
_NAMED = re.compile(
    r"(?P<before>boundtoken(?:\[cli\])?(?:==|:)|\bnewTag: |\bARG VERSION=|boundtoken_v"
    r"|^(?:appVersion|version): \"?|__version__ = \")"
    rf"(?P<version>{RELEASE.pattern})",
    re.MULTILINE,
)


def current(root: Path = ROOT) -> str:
    """The version of this tree."""
    found = _NAMED.search((root / SOURCE).read_text())
    if found is None:
        raise ValueError(f"{SOURCE}: must set __version__")
    return found["version"]


def named(root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Every version that stands in one of the places, with its file."""
    for place in PLACES:
        path = root / place
        if path.exists():
            yield from ((place, found["version"]) for found in _NAMED.finditer(path.read_text()))


def set_to(version: str, root: Path = ROOT, day: str = "") -> None:
    """Write it into all places, and begin its section of the changelog.

    Raises: ValueError, for what is no version, or one that is released already
    """
    if not RELEASE.fullmatch(version):
        raise ValueError(f"{version!a}: must be X.Y.Z, or X.Y.Z-rc.N")
    if _order(version) < _order(current(root)):
        raise ValueError(f"{version}: must be after {current(root)}")
    if section(version, root):
        raise ValueError(f"{version}: CHANGELOG.md has a section of it")
    if not section("Unreleased", root):
        raise ValueError(
            f"{version}: CHANGELOG.md has nothing under Unreleased; move there what its candidates have"
        )
    for place in (SOURCE, *PLACES):
        path = root / place
        if path.exists():
            text = path.read_text()
            path.write_text(_NAMED.sub(lambda found: found["before"] + version, text))
    changelog = root / "CHANGELOG.md"
    today = day or datetime.now(UTC).date().isoformat()
    heading = "## [Unreleased]\n"
    changelog.write_text(
        changelog.read_text().replace(heading, f"{heading}\n## [{version}] - {today}\n", 1)
    )


def section(version: str, root: Path = ROOT) -> str:
    """What the changelog says of a version, empty where it has no section."""
    text = (root / "CHANGELOG.md").read_text()
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        if heading.startswith(f"[{version}]"):
            return body.strip()
    return ""


def check_tag(tag: str, root: Path = ROOT) -> None:
    """Raises: ValueError, where a tag is not the version's, its section is missing or empty, or a
    page says that nothing is released.
    """
    version = current(root)
    if tag != f"v{version}":
        raise ValueError(f"the tag {tag!a}: must be v{version}, as {SOURCE} says")
    if not section(version, root):
        raise ValueError(f"CHANGELOG.md: must have a section [{version}] with its changes")
    pages = [page for pattern in PAGES for page in sorted(root.glob(pattern))]
    stale = [str(page.relative_to(root)) for page in pages if UNRELEASED in page.read_text()]
    if stale:
        raise ValueError(f"{', '.join(stale)}: must not say {UNRELEASED!r} any more")


def _order(version: str) -> tuple[list[int], bool, str, int]:
    numbers, _, candidate = version.partition("-")
    kind, _, number = candidate.partition(".")
    return [int(part) for part in numbers.split(".")], not candidate, kind, int(number or 0)


def main() -> None:
    """`set VERSION` or `check TAG`."""
    try:
        {"set": set_to, "check": check_tag}[sys.argv[1]](sys.argv[2])
    except (ValueError, KeyError, IndexError) as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
