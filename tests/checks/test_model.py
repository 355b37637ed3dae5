"""What counts more than what, and which right covers which."""

import pytest

from webhook.checks.facts import Right, Server
from webhook.checks.model import (
    MAX_TEXT_CHARS,
    Check,
    Finding,
    NotSeen,
    Result,
    Unseen,
    failed,
    passed,
    run,
    status_of,
    there,
    warning,
    worst,
)
from webhook.checks.rights import covers
from webhook.checks.server import api_version

UNKNOWN = Finding("unknown", "not seen")


def test_what_failed_counts_more_than_what_is_unknown_and_that_more_than_a_warning() -> None:
    failure, hint = failed("broken", "mend it"), warning("odd", "look")
    assert worst(hint, UNKNOWN, failure, passed()) == failure
    assert worst(hint, UNKNOWN, passed()) == UNKNOWN
    assert worst(hint, passed()) == hint
    assert worst(passed(), text="fine") == passed("fine")
    assert worst(failure, failed("also", "mend it")) == failed("broken; also", "mend it")
    assert worst(UNKNOWN, UNKNOWN) == UNKNOWN
    findings = (hint, UNKNOWN, failure)
    results = [Result("a", "g", "s", "c", finding) for finding in findings]
    assert status_of(results) == "failed"
    assert status_of(results[:2]) == "unknown"
    assert status_of(results[:1]) == "warning"
    assert status_of([]) == "passed"


def test_what_a_check_needs_and_was_not_seen_makes_it_unknown() -> None:
    def judge(part: str | Unseen | None) -> Finding:
        return passed(there(part, "service/x"))

    check = Check("a", "g", "s", "c", judge)
    parts = ("seen", Unseen("needs get on x"), None)
    found = [run((check,), part)[0].finding for part in parts]
    assert found == [
        passed("seen"),
        Finding("unknown", "needs get on x"),
        Finding("unknown", "service/x is missing"),
    ]
    with pytest.raises(NotSeen, match="service/x is missing"):
        there(None, "service/x")


def test_a_text_has_an_end() -> None:
    check: Check[None] = Check("a", "g", "s", "c", lambda _: failed("x" * 100_000))
    assert len(run((check,), None)[0].finding.text) == MAX_TEXT_CHARS


@pytest.mark.parametrize(
    ("granted", "holds"),
    [
        (Right("get", "", "secrets", "ca", "own"), True),
        (Right("*", "*", "*"), True),
        (Right("get", "", "secrets"), True),
        (Right("get", "", "secrets", namespace="own"), True),
        (Right("list", "", "secrets"), False),
        (Right("get", "apps", "secrets"), False),
        (Right("get", "", "configmaps"), False),
        (Right("get", "", "secrets", "another"), False),
        (Right("get", "", "secrets", namespace="another"), False),
    ],
    ids=str,
)
def test_a_right_covers_another_as_rbac_evaluates_it(granted: Right, *, holds: bool) -> None:
    assert covers(granted, Right("get", "", "secrets", "ca", "own")) is holds


def test_a_name_in_a_rule_does_not_cover_every_object() -> None:
    assert not covers(Right("get", "", "secrets", "ca"), Right("get", "", "secrets"))
    assert not covers(Right("get", "", "secrets", namespace="own"), Right("get", "", "secrets"))


@pytest.mark.parametrize(
    ("minor", "status"), [((1, 29), "failed"), ((1, 30), "passed"), ((2, 0), "passed")]
)
def test_the_oldest_release_is_supported(minor: tuple[int, int], status: str) -> None:
    assert api_version(Server("v", minor, 0.0)).status == status
