"""The change log has the form that readers and tools expect, and names the version."""

import re
from pathlib import Path

from webhook import __version__

TEXT = (Path(__file__).parents[2] / "CHANGELOG.md").read_text()
HEADINGS = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
GROUPS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def test_the_version_has_a_section_or_is_unreleased() -> None:
    assert [
        heading
        for heading in HEADINGS
        if heading == "[Unreleased]" or heading.startswith(f"[{__version__}] - ")
    ]


def test_sections_are_unreleased_or_a_version_with_its_day_newest_first() -> None:
    released = HEADINGS[HEADINGS[0] == "[Unreleased]" :]
    found = [
        re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d{2}-\d{2}", heading)
        for heading in released
    ]
    assert [heading for heading, match in zip(released, found, strict=True) if match is None] == []
    versions = [tuple(map(int, match.groups())) for match in found if match]
    assert versions == sorted(set(versions), reverse=True)


def test_changes_are_grouped_as_keep_a_changelog_does() -> None:
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        groups = re.findall(r"^### (.+)$", section, re.MULTILINE)
        assert groups == [group for group in GROUPS if group in groups]
