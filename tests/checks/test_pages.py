"""docs/checks.md has a section for each check, with its sentence and its cure."""

import re
from typing import Any

from tests.support.paths import ROOT
from webhook.checks import before, workload
from webhook.checks.installation import checks
from webhook.checks.model import Check

PAGE = (ROOT / "docs/checks.md").read_text()
SECTION = re.compile(r"^### ([a-z-]+)\n\n(.*?)(?=\n#|\Z)", re.MULTILINE | re.DOTALL)


def every_check() -> list[Check[Any]]:
    return [*checks(with_token=True), *before.checks(), *workload.checks()]


def test_every_check_has_a_section_and_every_section_a_check() -> None:
    ids = list(dict.fromkeys(check.id for check in every_check()))
    assert [name for name, _ in SECTION.findall(PAGE)] == ids


def test_a_section_has_the_sentence_and_the_cure_of_its_check() -> None:
    sections = {name: " ".join(text.split()).lower() for name, text in SECTION.findall(PAGE)}
    for check in every_check():
        assert sections[check.id].startswith(f"**{check.sentence}.** ".lower()), check.id
        assert sections[check.id].endswith(f"cure: {check.cure}".lower()), check.id


def test_an_id_is_one_thing() -> None:
    sentences = {(check.id, check.sentence) for check in every_check()}
    assert len({name for name, _ in sentences}) == len(sentences)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name, _ in sentences)
