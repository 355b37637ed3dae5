"""`boundtoken token request` beside `kubectl create token`, on the real API server."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.controlplane import build
from tests.controlplane.cluster import ControlPlane
from tests.support.builders import Json, a_bare_pod
from tests.support.cluster import life
from tests.support.processes import boundtoken
from tests.support.waiting import wait_for

SHOP = "token-request"
VAULT = "https://vault.example.com"
YEAR = 31_536_000


@pytest.fixture(scope="module")
def shop(plane: ControlPlane) -> Iterator[ControlPlane]:
    """A namespace with an account, a Secret and a pod, all called cart."""
    plane.kubectl("create", "namespace", SHOP)
    plane.kubectl("create", "serviceaccount", "cart", "-n", SHOP)
    plane.kubectl("create", "secret", "generic", "cart", "-n", SHOP)
    wait_for(lambda: "default" in plane.kubectl("get", "sa", "-n", SHOP, "-o", "name"))
    create_pod(plane, "cart")
    yield plane
    plane.kubectl("delete", "namespace", SHOP, "--wait=false")


def create_pod(plane: ControlPlane, name: str) -> None:
    pod: Json = a_bare_pod()
    pod["metadata"]["name"] = name
    pod["spec"]["serviceAccountName"] = "cart"
    plane.call("POST", f"/api/v1/namespaces/{SHOP}/pods", pod)


def ours(
    plane: ControlPlane, *arguments: str, user: str = "admin"
) -> subprocess.CompletedProcess[str]:
    return boundtoken("token", "request", *arguments, kubeconfig=plane.kubeconfig(user))


def kubectl(
    plane: ControlPlane, *arguments: str, user: str = "admin"
) -> subprocess.CompletedProcess[str]:
    command = [str(build.binary()), "kubectl", f"--kubeconfig={plane.kubeconfig(user)}"]
    return subprocess.run(
        [*command, "create", "token", *arguments], capture_output=True, text=True, check=False
    )


REFUSED = [
    "",
    "a b",
    "''",
    "nobody",
    "NOBODY",
    "cart --duration 5m",
    "cart --duration 599s",
    "cart --duration 2562047h",
    "cart --duration 4294967297s",
    "cart --duration 10",
    "cart --duration 1d",
    "cart --duration x",
    "cart --duration ''",
    "cart --duration=-5m",
    "cart --duration 1500ms",
    "cart --audience ''",
    "cart --bound-object-kind Job --bound-object-name x",
    "cart --bound-object-kind pod --bound-object-name x",
    "cart --bound-object-kind Pod",
    "cart --bound-object-name x",
    "cart --bound-object-uid x",
    "cart --bound-object-kind Secret --bound-object-name nothing",
    "cart --bound-object-kind Pod --bound-object-name nothing",
    "cart --bound-object-kind Node --bound-object-name nothing",
    "cart --bound-object-kind Secret --bound-object-name cart --bound-object-uid wrong",
    "default --bound-object-kind Pod --bound-object-name cart",
    "a/b",
    "a%b",
    "..",
    "cart -n no-such-namespace",
]


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_is_refused_is_refused_in_the_words_of_kubectl(
    shop: ControlPlane, arguments: str
) -> None:
    given = ["" if word == "''" else word for word in arguments.split()]
    given += [] if "-n" in given else ["-n", SHOP]
    model, result = kubectl(shop, *given), ours(shop, *given)
    assert (model.returncode, model.stdout, result.stdout) == (1, "", "")
    (expected, *hint) = model.stderr.splitlines()
    assert hint == [] or hint[0].startswith("See 'kubectl create token -")
    assert result.stderr.startswith(f"boundtoken: {expected.removeprefix('error: ')}")
    is_of_the_server = "not found" in expected or "invalid: " in expected or "UID" in expected
    if is_of_the_server or "cannot bind" in expected:
        assert result.returncode == 3
    else:
        assert result.returncode == 2


def test_who_may_not_hears_it_as_from_kubectl_and_which_role_helps(shop: ControlPlane) -> None:
    model = kubectl(shop, "cart", "-n", SHOP, user="editor")
    result = ours(shop, "cart", "-n", SHOP, user="editor")
    message = model.stderr.strip().removeprefix("error: ")
    assert result.stderr.startswith(f"boundtoken: {message}; needs a Role in namespace {SHOP}")
    assert result.returncode == 3


def test_the_object_has_the_shape_of_kubectls(shop: ControlPlane) -> None:
    def shape(value: Json) -> object:
        if isinstance(value, dict):
            return {name: shape(inner) for name, inner in value.items()}
        return type(value)

    given = ["cart", "-n", SHOP, "--duration", "20m", "--audience", "b", "--audience", "a"]
    given += ["--bound-object-kind", "Secret", "--bound-object-name", "cart", "-o", "json"]
    expected = json.loads(kubectl(shop, *given).stdout)
    found = json.loads(ours(shop, *given).stdout)
    assert shape(found) == shape(expected)
    assert found["spec"] == expected["spec"]
    assert found["metadata"]["uid"] == expected["metadata"]["uid"]
    assert (
        "managedFields"
        in json.loads(ours(shop, *given, "--show-managed-fields").stdout)["metadata"]
    )


def test_a_token_is_for_its_audiences_lives_as_requested_and_dies_with_its_object(
    shop: ControlPlane,
) -> None:
    shop.kubectl("create", "secret", "generic", "short", "-n", SHOP)
    flags = ["--audience", VAULT, "--audience", "aws", "--duration", "30m"]
    flags += ["--bound-object-kind", "Secret", "--bound-object-name", "short"]
    result = ours(shop, "cart", "-n", SHOP, *flags)
    assert (result.returncode, result.stderr) == (0, "")
    token = result.stdout
    assert life(token) == 1800
    for audience, is_valid in ((VAULT, True), ("aws", True), (None, False)):
        assert bool(shop.review_token(token, audience).get("authenticated")) is is_valid
    shop.kubectl("delete", "secret", "short", "-n", SHOP)
    wait_for(lambda: not shop.review_token(token, VAULT).get("authenticated"), 30)


def test_no_duration_and_a_duration_of_0_are_the_api_servers_default(shop: ControlPlane) -> None:
    for flags in ([], ["--duration", "0s"], ["--duration", "0"]):
        result = ours(shop, "cart", "-n", SHOP, *flags)
        assert (life(result.stdout), result.stderr) == (3600, "")


def test_for_a_pod_the_token_is_of_its_account_and_dies_with_it(shop: ControlPlane) -> None:
    create_pod(shop, "short")
    result = ours(shop, "--for-pod", "pod/short", "-n", SHOP)
    assert (result.returncode, result.stderr) == (0, "")
    user = shop.review_token(result.stdout)["user"]
    assert user["username"] == f"system:serviceaccount:{SHOP}:cart"
    assert user["extra"]["authentication.kubernetes.io/pod-name"] == ["short"]
    shop.kubectl("delete", "pod", "short", "-n", SHOP, "--now")
    wait_for(lambda: not shop.review_token(result.stdout).get("authenticated"), 30)
    gone = ours(shop, "--for-pod", "short", "-n", SHOP)
    assert (gone.returncode, gone.stderr) == (3, 'boundtoken: pods "short" not found\n')


def test_the_year_of_3607_seconds_is_warned_of(shop: ControlPlane) -> None:
    result = ours(shop, "--for-pod", "cart", "-n", SHOP, "--duration", "3607s")
    assert life(result.stdout) == YEAR
    assert result.stderr == (
        f"Warning: token of {SHOP}/cart: 3607 s were requested, it lives {YEAR} s: "
        "the API server extends 3607 s; request 3600\n"
    )
