"""A set of audiences behaves like a frozenset of the same."""

import sys
from collections.abc import Set as AbstractSet

from hypothesis import given
from hypothesis import strategies as st

from webhook.core.audiences import Audiences

AUDIENCES = st.frozensets(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x3000), max_size=4)
)


@given(AUDIENCES, AUDIENCES, st.text(max_size=4))
def test_it_is_what_a_frozenset_is(one: frozenset[str], other: frozenset[str], text: str) -> None:
    one, other = one - {""}, other - {""}
    audiences: AbstractSet[str] = Audiences(one)
    same: AbstractSet[str] = one
    assert audiences == same
    assert same == audiences
    assert sorted(audiences) == sorted(one)
    assert len(audiences) == len(one)
    assert bool(audiences) == bool(one)
    assert (text in audiences) == (text in one)
    assert audiences & Audiences(other) == one & other
    assert audiences & other == one & other
    assert hash(Audiences(one)) == hash(Audiences(set(one)))


def test_it_needs_no_more_memory_than_its_text() -> None:
    audiences = Audiences(f"{number:x}" for number in range(2000))
    assert sys.getsizeof(audiences._text) < 10_000
