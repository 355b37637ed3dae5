"""What the bindings of the API server's policies must say, and what is told apart there."""

import pytest

from webhook import cluster_config
from webhook.core import names
from webhook.core.limits import Locks
from webhook.core.policy import ClusterPolicy, Exemptions
from webhook.enforcement.policies import bindings
from webhook.enforcement.policies.bindings import State

DEFAULT = bindings.annotations(ClusterPolicy())
OTHERS = bindings.annotations(ClusterPolicy(enforce_floor="bound"))


def test_the_default_configuration_says_what_a_missing_annotation_means() -> None:
    assert {
        name.removeprefix(names.DOMAIN): text
        for name, text in DEFAULT.items()
        if name != names.CONFIG_DIGEST
    } == {
        "enforce-floor": "off",
        "api-audiences": "",
        "excluded-namespaces": "boundtoken-system kube-node-lease kube-public kube-system",
        "exempt-namespaces": "",
        "exempt-usernames": "",
        "exempt-service-accounts": "",
        "exempt-runtime-classes": "",
        "token-requests": "off",
        "token-requests-max-expiration-seconds": "86400",
        "legacy-secrets": "off",
    }


def test_every_part_of_the_configuration_has_its_annotation() -> None:
    layer = ClusterPolicy(
        locks=Locks(max_expiration_seconds=1800, allowed_audiences=frozenset({"vault", "aws"})),
        excluded=frozenset({"cni"}),
        own_namespace="elsewhere",
        api_audiences=("b", "a"),
        enforce_floor="strict",
        enforce_floor_max_expiration_seconds=7200,
        exemptions=Exemptions(
            frozenset({"n"}), frozenset({"u"}), frozenset({"n/s"}), frozenset({"r"})
        ),
        token_requests="enforce",
        token_requests_max_expiration_seconds=1200,
        legacy_secrets="warn",
    )
    annotations = bindings.annotations(layer)
    del annotations[names.CONFIG_DIGEST]
    assert annotations == {
        names.ENFORCE_FLOOR: "strict",
        names.ENFORCE_FLOOR_MAX_EXPIRATION_SECONDS: "7200",
        names.MAX_EXPIRATION_SECONDS: "1800",
        names.ALLOWED_AUDIENCES: "aws vault",
        names.API_AUDIENCES: "a b",
        names.EXCLUDED_NAMESPACES: "cni elsewhere",
        names.EXEMPT_NAMESPACES: "n",
        names.EXEMPT_USERNAMES: "u",
        names.EXEMPT_SERVICE_ACCOUNTS: "n/s",
        names.EXEMPT_RUNTIME_CLASSES: "r",
        names.TOKEN_REQUESTS: "enforce",
        names.TOKEN_REQUESTS_MAX_EXPIRATION_SECONDS: "1200",
        names.LEGACY_SECRETS: "warn",
    }


def test_no_audience_allowed_is_told_from_every_audience_allowed() -> None:
    nobody = bindings.annotations(ClusterPolicy(locks=Locks(allowed_audiences=frozenset())))
    assert (nobody[names.ALLOWED_AUDIENCES], names.ALLOWED_AUDIENCES in DEFAULT) == ("", False)


@pytest.mark.parametrize(
    ("there", "state"),
    [
        (DEFAULT, "in-sync"),
        (OTHERS, "of-another"),
        ({}, "changed"),
        (dict.fromkeys(DEFAULT, ""), "changed"),
        ({**DEFAULT, names.ENFORCE_FLOOR: "bound"}, "changed"),
        ({**DEFAULT, names.CONFIG_DIGEST: "0" * 16}, "changed"),
        ({**DEFAULT, names.DOMAIN + "newer": "x"}, "changed"),
        ({name: text for name, text in DEFAULT.items() if name != names.API_AUDIENCES}, "changed"),
    ],
)
def test_what_somebody_changed_is_told_from_what_another_replica_wrote(
    there: dict[str, str], state: State
) -> None:
    assert bindings.state(there, DEFAULT) == state
    change = bindings.changes(there, DEFAULT)
    after = {name: text for name, text in {**there, **change}.items() if text is not None}
    assert bindings.state(after, DEFAULT) == "in-sync"


def test_the_last_good_configuration_counts_only_as_a_replica_wrote_it() -> None:
    text = "kind: Configuration\n# grün\n"
    written = bindings.annotations(ClusterPolicy(), text)
    assert bindings.last_good(written) == text
    assert bindings.last_good(bindings.annotations(ClusterPolicy())) == ""
    assert bindings.last_good({**written, names.CONFIGURATION: text + "x: y"}) == ""
    assert bindings.last_good({**written, names.ENFORCE_FLOOR: "strict"}) == ""
    assert bindings.last_good({}) == ""


def test_the_longest_configuration_fits_into_the_annotations_of_one_object() -> None:
    """Whatever is in the file stands there twice: as text and as settings."""
    head = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\napiAudiences: ["
    text = head + "é, " * ((cluster_config.MAX_BYTES - len(head) - 2) // 4) + "é]"
    configuration = cluster_config.parse(text)
    written = bindings.annotations(configuration.policy, configuration.text)
    assert sum(len(f"{name}{value}".encode()) for name, value in written.items()) < 200 << 10
