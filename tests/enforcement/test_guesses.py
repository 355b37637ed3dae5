"""What was probably meant by a bad value."""

import pytest

from webhook.core import names, policy
from webhook.core.limits import Locks
from webhook.core.policy import ClusterPolicy
from webhook.enforcement import namespaces
from webhook.enforcement.namespaces import bad_values

LOCKED = ClusterPolicy(locks=Locks(allowed_audiences=frozenset({"vault"})))


def told(annotation: str, value: str, cluster: ClusterPolicy = LOCKED) -> str:
    """The text about a bad value; empty for a good one."""
    found = bad_values(policy.resolve_namespace(cluster, {annotation: value}))
    return found.get((annotation, value), "")


@pytest.mark.parametrize(
    ("annotation", "value", "meant"),
    [
        (names.INJECT, "true", "enabled"),
        (names.INJECT, "Enabled", "enabled"),
        (names.INJECT, " enabled", "enabled"),
        (names.INJECT, '"enabled"', "enabled"),
        (names.INJECT, "enabeld", "enabled"),
        (names.AUTOMOUNT, "false", "disabled"),
        (names.AUTOMOUNT, "disable", "disabled"),
        (names.POD_OVERRIDES, "deny", "denied"),
        (names.POD_OVERRIDES, "true", "allowed"),
        (names.ENFORCE, "Bound", "bound"),
        (names.ENFORCE, "restricted", "strict"),
        (names.WARN, "baseline", "bound"),
        (names.AUDIT, "privileged", "off"),
        (names.ENFORCE_VERSION, "1", "v1"),
        (names.WARN_VERSION, "Latest", "latest"),
        (names.MAX_EXPIRATION_SECONDS, "1h", "3600"),
        (names.MAX_EXPIRATION_SECONDS, "1h30m", "5400"),
        (names.MAX_EXPIRATION_SECONDS, "1d", "86400"),
        (names.EXPIRATION_SECONDS, "15 min", "900"),
        (names.EXPIRATION_SECONDS, "3600s", "3600"),
        (names.EXPIRATION_SECONDS, "86,400", "86400"),
        (names.AUDIENCE, " vault", "vault"),
        (names.MOUNT_PATH, "var/run//tokens/./x", "/var/run/tokens/x"),
    ],
)
def test_what_was_meant_is_offered(annotation: str, value: str, meant: str) -> None:
    assert told(annotation, value).endswith(f' (did you mean "{meant}"?)')
    assert not told(annotation, meant)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (names.INJECT, ""),
        (names.INJECT, "x" * 10_000),
        (names.INJECT, " " * 100 + "enabled"),
        (names.ENFORCE, "true"),
        (names.ENFORCE_VERSION, "v9"),
        (names.MAX_EXPIRATION_SECONDS, "5m"),  # below the shortest
        (names.MAX_EXPIRATION_SECONDS, "-3600"),
        (names.MAX_EXPIRATION_SECONDS, "٣٦٠٠"),
        (names.AUDIENCE, "other"),  # not one of the allowed ones
        (names.MOUNT_PATH, "/a/../b"),
        (names.MOUNT_PATH, "/" * 200_000),
        (names.TOKENS, "vault"),
        (names.ALLOWED_AUDIENCES, "vault, https://a b"),
    ],
)
def test_without_a_close_value_only_the_problem_is_told(annotation: str, value: str) -> None:
    text = told(annotation, value)
    assert "must be" in text
    assert "did you mean" not in text
    assert len(text) <= names.MAX_WARNING_CHARS


@pytest.mark.parametrize("value", ["60", "3607", "99999999999", "600"])
def test_a_lifetime_that_becomes_another_one_is_no_bad_value(value: str) -> None:
    assert not told(names.EXPIRATION_SECONDS, value)


def test_every_annotation_of_a_namespace_is_covered() -> None:
    levels = {name for name in names.FOR_NAMESPACES if name not in namespaces._PARSERS}
    assert levels == {
        names.ENFORCE,
        names.WARN,
        names.AUDIT,
        names.ENFORCE_VERSION,
        names.WARN_VERSION,
        names.AUDIT_VERSION,
    }
    for name in names.FOR_NAMESPACES:
        assert told(name, "\0" * 70_000), name
