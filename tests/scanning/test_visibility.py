"""Two scans with other rights or another selection: what one could not have seen is neither new nor
gone.
"""

from typing import Any

import msgspec
import pytest

from tests.support.scanning import A_FINDING, A_SPACE, A_TOKEN, a_report
from webhook.scanning.comparison import since
from webhook.scanning.report import (
    Incomparable,
    Minter,
    Report,
    Secret,
    Selection,
    ServiceAccount,
    Token,
    Unread,
)

EMPTY: Any = {"tokens": (), "findings": ()}
LEGACY = msgspec.structs.replace(A_TOKEN, source="legacy-secret", secret="old", volume="old")
TEMPLATE = msgspec.structs.replace(A_TOKEN, object="deployment/cart", owner="")
CSI = msgspec.structs.replace(A_TOKEN, source="csi")
SECRET = Secret("shop", "old", "x", "", ())
MINTER = Minter("*", "User x", ("create pods",), "ClusterRoleBinding b")
OWN_MINTER = Minter("shop", "User x", ("create pods",), "RoleBinding shop/b")
ACCOUNT = ServiceAccount("shop", "x", 0, (), True)


def unread(*what: str) -> dict[str, Any]:
    return {"unread": tuple(Unread(one, "needs a right") for one in what)}


def selected(**given: Any) -> dict[str, Any]:
    return {"selection": Selection(**given)}


def both_ways(narrow: dict[str, Any], **rows: Any) -> list[tuple[int, int, str]]:
    """Of a narrow scan without the rows and a whole one with them: how many rows are told to be new
    and gone, and why others are not.
    """
    found = []
    lacking, having = a_report(**EMPTY, **narrow), a_report(**{**EMPTY, **rows})
    for report in (since(lacking, having), since(having, lacking)):
        gone = report.since
        assert gone is not None
        told = sum(len(getattr(of, name)) for of in (report, gone) for name in rows)
        (why,) = {one.why for one in gone.not_comparable} or {""}
        found.append((told, sum(one.count for one in gone.not_comparable), why))
    return found


@pytest.mark.parametrize(
    ("narrow", "rows", "why"),
    [
        (unread("secrets"), {"tokens": (LEGACY,)}, "secrets could not be read"),
        (unread("secrets in shop"), {"tokens": (LEGACY,)}, "secrets could not be read"),
        (unread("secrets"), {"secrets": (SECRET,)}, "secrets could not be read"),
        (unread("pods"), {"tokens": (A_TOKEN,)}, "pods could not be read"),
        (unread("pods"), {"findings": (A_FINDING,)}, "pods could not be read"),
        (unread("more pods"), {"tokens": (A_TOKEN,)}, "pods could not be read"),
        (unread("deployments"), {"tokens": (TEMPLATE,)}, "deployments could not be read"),
        (unread("deployments"), {"findings": (A_FINDING,)}, "deployments could not be read"),
        (unread("namespaces/shop"), {"tokens": (TEMPLATE,)}, "namespaces could not be read"),
        (unread("csidrivers"), {"tokens": (CSI,)}, "csidrivers could not be read"),
        (unread("clusterrolebindings"), {"minters": (MINTER,)}, "clusterrolebindings could not be read"),
        (unread("clusterrole/x"), {"minters": (MINTER,)}, "clusterrole could not be read"),
        (unread("roles in shop"), {"minters": (OWN_MINTER,)}, "roles could not be read"),
        (unread("cronjobs"), {"service_accounts": (ACCOUNT,)}, "cronjobs could not be read"),
        (selected(namespaces=("other",)), {"tokens": (A_TOKEN,)}, "-n leaves the namespace out"),
        (selected(namespaces=("other",)), {"secrets": (SECRET,)}, "-n leaves the namespace out"),
        (selected(selector="a=b"), {"tokens": (A_TOKEN,)}, "-l may leave it out"),
        (selected(selector="a=b"), {"findings": (A_FINDING,)}, "-l may leave it out"),
        (selected(selector="a=b"), {"service_accounts": (ACCOUNT,)}, "-l may leave it out"),
        (selected(files=True), {"tokens": (A_TOKEN,)}, "only files were looked at"),
        ({"complete": False}, {"tokens": (A_TOKEN,)}, "the scan was interrupted"),
        ({"complete": False}, {"minters": (MINTER,)}, "the scan was interrupted"),
        (
            {**selected(namespace_selector="a=b"), "namespaces": ()},
            {"tokens": (A_TOKEN,)},
            "--namespace-selector leaves the namespace out",
        ),
    ],
)  # fmt: skip
def test_what_a_scan_could_not_see_is_not_compared(
    narrow: dict[str, Any], rows: dict[str, Any], why: str
) -> None:
    assert both_ways(narrow, **rows) == [(0, 1, f"{why} then"), (0, 1, f"{why} now")]


@pytest.mark.parametrize(
    ("narrow", "rows"),
    [
        (unread("secrets", "configmaps in x", "deployments"), {"tokens": (A_TOKEN,)}),
        (unread("secrets in other"), {"tokens": (LEGACY,), "secrets": (SECRET,)}),
        (unread("secrets"), {"findings": (A_FINDING,), "minters": (MINTER,)}),
        (unread("rolebindings in shop"), {"minters": (MINTER,)}),
        (selected(namespaces=("shop",)), {"tokens": (A_TOKEN,)}),
        (selected(namespaces=("other",)), {"minters": (MINTER,)}),
        (selected(selector="a=b"), {"secrets": (SECRET,), "minters": (MINTER,)}),
        ({**selected(namespace_selector="a"), "namespaces": (A_SPACE,)}, {"tokens": (A_TOKEN,)}),
        (selected(), {"tokens": (TEMPLATE,)}),
    ],
)
def test_what_both_could_have_seen_is_compared(
    narrow: dict[str, Any], rows: dict[str, Any]
) -> None:
    assert both_ways(narrow, **rows) == [(len(rows), 0, "")] * 2


ALIKE = [
    unread("pods", "secrets"),
    selected(selector="a=b"),
    {**selected(namespace_selector="a=b"), "namespaces": ()},
    selected(files=True),
    selected(namespaces=("shop",)),
]


@pytest.mark.parametrize("same", ALIKE)
def test_two_scans_of_one_kind_are_compared(same: dict[str, Any]) -> None:
    new = since(
        a_report(**EMPTY, **same), a_report(tokens=(LEGACY,), findings=(A_FINDING,), **same)
    )
    assert (len(new.tokens), len(new.findings)) == (1, 1)
    assert new.since is not None
    assert new.since.not_comparable == ()


def changed(**given: Any) -> Token:
    return msgspec.structs.replace(A_TOKEN, **given)


def test_what_is_judged_of_a_token_is_compared_where_both_saw_what_decides_it() -> None:
    before, now = a_report(), a_report(tokens=(changed(level="strict"),))
    assert len(since(before, now).tokens) == 1
    now = msgspec.structs.replace(now, **unread("configmaps in boundtoken-system"))
    found = since(before, now)
    assert found.since is not None
    assert (found.tokens, found.since.tokens) == ((), ())
    why = "configmaps could not be read now"
    assert found.since.not_comparable == (
        Incomparable("tokens", "new", "", 1, why),
        Incomparable("tokens", "gone", "", 1, why),
    )


def test_a_template_that_pods_hide_from_one_scan_is_not_compared() -> None:
    with_pods = a_report(tokens=(changed(source="boundtoken"),))
    with_templates = a_report(tokens=(TEMPLATE,), **unread("pods"))
    found = since(with_templates, with_pods)
    assert found.since is not None
    assert (found.tokens, found.since.tokens) == ((), ())
    assert len(found.since.not_comparable) == 2


def test_findings_are_counted_by_their_code() -> None:
    before: Report = a_report(**EMPTY, **unread("pods"))
    found = since(before, a_report()).since
    assert found is not None
    assert [(one.what, one.code, one.change) for one in found.not_comparable] == [
        ("tokens", "", "new"),
        ("findings", "year-long", "new"),
    ]


OURS, GIVEN = {"configuration": "11111111"}, {"configuration": "22222222", "configured": True}
STRICT = msgspec.structs.replace(A_FINDING, code="strict")
UNCOVERED = msgspec.structs.replace(A_FINDING, code="uncovered", object="")
UNREADABLE = msgspec.structs.replace(A_FINDING, code="unreadable")


@pytest.mark.parametrize("configurations", [(OURS, GIVEN), (GIVEN, OURS)])
@pytest.mark.parametrize(
    ("rows", "is_judged"),
    [
        ({"tokens": (TEMPLATE,)}, True),
        ({"tokens": (A_TOKEN,)}, False),
        ({"findings": (A_FINDING,)}, True),
        ({"findings": (STRICT,)}, True),
        ({"findings": (UNCOVERED,)}, True),
        ({"findings": (UNREADABLE,)}, False),
        ({"service_accounts": (ACCOUNT,)}, True),
        ({"secrets": (SECRET,)}, False),
        ({"minters": (MINTER,)}, False),
    ],
)
def test_what_another_configuration_makes_is_neither_new_nor_gone(
    configurations: tuple[dict[str, Any], ...], rows: dict[str, Any], *, is_judged: bool
) -> None:
    before, now = (selected(**one) for one in configurations)
    found = since(a_report(**EMPTY, **before), a_report(**{**EMPTY, **rows}, **now))
    told = sum(len(getattr(found, name)) for name in rows)
    assert found.since is not None
    when = "then" if before == selected(**GIVEN) else "now"
    why = f"it was another configuration, by --config or --webhook-namespace {when}"
    assert told == (not is_judged)
    assert [one.why for one in found.since.not_comparable] == [why] * is_judged


def test_a_token_that_is_judged_by_another_configuration_is_no_other_token() -> None:
    judged = msgspec.structs.replace(A_TOKEN, level="strict")
    before = a_report(tokens=(judged,), **selected(**OURS))
    found = since(before, a_report(tokens=(A_TOKEN,), **selected(**GIVEN)))
    assert found.since is not None
    assert (found.tokens, found.since.tokens, len(found.since.not_comparable)) == ((), (), 2)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (OURS, {"configuration": "33333333"}),  # changed in the cluster
        (GIVEN, GIVEN),
        ({"configuration": ""}, GIVEN),  # of an older release
    ],
)
def test_a_configuration_that_no_flag_changed_hides_nothing(
    before: dict[str, Any], now: dict[str, Any]
) -> None:
    found = since(a_report(**EMPTY, **selected(**before)), a_report(**selected(**now)))
    assert (len(found.tokens), len(found.findings)) == (1, 1)
