"""Words of bash that are being typed, with bash itself as the judge."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.terminal.quoting import Quote, Typed, quoted, typed

QUOTES: tuple[Quote, ...] = ("", "'", '"', "$'")
TEXTS = ["two words", "it's", 'a"b', "a\\b", "$x", "`id`", "!x", "~", "#a", "{a,b}", "*", "a;b|c"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("b explain ", Typed(("b", "explain"), "", "")),
        (r"b two\ w", Typed(("b",), "two w", "")),
        ("b 'two w", Typed(("b",), "two w", "'")),
        ('b --context="two w', Typed(("b",), "--context=two w", '"')),
        (r"b 'it'\''s a", Typed(("b",), "it's a", "'")),
        (r'b "a\"b\c', Typed(("b",), 'a"b\\c', '"')),
        (r"b $'it\'s", Typed(("b",), "it's", "$'")),
        ("b '' \"\" ", Typed(("b", "", ""), "", "")),
        ("b a \\", Typed(("b", "a"), "", "")),
        ("b a\\\nb", Typed(("b",), "ab", "")),
        ("b a 2> x", Typed(("b", "a"), "x", "", is_file=True)),
        ("b a >x y", Typed(("b", "a"), "y", "")),
        ("", Typed((), "", "")),
    ],
)
def test_a_line_is_read_without_its_quotes(line: str, expected: Typed) -> None:
    assert typed(line) == expected


@given(st.text(st.characters(exclude_categories=("Cc", "Cs"))), st.sampled_from(QUOTES))
def test_what_is_quoted_is_read_as_it_was(text: str, quote: Quote) -> None:
    assert typed(f"b {quote}{quoted(text, quote)}") == Typed(("b",), text, quote)


@pytest.mark.parametrize("quote", QUOTES)
def test_bash_reads_what_was_meant(quote: Quote) -> None:
    words = " ".join(f"{quote}{quoted(text, quote)}{quote[-1:]}" for text in TEXTS)
    code = f"printf '%s\\n' {words}"
    found = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == TEXTS
