"""The version stands in one place; other files that name it agree, and are written with it."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from docs.release import version
from tests.support.paths import ROOT
from webhook import __version__

HISTORY = {"CHANGELOG.md"}
GENERATED = (".lock", ".svg", ".sum", ".mod")


def tracked() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for path in done.stdout.splitlines() if (ROOT / path).is_file()]


def test_every_place_names_the_version_of_the_package() -> None:
    found = list(version.named())
    assert version.current() == __version__
    assert {name for _, name in found} == {__version__}
    assert {place for place, _ in found} == {
        place for place in version.PLACES if (ROOT / place).exists()
    }


def test_no_other_file_names_it() -> None:
    pattern = re.compile(rf"(?<![\d.]){re.escape(__version__)}(?![\d.])")
    others = [
        path
        for path in tracked()
        if path not in {version.SOURCE, *version.PLACES, *HISTORY}
        and not path.startswith("tests/")
        and not path.endswith(GENERATED)
        and pattern.search((ROOT / path).read_text(errors="replace"))
    ]
    assert others == []


def test_the_chart_is_of_the_version_if_it_is_there() -> None:
    path = ROOT / "manifests/chart/Chart.yaml"
    chart = yaml.safe_load(path.read_text()) if path.exists() else {"version": __version__}
    assert {chart["version"], chart.get("appVersion", __version__)} == {__version__}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The places in a folder of their own, and a chart as Helm reads it."""
    for place in (version.SOURCE, *version.PLACES):
        if (ROOT / place).exists():
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            text = (ROOT / place).read_text().replace(version.UNRELEASED, "there")
            (tmp_path / place).write_text(text)
    chart = tmp_path / "manifests/chart/Chart.yaml"
    chart.parent.mkdir(exist_ok=True)
    chart.write_text('apiVersion: v2\nname: boundtoken\nversion: 0.1.0\nappVersion: "0.1.0"\n')
    (tmp_path / version.SOURCE).write_text('__version__ = "0.1.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- One.\n"
    )
    return tmp_path


def test_a_new_version_is_written_everywhere(tree: Path) -> None:
    version.set_to("0.2.0-rc.1", tree, "2026-12-01")
    assert version.current(tree) == "0.2.0-rc.1"
    assert {name for _, name in version.named(tree)} == {"0.2.0-rc.1"}
    chart = yaml.safe_load((tree / "manifests/chart/Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == ("0.2.0-rc.1", "0.2.0-rc.1")
    assert (tree / "CHANGELOG.md").read_text() == (
        "# Changelog\n\n## [Unreleased]\n\n## [0.2.0-rc.1] - 2026-12-01\n\n### Added\n\n- One.\n"
    )
    assert version.section("0.2.0-rc.1", tree) == "### Added\n\n- One."
    assert version.section("Unreleased", tree) == ""
    version.check_tag("v0.2.0-rc.1", tree)
    with pytest.raises(ValueError, match=r"has nothing under Unreleased; move there what its cand"):
        version.set_to("0.2.0", tree, "2026-12-02")
    changelog = (tree / "CHANGELOG.md").read_text()
    (tree / "CHANGELOG.md").write_text(changelog.replace("## [0.2.0-rc.1] - 2026-12-01\n", ""))
    version.set_to("0.2.0", tree, "2026-12-02")
    assert version.current(tree) == "0.2.0"


def test_the_first_release_has_the_version_that_stands_there(tree: Path) -> None:
    with pytest.raises(ValueError, match=r"CHANGELOG.md: must have a section \[0.1.0\]"):
        version.check_tag("v0.1.0", tree)
    version.set_to("0.1.0", tree, "2026-12-01")
    version.check_tag("v0.1.0", tree)
    with pytest.raises(ValueError, match=r"0.1.0: CHANGELOG.md has a section of it"):
        version.set_to("0.1.0", tree)


def test_a_release_is_refused_while_a_page_says_that_there_is_none(tree: Path) -> None:
    version.set_to("0.1.0", tree, "2026-12-01")
    page = tree / "manifests/chart/README.md"
    page.write_text(f"# Chart\n\nNo chart is {version.UNRELEASED}.\n")
    (tree / "SECURITY.md").write_text(f"No release is {version.UNRELEASED}.\n")
    names = "SECURITY.md, manifests/chart/README.md"
    with pytest.raises(ValueError, match=f"{names}: must not say 'published yet' any more"):
        version.check_tag("v0.1.0", tree)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("0.0.9", "0.0.9: must be after 0.1.0"),
        ("0.1.0-rc.1", "0.1.0-rc.1: must be after 0.1.0"),
        ("v0.2.0", "'v0.2.0': must be X.Y.Z, or X.Y.Z-rc.N"),
        ("0.2", "'0.2': must be X.Y.Z, or X.Y.Z-rc.N"),
        ("0.2.0\nx", r"'0.2.0\\nx': must be X.Y.Z, or X.Y.Z-rc.N"),
        ("", "'': must be X.Y.Z, or X.Y.Z-rc.N"),
    ],
)
def test_what_is_no_later_version_changes_nothing(tree: Path, given: str, fault: str) -> None:
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=f"^{fault}$"):
        version.set_to(given, tree)
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before


def test_a_tag_of_another_version_is_refused(tree: Path) -> None:
    with pytest.raises(ValueError, match=r"the tag 'v0.2.0': must be v0.1.0"):
        version.check_tag("v0.2.0", tree)
