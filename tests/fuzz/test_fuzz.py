"""A short run of each fuzzer, the same one each time; `make fuzz` runs them for longer, each time
with other inputs.
"""

from itertools import islice

import pytest

from tests.fuzz.__main__ import failure, shortened
from tests.fuzz.targets import TARGETS, Target, made

INPUTS = {"configurations": 400, "pairs": 1500, "secrets": 400, "answers": 100}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_nothing_happens_that_is_not_documented(target: Target) -> None:
    with target.ready() as check:
        for given in islice(made(target, 1), INPUTS[target.name]):
            if (problem := failure(check, given)) is not None:
                raise AssertionError(given[:2000]) from problem


def test_a_seed_gives_the_same_inputs_again() -> None:
    configurations = TARGETS[0]
    assert list(islice(made(configurations, 7), 50)) == list(islice(made(configurations, 7), 50))
    assert list(islice(made(configurations, 7), 50)) != list(islice(made(configurations, 8), 50))


def test_a_failing_input_is_shortened_to_what_fails() -> None:
    def check(given: bytes) -> None:
        if b"bad" in given:
            raise KeyError(given)

    assert shortened(check, b"x" * 1000 + b"bad" + b"y" * 1000, KeyError) == b"bad"
    assert failure(check, b"good") is None
