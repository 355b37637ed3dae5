"""The token that the node gets for a pod, and what the API server says of it."""

import pytest

from tests.controlplane.cluster import ISSUER, StatusError
from tests.controlplane.volumes import node_token
from tests.support.builders import a_bare_pod
from tests.support.cluster import Cluster, life
from tests.support.waiting import wait_for
from webhook.core import names
from webhook.core.claims import audiences_of

YEAR = 31_536_000
VAULT = "https://vault.example.com"


@pytest.mark.parametrize(
    ("seconds", "lives"), [("600", 600), ("1800", 1800), ("86400", 86400), ("3607", 3600)]
)
def test_a_token_lives_as_long_as_was_configured(
    cluster: Cluster, seconds: str, lives: int
) -> None:
    pod = cluster.run(
        cluster.namespace(inject="enabled", automount="disabled", expiration_seconds=seconds)
    )
    assert {name: life(token) for name, token in cluster.tokens(pod).items()} == {
        "boundtoken/token": lives
    }


def test_beside_it_an_untouched_pods_token_lives_a_year(cluster: Cluster) -> None:
    (token,) = cluster.tokens(cluster.run(cluster.namespace())).values()
    assert life(token) == YEAR


def test_the_api_server_accepts_a_token_for_its_audience_only_and_while_its_pod_lives(
    cluster: Cluster,
) -> None:
    pod = cluster.run(
        cluster.namespace(
            inject="enabled", automount="disabled", audience=VAULT, expiration_seconds="1800"
        )
    )
    (token,) = cluster.tokens(pod).values()
    plane = cluster.plane
    seen = plane.review_token(token, VAULT)
    assert (seen["authenticated"], seen["audiences"]) == (True, [VAULT])
    assert seen["user"]["extra"]["authentication.kubernetes.io/pod-name"] == [
        pod["metadata"]["name"]
    ]
    assert not plane.review_token(token, "https://other.example.com").get("authenticated")
    assert not plane.review_token(token).get("authenticated")
    with pytest.raises(StatusError) as refused:
        plane.call("GET", "/api/v1/namespaces/default", token=token)
    assert refused.value.code == 401
    cluster.delete(pod)
    wait_for(lambda: not plane.review_token(token, VAULT).get("authenticated"), 30)


def test_a_token_for_the_api_server_itself_is_accepted_by_it_and_dies_with_its_pod(
    cluster: Cluster,
) -> None:
    pod = cluster.run(cluster.namespace(inject="enabled"))
    (token,) = cluster.tokens(pod).values()
    assert audiences_of(token) == (ISSUER,)
    with pytest.raises(StatusError) as refused:  # known, and allowed nothing
        cluster.plane.call("GET", "/api/v1/namespaces/default", token=token)
    assert refused.value.code == 403
    cluster.delete(pod)
    wait_for(lambda: not cluster.plane.review_token(token).get("authenticated"), 30)


def test_each_of_several_tokens_is_for_its_own_audience_and_lifetime(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled", expiration_seconds="1200")
    annotations = {names.TOKENS: f"vault={VAULT};900, aws=sts.amazonaws.com"}
    pod = cluster.run(namespace, a_bare_pod(annotations=annotations))
    tokens = cluster.tokens(pod)
    assert {name: life(token) for name, token in tokens.items()} == {
        "boundtoken/token": 1200,
        "boundtoken-tokens/vault": 900,
        "boundtoken-tokens/aws": 1200,
    }
    audiences = {
        "boundtoken/token": ISSUER,
        "boundtoken-tokens/vault": VAULT,
        "boundtoken-tokens/aws": "sts.amazonaws.com",
    }
    for name, token in tokens.items():
        accepted = [
            audience
            for audience in audiences.values()
            if cluster.plane.review_token(token, audience).get("authenticated")
        ]
        assert accepted == [audiences[name]]


def test_an_audience_that_the_pod_does_not_declare_is_refused_to_the_node(cluster: Cluster) -> None:
    pod = cluster.run(cluster.namespace(inject="enabled", automount="disabled", audience=VAULT))
    for audience in ("https://other.example.com", None):
        with pytest.raises(StatusError) as refused:
            node_token(cluster.plane, pod, {"audience": audience})
        assert refused.value.code == 403
