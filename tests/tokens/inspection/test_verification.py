"""Whether a token that somebody looks at is valid: who is asked, and what their answer means."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.claims import a_token
from tests.support.reviewing import Reviewer
from webhook.core.claims import claims_of
from webhook.tokens.errors import NotVerified
from webhook.tokens.inspection.verification import (
    CLUSTER,
    OWN_AUDIENCE,
    FileCheck,
    ReviewCheck,
    Verification,
    audiences_to_check,
    key_check,
)

LEGACY = a_token(
    {
        "iss": "kubernetes/serviceaccount",
        "sub": "system:serviceaccount:shop:cart",
        "kubernetes.io/serviceaccount/namespace": "shop",
        "kubernetes.io/serviceaccount/service-account.name": "cart",
    }
)


@pytest.fixture
def issuer() -> Iterator[Reviewer]:
    with Reviewer() as running:
        yield running


@pytest.fixture
def keys(issuer: Reviewer, tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [key.public() for key in issuer.keys]}))
    return path


def test_the_api_server_knows_what_keys_do_not(issuer: Reviewer) -> None:
    token = issuer.token(aud=["vault"], jti="1")
    claims = claims_of(token)
    review = ReviewCheck(issuer.api())
    signature = key_check(CLUSTER, issuer.api(), None, issuer.clock())
    assert review.verify(token, claims, "vault").reason is None
    assert review.verify(token, claims, "other").reason == "wrong-audience"
    issuer.gone.add("2")
    gone = issuer.token(aud=["vault"], jti="2")
    assert review.verify(gone, claims, "vault").reason == "revoked"
    assert signature.verify(gone, claims, "vault").reason is None
    assert signature.verify(gone, claims, "other").reason == "wrong-audience"
    forged = gone.rpartition(".")[0] + "." + token.rpartition(".")[2]
    assert signature.verify(forged, claims, "vault").reason == "bad-signature"


def answer(authenticated: bool, username: str = "", error: str = "") -> Any:
    status = {"authenticated": authenticated, "user": {"username": username}, "error": error}
    return lambda _: (201, {"status": status}, {})


def test_a_legacy_token_is_reviewed_for_the_api_server_itself(issuer: Reviewer) -> None:
    claims = claims_of(LEGACY)
    assert audiences_to_check(claims, []) == [OWN_AUDIENCE]
    check = ReviewCheck(issuer.api())
    issuer.answers.append(answer(True, claims.subject))
    assert check.verify(LEGACY, claims, OWN_AUDIENCE).reason is None
    issuer.answers.append(answer(True, "somebody"))
    assert check.verify(LEGACY, claims, OWN_AUDIENCE).reason == "not-a-service-account"
    issuer.answers.append(answer(False, error="Token has been invalidated"))
    assert check.verify(LEGACY, claims, OWN_AUDIENCE).reason == "revoked"
    issuer.answers.append(403)
    with pytest.raises(NotVerified, match="TokenReview: 403: .*system:auth-delegator"):
        check.verify(LEGACY, claims, OWN_AUDIENCE)
    issuer.answers.append(lambda _: (201, {"status": 7}, {}))
    with pytest.raises(NotVerified, match="no usable answer"):
        check.verify(LEGACY, claims, OWN_AUDIENCE)


def test_keys_in_a_file_are_those_of_any_issuer(issuer: Reviewer, keys: Path) -> None:
    check = key_check(str(keys), None, None, issuer.clock())
    for name in ("https://a", "https://b"):
        token = issuer.token(aud=["vault"], iss=name)
        assert check.verify(token, claims_of(token), "vault").reason is None
    other = issuer.token(aud=["vault"])
    assert check.verify(other, claims_of(other), "x").reason == "wrong-audience"
    assert check.verify(a_token({}), claims_of(a_token({})), "x").reason == "malformed"
    expired = issuer.token(exp=5)
    assert check.verify(expired, claims_of(expired), "vault").reason == "wrong-audience"
    assert check.verify(LEGACY, claims_of(LEGACY), OWN_AUDIENCE).reason == "wrong-audience"


@pytest.mark.parametrize("content", ["", "{}", '{"keys": []}', "x" * 2_000_000])
def test_a_file_without_keys_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys").write_text(content)
    with pytest.raises(ValueError, match="must be the keys of an issuer"):
        FileCheck(tmp_path / "keys", 0.0)
    with pytest.raises(ValueError, match="must be a readable file: No such file"):
        FileCheck(tmp_path / "missing", 0.0)


def test_a_url_must_be_an_issuers() -> None:
    with pytest.raises(ValueError, match="must be an https URL"):
        key_check("http://issuer", None, None, 0.0)


def test_what_came_out_is_told_in_words() -> None:
    assert (
        Verification("the API server", "vault", None).text == "valid for vault, by the API server"
    )
    assert Verification("the API server", "", "expired").text == (
        "refused, by the API server: it has expired (expired)"
    )


def test_one_audience_of_the_token_is_as_good_as_any() -> None:
    claims = claims_of(a_token({"aud": ["a", "b"]}))
    assert audiences_to_check(claims, []) == ["a"]
    assert audiences_to_check(claims, ["x", "y"]) == ["x", "y"]
