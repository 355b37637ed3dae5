"""Every fixture, three ways: against the core, against `/validate` over TLS, and created on the
real API server.
"""

import copy
import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tests.conformance.generate import API_AUDIENCE, HERE, files
from tests.conformance.generate import FIXTURES as FIXTURES_OF
from tests.controlplane.cluster import ControlPlane, StatusError
from tests.controlplane.kubelet import Kubelet
from tests.support.builders import Json, a_namespace_policy, a_review, validation_of
from tests.support.cluster import Cluster, rolled_out
from tests.support.paths import ROOT
from tests.support.service import running
from tests.support.waiting import wait_for
from webhook.core import full_views, names, review
from webhook.core.levels import LEVELS, VERSIONS
from webhook.core.policy import ClusterPolicy
from webhook.enforcement import rules, validate
from webhook.enforcement.facts import Facts

FIXTURES = sorted(HERE.glob("v*/*/*/*.yaml"))
LEGACY = frozenset({"legacy"})
OPTIONAL = """
namespace: boundtoken-system
resources: [manifests]
components: [manifests/optional/legacy-tokens]
"""
NAMESPACE: Json = yaml.safe_load((HERE / "v1/namespace.yaml").read_text())
ALLOWED = NAMESPACE["metadata"]["annotations"]["boundtoken.dev/allowed-audiences"]
all_fixtures = pytest.mark.parametrize(
    "path", FIXTURES, ids=lambda path: str(path.relative_to(HERE).with_suffix(""))
)


class Fixture:
    """A pod, what it is judged by, and what must be found."""

    def __init__(self, path: Path) -> None:
        self.version, self.level, result, _ = path.relative_to(HERE).parts
        self.fails = result == "fail"
        self.pod: Json = yaml.safe_load(path.read_text())
        expected = path.with_suffix(".txt")
        self.expected = expected.read_text().splitlines() if self.fails else []
        self.newcomers = self.pod["spec"].get("ephemeralContainers")

    def before(self) -> Json:
        """The pod without its ephemeral containers, which nobody may create with it."""
        pod = copy.deepcopy(self.pod)
        pod["spec"].pop("ephemeralContainers", None)
        return pod

    def review(self) -> Json:
        if not self.newcomers:
            return a_review(self.pod)
        return a_review(
            self.pod, operation="UPDATE", subResource="ephemeralcontainers", oldObject=self.before()
        )


def test_the_fixtures_are_what_the_tweaks_make() -> None:
    there = {
        str(path.relative_to(HERE)): path.read_text()
        for path in HERE.glob("v*/**/*")
        if path.is_file()
    }
    assert there == files(), "make conformance writes them anew"


def test_each_rule_has_a_fixture_that_passes_and_one_that_fails() -> None:
    for level, version, result in itertools.product(LEVELS, VERSIONS, ("pass", "fail")):
        for rule in rules.of(level, version):
            assert list((HERE / version / level / result).glob(f"{rule.slug}-*.yaml")), (
                level,
                rule.slug,
                result,
            )


def test_the_fixtures_are_for_the_levels_and_versions_that_there_are_and_name_only_what_a_rule_restricts() -> (
    None
):
    assert set(FIXTURES_OF) == set(itertools.product(VERSIONS, LEVELS[1:]))
    for (version, level), (_, failing) in FIXTURES_OF.items():
        restricted = {rule.slug: set(spelled(rule.fields)) for rule in rules.of(level, version)}  # type: ignore[arg-type]
        for findings, _ in failing:
            for slug, field, _ in findings:
                assert field in restricted[slug], (slug, field)


def spelled(fields: tuple[str, ...]) -> Iterator[str]:
    """Restricted fields as `kubectl explain` spells them: without indexes, one for each kind of
    container.
    """
    for field in fields:
        before, brace, rest = field.replace("[*]", "").partition("{")
        kinds, _, after = rest.partition("}")
        yield from (before + kind + after for kind in kinds.split(",")) if brace else (before,)


RELEASED = {"v1": "6319e7b5c6d04f95"}
"""For each version a hash over its fixtures. What was released never changes: a new meaning is a
new version."""


def test_what_a_released_version_means_is_frozen() -> None:
    assert set(RELEASED) == set(VERSIONS)
    for version, digest in RELEASED.items():
        paths = sorted(path for path in (HERE / version).rglob("*") if path.is_file())
        content = b"".join(
            f"{path.relative_to(HERE)}\n".encode() + path.read_bytes() for path in paths
        )
        assert hashlib.sha256(content).hexdigest()[:16] == digest, (
            f"{version} is released: make a new version instead"
        )


@all_fixtures
def test_the_core_finds_exactly_this(path: Path) -> None:
    fixture = Fixture(path)
    pod = msgspec.json.decode(json.dumps(fixture.pod), type=full_views.FullPod)
    cluster = ClusterPolicy(api_audiences=(API_AUDIENCE,))
    namespace = a_namespace_policy(
        cluster, allowed_audiences=ALLOWED, enforce=fixture.level, enforce_version=fixture.version
    )
    found = validate.violations_of("enforce", Facts(pod), cluster, namespace, LEGACY)
    assert [
        f'{violation.rule} {violation.field} {violation.place[0]} "{violation.place[1]}"'
        for violation in found
    ] == fixture.expected


@all_fixtures
def test_a_request_is_judged_so(path: Path) -> None:
    fixture = Fixture(path)
    cluster = ClusterPolicy(api_audiences=(API_AUDIENCE,))
    namespace = a_namespace_policy(
        cluster, allowed_audiences=ALLOWED, enforce=fixture.level, enforce_version=fixture.version
    )
    judgement = validation_of(
        review.decode_full(msgspec.json.encode(fixture.review())), cluster, namespace, LEGACY
    )
    assert (judgement.outcome == "denied") is fixture.fails, judgement
    assert all(f"[{line.split()[0]}]" in judgement.denial for line in fixture.expected)


async def test_the_tls_port_judges_every_fixture_so(tmp_path: Path) -> None:
    namespaces = tmp_path / "namespaces.yaml"
    documents = []
    for version, level in FIXTURES_OF:
        annotations = {
            names.ALLOWED_AUDIENCES: ALLOWED,
            names.ENFORCE: level,
            names.ENFORCE_VERSION: version,
        }
        metadata = {"name": f"{level}-{version}", "annotations": annotations}
        documents.append({**NAMESPACE, "metadata": metadata})
    namespaces.write_text(yaml.safe_dump_all(documents))
    configuration = tmp_path / "config.yaml"
    text = f"apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\napiAudiences: [{API_AUDIENCE}]\n"
    configuration.write_text(text)
    flags: Any = {
        "standalone": [namespaces],
        "ca_out": tmp_path / "ca.crt",
        "config": str(configuration),
    }
    async with running(tmp_path, **flags) as service:
        judging = [f"{level}-{version}" for version, level in FIXTURES_OF]
        service.service._legacy_tokens.apply(listed(*judging))
        for path in FIXTURES:
            fixture = Fixture(path)
            body = fixture.review()
            body["request"]["namespace"] = f"{fixture.level}-{fixture.version}"
            status, answer = await service.post(body, path="/validate")
            response = json.loads(answer)["response"]
            assert (status, response["allowed"]) == (200, not fixture.fails), path
            assert response.get("status", {}).get("code") == (403 if fixture.fails else None)


def listed(*namespaces: str) -> Any:
    from webhook.cluster.watch import Listed

    return Listed([(namespace, "legacy") for namespace in namespaces], "start")


@pytest.fixture(scope="module")
def enforcing(
    plane: ControlPlane, kubelet: Kubelet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Boundtoken with the component that looks for legacy tokens."""
    folder = tmp_path_factory.mktemp("overlay")
    shutil.copytree(ROOT / "manifests", folder / "manifests")
    (folder / "kustomization.yaml").write_text(OPTIONAL)
    cluster = Cluster(plane, kubelet)
    applied(cluster, folder)
    yield cluster
    applied(cluster, ROOT / "manifests")
    plane.kubectl("delete", "clusterrolebinding,clusterrole", "boundtoken-legacy-tokens")


def applied(cluster: Cluster, folder: Path) -> None:
    cluster.plane.kubectl("apply", "-k", str(folder))
    rolled_out(cluster)


@pytest.mark.parametrize(("version", "level"), FIXTURES_OF)
def test_the_api_server_creates_or_denies_every_fixture(
    enforcing: Cluster, version: str, level: str
) -> None:
    cluster = enforcing
    namespace = cluster.namespace(allowed_audiences=ALLOWED, enforce=level, enforce_version=version)
    for secret in yaml.safe_load_all((HERE / "v1/secrets.yaml").read_text()):
        cluster.plane.call("POST", f"/api/v1/namespaces/{namespace}/secrets", secret)
    wait_for(lambda: denied(cluster, namespace, HERE / "v1/bound/fail/legacy-token-1.yaml"), 10)
    for number, path in enumerate(sorted((HERE / version / level).glob("*/*.yaml"))):
        fixture = Fixture(path)
        fixture.pod["metadata"]["name"] = f"pod-{number}"
        assert denied(cluster, namespace, path, fixture) is fixture.fails, path


def denied(cluster: Cluster, namespace: str, path: Path, fixture: Fixture | None = None) -> bool:
    """Whether the API server refuses it in our name."""
    fixture = fixture or Fixture(path)
    pods = f"/api/v1/namespaces/{namespace}/pods"
    try:
        made = cluster.plane.call("POST", pods, fixture.before())
        if fixture.newcomers:
            made["spec"]["ephemeralContainers"] = fixture.newcomers
            cluster.plane.call(
                "PUT", f"{pods}/{made['metadata']['name']}/ephemeralcontainers", made
            )
    except StatusError as problem:
        assert problem.code == 403, problem
        is_mirror = "kubernetes.io/config.mirror" in fixture.pod["metadata"].get("annotations", {})
        assert (
            "a mirror pod may not" if is_mirror else f'namespace "{namespace}" enforces "'
        ) in str(problem)
        return True
    return False
