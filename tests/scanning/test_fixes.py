"""Patches for the next step of a namespace, and for service accounts."""

from typing import Any

import msgspec
import pytest

from tests.support.scanning import A_SPACE, a_report
from webhook.core import names
from webhook.scanning.fixes import fixes
from webhook.scanning.report import ServiceAccount, Unread


def step(**changed: Any) -> dict[str, str]:
    """The annotations of the patch of a namespace."""
    space = msgspec.structs.replace(A_SPACE, **changed)
    found = fixes(a_report(namespaces=(space,)))
    return dict(found[0].patches[0][1]["metadata"]["annotations"]) if found else {}


REPLACE = {names.INJECT: "replace", names.AUTOMOUNT: "disabled"}
BOUND, STRICT = {names.ENFORCE: "bound"}, {names.ENFORCE: "strict"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, REPLACE),
        ({"covered": False}, {}),
        ({"inject": ""}, {}),
        ({"inject": "enabled"}, {}),
        ({"inject": "enabled", "after_restart": "bound"}, BOUND),
        ({"inject": "replace", "after_restart": "strict"}, STRICT),
        ({"inject": "replace", "after_restart": "strict", "enforce": "bound"}, STRICT),
        ({"inject": "replace", "after_restart": "strict", "enforce": "strict"}, {}),
        ({"inject": "replace", "after_restart": "bound", "enforce": "bound"}, {}),
        ({"inject": "replace", "after_restart": "bound", "enforce": "strict"}, {}),
        ({"inject": "disabled", "year_long": 0, "after_restart": "bound"}, BOUND),
        ({"inject": "disabled", "year_long": 0, "after_restart": "none"}, {}),
        ({"inject": "enabled", "after_restart": "strict", "tokens": 0}, {}),
        ({"name": "$(reboot)"}, {}),
        ({"name": "../x"}, {}),
    ],
)
def test_the_next_step_of_a_namespace(changed: Any, expected: dict[str, str]) -> None:
    assert step(**changed) == expected


def test_nothing_is_enforced_where_not_everything_was_seen() -> None:
    space = msgspec.structs.replace(A_SPACE, inject="replace", after_restart="strict")
    assert fixes(a_report(namespaces=(space,), complete=False)) == ()
    unread = (Unread("secrets", "needs list on secrets"),)
    assert fixes(a_report(namespaces=(space,), unread=unread)) == ()
    assert len(fixes(a_report(namespaces=(space,)))) == 1


def test_service_accounts_stop_to_automount() -> None:
    accounts = (
        ServiceAccount("shop", "idle", 0, (), True),
        ServiceAccount("shop", "quiet", 0, ("s",), False),
        ServiceAccount("kube-system", "idle", 0, (), True),
        ServiceAccount("shop", "a b", 0, (), True),
    )
    (fix,) = fixes(a_report(namespaces=(), service_accounts=accounts))
    ((remark, patch),) = fix.patches
    assert patch == {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "idle", "namespace": "shop"},
        "automountServiceAccountToken": False,
    }
    assert remark.startswith("serviceaccount/idle: ")
