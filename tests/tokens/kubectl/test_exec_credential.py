"""What a client says to its exec plugin, and what it is answered."""

import json

import pytest

from tests.support.builders import Json
from webhook.cluster.credentials import ClusterAddress
from webhook.tokens.kubectl.create import NewToken
from webhook.tokens.kubectl.exec_credential import (
    API_VERSION,
    ExecCluster,
    cluster_of,
    exec_credential,
    timestamp,
)
from webhook.tokens.kubectl.kubeconfig import exec_user, kubeconfig

INFO: Json = {"apiVersion": API_VERSION, "kind": "ExecCredential", "spec": {"interactive": False}}
CLUSTER = {"server": "https://a", "certificate-authority-data": "Q0E=", "config": {"x": 1}}


def test_the_cluster_is_read_where_there_is_one() -> None:
    assert cluster_of(json.dumps(INFO)) is None
    told = INFO | {"spec": {"cluster": CLUSTER, "response": {}}}
    assert cluster_of(json.dumps(told)) == ExecCluster("https://a", "Q0E=")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no JSON", "must be the JSON of an ExecCredential"),
        ("[]", "must be the JSON of an ExecCredential"),
        ("[" * 100_000, "must be the JSON of an ExecCredential"),
        ('{"kind": 1}', "must be the JSON of an ExecCredential"),
        ("{}", 'kind must be ExecCredential; it is ""'),
        (
            json.dumps(INFO | {"apiVersion": "client.authentication.k8s.io/v1beta1"}),
            f'apiVersion must be {API_VERSION}; it is "client.authentication.k8s.io/v1beta1"',
        ),
        (" " * (5 << 20), "must have at most"),
    ],
)
def test_what_is_no_exec_info_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="KUBERNETES_EXEC_INFO: ") as refused:
        cluster_of(text)
    assert message in str(refused.value)


def test_a_client_is_answered_with_token_and_time() -> None:
    assert exec_credential("a.b.c", 1_800_000_000.9) == {
        "apiVersion": API_VERSION,
        "kind": "ExecCredential",
        "spec": {"interactive": False},
        "status": {"token": "a.b.c", "expirationTimestamp": "2027-01-15T08:00:00Z"},
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-5, "1970-01-01T00:00:00Z"),
        (1e300, "9999-12-31T23:59:59Z"),
        (float("inf"), "9999-12-31T23:59:59Z"),
    ],
)
def test_a_time_beyond_the_calendar_is_its_end(seconds: float, text: str) -> None:
    assert timestamp(seconds) == text


CART = NewToken(namespace="shop", account="cart")


def test_a_kubeconfig_has_names_that_can_be_merged_and_the_cluster_in_it() -> None:
    address = ClusterAddress("prod", "https://a:6443", b"CA", "name", "http://proxy")
    made = kubeconfig(address, CART, {"token": "x"})
    assert made["clusters"] == [
        {
            "name": "prod",
            "cluster": {
                "server": "https://a:6443",
                "certificate-authority-data": "Q0E=",
                "tls-server-name": "name",
                "proxy-url": "http://proxy",
            },
        }
    ]
    name = "shop/cart@prod"
    assert made["users"] == [{"name": name, "user": {"token": "x"}}]
    context = {"cluster": "prod", "user": name, "namespace": "shop"}
    assert made["contexts"] == [{"name": name, "context": context}]
    assert made["current-context"] == name


def test_a_cluster_that_is_not_verified_stays_so_and_has_no_ca() -> None:
    address = ClusterAddress("prod", "https://a", b"CA", is_verified=False)
    (cluster,) = kubeconfig(address, CART, {})["clusters"]
    assert cluster["cluster"] == {"server": "https://a", "insecure-skip-tls-verify": True}


def test_an_exec_user_is_never_interactive_and_hears_which_cluster_it_is() -> None:
    plugin = exec_user(["/bin/boundtoken", "token", "x"])["exec"]
    assert plugin.pop("installHint").startswith("boundtoken is not where")
    assert plugin == {
        "apiVersion": API_VERSION,
        "command": "/bin/boundtoken",
        "args": ["token", "x"],
        "interactiveMode": "Never",
        "provideClusterInfo": True,
    }
