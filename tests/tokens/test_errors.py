"""The exceptions of the library."""

import pickle

import pytest

from webhook.tokens import Expired, InvalidToken, NoToken, NotVerified, RequestRefused, Unreadable


@pytest.mark.parametrize(
    "problem",
    [
        NoToken("no", 7.0),
        RequestRefused("no", 403, 7.0),
        Expired("no"),
        Unreadable("no"),
        InvalidToken("expired"),
        NotVerified("no", 7.0),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_an_exception_can_be_sent_to_another_process(problem: Exception) -> None:
    again = pickle.loads(pickle.dumps(problem))
    assert (type(again), str(again), vars(again)) == (type(problem), str(problem), vars(problem))
