"""What is new and what is gone between two scans."""

from typing import Any

import msgspec
import pytest

from tests.support.scanning import A_FINDING, A_TOKEN, a_report
from webhook.scanning.comparison import since
from webhook.scanning.report import Minter, Secret, ServiceAccount


def test_nothing_is_new_or_gone_between_a_scan_and_itself() -> None:
    found = since(a_report(), a_report(time="later"))
    assert (found.tokens, found.findings, found.time) == ((), (), "later")
    assert found.since is not None
    assert (found.since.tokens, found.since.findings) == ((), ())
    assert found.since.time == "2026-11-29T10:00:00Z"


def test_a_new_name_of_a_pod_and_another_count_are_no_change() -> None:
    renamed = msgspec.structs.replace(A_TOKEN, object="pod/cart-2")
    counted = msgspec.structs.replace(A_FINDING, message="another")
    found = since(a_report(), a_report(tokens=(renamed, A_TOKEN), findings=(counted,)))
    assert (found.tokens, found.findings) == ((), ())


@pytest.mark.parametrize(
    "changed",
    [
        {"lifetime_seconds": 3600},
        {"audience": "vault"},
        {"owner": "deployment/other"},
        {"namespace": "other"},
        {"volume": "own"},
        {"source": "boundtoken"},
    ],
)
def test_another_token_is_new_and_the_old_one_gone(changed: dict[str, Any]) -> None:
    other = msgspec.structs.replace(A_TOKEN, **changed)
    found = since(a_report(), a_report(tokens=(other,)))
    assert found.since is not None
    assert (found.tokens, found.since.tokens) == ((other,), (A_TOKEN,))


def test_a_bare_pod_is_compared_by_its_name() -> None:
    bare = msgspec.structs.replace(A_TOKEN, owner="")
    other = msgspec.structs.replace(bare, object="pod/other")
    found = since(a_report(tokens=(bare,)), a_report(tokens=(other,)))
    assert found.tokens == (other,)


def test_everything_else_is_compared_as_well() -> None:
    secret, minter = (
        Secret("shop", "old", "x", "", ()),
        Minter("*", "User x", ("create pods",), "b"),
    )
    account = ServiceAccount("shop", "x", 0, (), True)
    extra = {"secrets": (secret,), "minters": (minter,), "service_accounts": (account,)}
    new, gone = since(a_report(), a_report(**extra)), since(a_report(**extra), a_report())
    assert (new.secrets, new.minters, new.service_accounts) == tuple(extra.values())
    assert gone.since is not None
    assert (gone.since.secrets, gone.since.minters, gone.since.service_accounts) == tuple(extra.values())  # fmt: skip
    used = msgspec.structs.replace(secret, last_used="2026-01-01")
    assert since(a_report(**extra), a_report(**{**extra, "secrets": (used,)})).secrets == ()
