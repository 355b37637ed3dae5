"""The tables of docs/ whose text is in the code are those that `make reference` writes."""

import pytest

from tests.reference.__main__ import MARK, PAGES, TABLES, written
from tests.support.paths import ROOT
from webhook import annotation_descriptions, cluster_config
from webhook.config_descriptions import DESCRIPTIONS
from webhook.core import levels, names, policy
from webhook.core.annotations import Parser
from webhook.core.decision import MEANINGS, REASONS
from webhook.core.limits import Locks


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_the_tables_of_the_code(page: str) -> None:
    text = (ROOT / page).read_text()
    assert written(text) == text, "make reference"


def test_every_table_stands_once() -> None:
    marked = [name for page in PAGES for _, name, _, _ in MARK.findall((ROOT / page).read_text())]
    assert sorted(marked) == sorted(TABLES)


def test_a_table_that_was_edited_is_written_anew() -> None:
    text = "a\n<!-- make reference: rules -->\n| edited |\n<!-- end of rules -->\nb\n"
    assert "edited" not in written(text)
    assert written(text).startswith("a\n<!-- make reference: rules -->\n| rule | level |")
    assert written(text).endswith("|\n<!-- end of rules -->\nb\n")


def test_every_key_of_the_configuration_has_a_sentence_that_is_short_enough_for_an_editor() -> None:
    fields = cluster_config.FIELDS
    paths = {
        path
        for key, field in fields.items()
        for path in (key, *(f"{key}.{name}" for name in field if isinstance(field, dict)))
    }
    assert set(DESCRIPTIONS) == paths
    assert [text for text in DESCRIPTIONS.values() if len(text) > 80 or text[-1] != "."] == []


ANNOTATIONS = annotation_descriptions.DESCRIPTIONS
PARSERS: dict[str, Parser] = {name: read for _, name, read in (*policy.SETTINGS, *policy.LOCKS)}


def test_every_annotation_of_users_and_every_reason_has_a_meaning() -> None:
    assert set(ANNOTATIONS) == names.FOR_PODS | names.FOR_NAMESPACES
    assert tuple(MEANINGS) == REASONS
    phrases = [*MEANINGS.values(), *(meaning for _, meaning in ANNOTATIONS.values())]
    assert [text for text in phrases if len(text) > 110 or text[-1] == "."] == []


@pytest.mark.parametrize(
    "name", [name for name, (value, _) in ANNOTATIONS.items() if not isinstance(value, str)]
)
def test_the_words_of_an_annotation_are_those_that_it_may_have(name: str) -> None:
    def is_good(word: str) -> bool:
        if name not in PARSERS:
            return not levels.read({name: word})[1]
        try:
            PARSERS[name](word, Locks())
        except ValueError:
            return False
        return True

    words = {
        word for value, _ in ANNOTATIONS.values() if not isinstance(value, str) for word in value
    }
    assert {word for word in words if is_good(word)} == set(ANNOTATIONS[name].value)
