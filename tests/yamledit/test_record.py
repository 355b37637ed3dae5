"""What was there before a change, in a comment: it leads back to the byte, or is not used."""

import base64
import zlib

import hypothesis.strategies as st
import pytest
from hypothesis import given

from webhook.yamledit import record
from webhook.yamledit.spots import Edit

LINES = st.text(st.sampled_from("ab #\n\r:'"), max_size=40).filter(lambda text: record.PREFIX not in text)  # fmt: skip


@given(LINES, st.sampled_from(["\n", "\r\n", ""]))
def test_a_comment_is_taken_out_as_it_was_put_in(text: str, end: str) -> None:
    whole = text + end
    assert record.without_comment(record.with_comment(whole, "ab+/=")) == (whole, "ab+/=")


def test_the_edits_lead_back() -> None:
    word = record.packed("a: false # ü\n", [Edit(3, 8, "true"), Edit(9, 9, "\t")])
    assert record.restored("a: false # ü\n", word) == "a: true \t# ü\n"


@pytest.mark.parametrize(
    "word",
    [
        "",
        "x",
        "////",
        base64.b64encode(zlib.compress(b"[]")).decode(),
        base64.b64encode(zlib.compress(b'["5feceb66ffc86f38",[[5,1,"x"]]]')).decode(),
        base64.b64encode(zlib.compress(b'["5feceb66ffc86f38",[[0,9,"x"]]]')).decode(),
        base64.b64encode(zlib.compress(b'["5feceb66ffc86f38",[[0,0,"' + b"x" * (9 << 20) + b'"]]]')).decode(),
    ],
    ids=range(7),
)  # fmt: skip
def test_a_word_that_is_not_ours_restores_nothing(word: str) -> None:
    assert record.restored("0", word) is None


def test_a_text_that_has_changed_since_is_not_restored() -> None:
    assert record.restored("b", record.packed("a", [Edit(0, 1, "c")])) is None


def test_too_much_is_not_packed() -> None:
    with pytest.raises(ValueError, match="too large"):
        record.packed("a", [Edit(0, 1, "c" * record.MAX_BYTES)])
