"""Where the commands that read a cluster look for boundtoken when no namespace is given."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.builders import Json
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.played import Played, playing
from tests.support.processes import boundtoken
from webhook.cli.cluster.own_namespace import BINDING, GROUP, KINDS, NONE

MUTATING, VALIDATING = (f"{GROUP}/{resource}" for resource in KINDS)
DEPLOYMENTS = "/apis/apps/v1/deployments"
FLOOR = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\nlocks: {enforceFloor: bound}\n"
CERTS = (("certs", "show"), ("certs", "rotate"), ("certs", "init"))


def calling(namespace: str, entry: str = "pods.boundtoken.dev") -> list[Json]:
    """A webhook configuration whose entry calls a Service in a namespace."""
    service = {"namespace": namespace, "name": "boundtoken", "path": "/mutate"}
    webhook = {"name": entry, "clientConfig": {"service": service}}
    return [{"metadata": {"name": "boundtoken"}, "webhooks": [webhook]}]


def a_deployment(namespace: str, account: str = "boundtoken") -> Json:
    spec = {"serviceAccountName": account, "containers": [{"name": "boundtoken"}]}
    metadata = {"name": "boundtoken", "namespace": namespace}
    return {"metadata": metadata, "spec": {"template": {"spec": spec}}}


def a_binding(namespace: str, account: str = "boundtoken", *, kind: str = "ServiceAccount") -> Json:
    subject = {"kind": kind, "name": account, "namespace": namespace}
    return {"metadata": {"name": "boundtoken"}, "subjects": [subject]}


@pytest.fixture
def played() -> Iterator[Played]:
    """A cluster without boundtoken."""
    nothing: Json = {MUTATING: [], VALIDATING: [], DEPLOYMENTS: []}
    with playing({"/version": {"gitVersion": "v1.33.1"}, **nothing}) as api:
        yield api


def looked_in(played: Played) -> set[str]:
    """The namespaces of whose objects something was read."""
    paths = (path.split("/") for path, _ in played.queries)
    return {parts[parts.index("namespaces") + 1] for parts in paths if "namespaces" in parts[:-1]}


def run(played: Played, folder: Path, *words: str) -> tuple[int, str]:
    result = boundtoken(*words, kubeconfig=a_kubeconfig(folder / "config", played.server))
    return result.returncode, result.stderr


@pytest.mark.parametrize("words", [*CERTS, ("check",)], ids=" ".join)
def test_the_namespace_is_that_of_the_service_that_is_called(
    played: Played, tmp_path: Path, words: tuple[str, ...]
) -> None:
    played.objects |= {MUTATING: calling("tokens"), VALIDATING: calling("tokens")}
    run(played, tmp_path, *words)
    assert looked_in(played) - {"default"} == {"tokens"}


@pytest.mark.parametrize("words", [*CERTS, ("check",)], ids=" ".join)
def test_without_a_configuration_it_is_that_of_the_bound_account(
    played: Played, tmp_path: Path, words: tuple[str, ...]
) -> None:
    played.objects[BINDING] = a_binding("tokens")
    run(played, tmp_path, *words)
    assert looked_in(played) - {"default"} == {"tokens"}


@pytest.mark.parametrize("words", [*CERTS, ("check",)], ids=" ".join)
def test_a_deployment_like_ours_leads_no_command_to_its_namespace(
    played: Played, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Anybody may have one, also while an admin has deleted every configuration."""
    played.objects[DEPLOYMENTS] = [a_deployment("aaa")]
    run(played, tmp_path, *words)
    assert looked_in(played) - {"default"} <= {"boundtoken-system"}
    for binding in (a_binding("tokens", "web"), a_binding("tokens", kind="User")):
        played.objects[BINDING] = binding
        run(played, tmp_path, *words)
        assert looked_in(played) - {"default"} <= {"boundtoken-system"}


def test_one_entry_that_calls_another_namespace_does_not_change_the_side(
    played: Played, tmp_path: Path
) -> None:
    entries = [calling(name)[0]["webhooks"][0] for name in ("tokens", "aaa", "tokens")]
    played.objects[VALIDATING] = [{"metadata": {"name": "boundtoken"}, "webhooks": entries}]
    run(played, tmp_path, "check")
    assert "aaa" not in {
        path.split("/")[4] for path, _ in played.queries if "/deployments/" in path
    }
    assert "tokens" in looked_in(played)


def test_where_there_is_none_it_is_told_and_nothing_is_read(played: Played, tmp_path: Path) -> None:
    assert run(played, tmp_path, "certs", "show") == (2, f"boundtoken: {NONE}\n")
    assert looked_in(played) == set()


@pytest.mark.parametrize("words", CERTS, ids=" ".join)
def test_of_two_one_has_to_be_named(played: Played, tmp_path: Path, words: tuple[str, ...]) -> None:
    played.objects |= {MUTATING: calling("b"), VALIDATING: calling("a")}
    code, told = run(played, tmp_path, *words)
    assert (code, looked_in(played)) == (2, set())
    assert told.startswith("boundtoken: boundtoken may be installed in several namespaces (a, b): ")
    run(played, tmp_path, *words, "--namespace", "b")
    assert looked_in(played) == {"b"}


@pytest.mark.parametrize("words", CERTS, ids=" ".join)
def test_who_may_not_list_configurations_gets_the_usual_one(
    played: Played, tmp_path: Path, words: tuple[str, ...]
) -> None:
    played.objects |= {VALIDATING: 403}
    run(played, tmp_path, *words)
    assert looked_in(played) == {"boundtoken-system"}


@pytest.mark.parametrize("name", ["", "a/b", "../x", "A"])
def test_what_is_no_name_is_no_namespace(played: Played, tmp_path: Path, name: str) -> None:
    played.objects[MUTATING] = calling(name)
    assert run(played, tmp_path, "certs", "show") == (2, f"boundtoken: {NONE}\n")


@pytest.mark.parametrize("installed", [True, False])
def test_a_preview_leaves_out_the_namespace_of_boundtoken_and_works_before_it_is_there(
    played: Played, tmp_path: Path, *, installed: bool
) -> None:
    (tmp_path / "floor.yaml").write_text(FLOOR)
    names = ("tokens", "boundtoken-system", "shop")
    played.objects["/api/v1/namespaces"] = [{"metadata": {"name": name}} for name in names]
    played.objects["/api/v1/pods"] = []
    if installed:
        played.objects[MUTATING] = calling("tokens")
    config = a_kubeconfig(tmp_path / "config", played.server)
    words = ("config", "preview", str(tmp_path / "floor.yaml"))
    result = boundtoken(*words, kubeconfig=config)
    left_out = "tokens" if installed else "boundtoken-system"
    assert result.stdout.startswith(f"not for excluded namespaces: {left_out}\n"), result.stderr
    played.objects[VALIDATING] = calling("others")
    if installed:
        assert boundtoken(*words, kubeconfig=config).returncode == 2
