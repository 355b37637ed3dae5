"""`boundtoken version` beside an API server that a test plays."""

import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import Json
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.played import Played, playing
from tests.support.processes import boundtoken
from webhook import __version__

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
PODS = "/api/v1/namespaces/tokens/pods"
METRICS = f"{PODS}/a:8080/proxy/metrics"


def a_replica(name: str, image: str, phase: str = "Running") -> Json:
    sidecar = {"name": "proxy", "image": "mesh:9.9.9"}
    containers = [sidecar, {"name": "boundtoken", "image": image}]
    return {
        "metadata": {"name": name},
        "spec": {"containers": containers},
        "status": {"phase": phase},
    }


@pytest.fixture
def played() -> Iterator[Played]:
    service = {"namespace": "tokens", "name": "boundtoken", "path": "/mutate"}
    entry = {"name": "pods.boundtoken.dev", "clientConfig": {"service": service}}
    with playing() as api:
        api.objects = {
            "/version": {"gitVersion": "v1.33.1", "platform": "linux/amd64"},
            CONFIGURATIONS: [{"metadata": {"name": "boundtoken"}, "webhooks": [entry]}],
            PODS: [a_replica(name, f"boundtoken:{__version__}") for name in "ab"],
        }
        yield api


def version(played: Played, folder: Path, *flags: str) -> Any:
    """The JSON, with the exit code and standard error."""
    config = a_kubeconfig(folder / "config", played.server)
    result = boundtoken("version", "-o", "json", *flags, kubeconfig=config)
    return {**json.loads(result.stdout), "code": result.returncode, "stderr": result.stderr}


def test_client_server_and_replicas_are_printed(played: Played, tmp_path: Path) -> None:
    result = boundtoken("version", kubeconfig=a_kubeconfig(tmp_path / "config", played.server))
    assert (result.returncode, result.stderr) == (0, "")
    system = f"{platform.system()}/{platform.machine()}".lower()
    assert result.stdout.splitlines() == [
        f"Client Version: {__version__}",
        f"Python Version: {platform.python_version()} ({system})",
        "Server Version: v1.33.1",
        f"Replica Version: {__version__} (2 replicas)",
    ]
    found = version(played, tmp_path)
    assert found["clientVersion"]["version"] == __version__
    assert found["serverVersion"] == {"gitVersion": "v1.33.1", "platform": "linux/amd64"}
    assert (found["namespace"], found["warnings"], found["unread"]) == ("tokens", [], [])
    assert found["replicas"][0] == {"name": "a", "version": __version__, "source": "image"}


def test_what_does_not_go_together_is_a_warning_and_no_failure(
    played: Played, tmp_path: Path
) -> None:
    played.objects[PODS] = [
        a_replica("a", "boundtoken:99.0.0"),
        a_replica("b", "boundtoken:1.0.0", "Failed"),
    ]
    played.objects["/version"]["gitVersion"] = "v1.29.0"
    found = version(played, tmp_path)
    assert [one["version"] for one in found["replicas"]] == ["99.0.0"]
    assert len(found["warnings"]) == 2
    assert found["stderr"].splitlines() == [f"Warning: {text}" for text in found["warnings"]]
    assert found["code"] == 0


def test_a_replica_whose_image_has_another_tag_tells_its_version(
    played: Played, tmp_path: Path
) -> None:
    played.objects[PODS] = [a_replica("a", "boundtoken:latest")]
    played.objects[METRICS] = (
        b'# HELP boundtoken_build_info x\nboundtoken_build_info{python="3.13",version="0.0.9"} 1.0\n'
    )
    found = version(played, tmp_path)
    assert found["replicas"] == [{"name": "a", "version": "0.0.9", "source": "metrics"}]
    assert "is newer than boundtoken in the cluster (0.0.9)" in found["stderr"]


@pytest.mark.parametrize("answer", [403, b"no metrics"])
def test_a_version_that_nothing_tells_is_unknown(
    played: Played, tmp_path: Path, answer: Any
) -> None:
    played.objects[PODS] = [a_replica("a", "boundtoken@sha256:0d1e")]
    played.objects[METRICS] = answer
    found = version(played, tmp_path)
    assert found["replicas"] == [{"name": "a", "version": "unknown", "source": ""}]
    expected = [{"what": "the version of a", "why": "needs get on pods/proxy"}]
    assert found["unread"] == (expected if answer == 403 else [])


def test_what_may_not_be_read_is_named_with_its_right(played: Played, tmp_path: Path) -> None:
    played.objects |= {CONFIGURATIONS: 403, PODS: 403}
    found = version(played, tmp_path, "--namespace", "tokens")
    assert (found["code"], found["replicas"]) == (0, None)
    assert found["unread"] == [{"what": "pods in tokens", "why": "needs list on pods in tokens"}]


def test_without_the_right_to_the_servers_version_the_rest_is_told_and_it_is_a_failure(
    played: Played, tmp_path: Path
) -> None:
    played.objects["/version"] = 403
    needed = (
        "the version of the API server: needs get on the URL /version, "
        "as the ClusterRole system:public-info-viewer has it"
    )
    result = boundtoken("version", kubeconfig=a_kubeconfig(tmp_path / "config", played.server))
    assert (result.returncode, result.stderr) == (3, f"boundtoken: {needed}\n")
    assert result.stdout.splitlines()[2:] == [
        "Server Version: not seen",
        f"Replica Version: {__version__} (2 replicas)",
        f"not seen: {needed}",
    ]
    played.objects[PODS] = [a_replica("a", "boundtoken:99.0.0")]
    found = version(played, tmp_path)
    assert (found["code"], found["serverVersion"], found["namespace"]) == (3, None, "tokens")
    assert [one["version"] for one in found["replicas"]] == ["99.0.0"]
    assert len(found["warnings"]) == 1
    assert [": ".join(one.values()) for one in found["unread"]] == [needed]


def test_credentials_that_are_refused_are_no_missing_right(played: Played, tmp_path: Path) -> None:
    played.objects["/version"] = 401
    found = version(played, tmp_path)
    assert (found["code"], found["serverVersion"], found["unread"]) == (3, None, [])
    assert "401" in found["stderr"]


def test_without_a_cluster_the_client_is_printed_and_it_is_a_failure(tmp_path: Path) -> None:
    config = a_kubeconfig(tmp_path / "config", "http://127.0.0.1:1")
    result = boundtoken("version", kubeconfig=config)
    assert (result.returncode, result.stdout.splitlines()[0]) == (
        3,
        f"Client Version: {__version__}",
    )
    assert result.stderr.startswith("boundtoken: GET /version: ClientConnector")
    result = boundtoken("version", "-o", "json", kubeconfig=tmp_path / "missing")
    assert (result.returncode, json.loads(result.stdout)["serverVersion"]) == (3, None)
    result = boundtoken("version", "--client", kubeconfig=config)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_empty_kubeconfig_variable_is_none(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "KUBECONFIG": ""}
    result = boundtoken("version", environ=environ)
    assert result.returncode == 3
    assert "kubeconfig ~/.kube/config: there is no such file" in result.stderr


def test_an_answer_with_anything_in_it_is_shown_with_escapes(
    played: Played, tmp_path: Path
) -> None:
    played.objects["/version"]["gitVersion"] = "v1.33.1\x1b[2J" + "x" * 1000
    found = version(played, tmp_path)
    shown = found["serverVersion"]["gitVersion"]
    assert (found["code"], shown[:15], shown[-1]) == (0, r"v1.33.1\x1b[2Jx", "…")
    assert len(shown) < 110
    played.objects["/version"] = b"[]"
    found = version(played, tmp_path)
    assert found["stderr"] == "boundtoken: GET /version: the answer cannot be read\n"
