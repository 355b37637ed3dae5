"""A release of the chart on a real API server: installed, upgraded, rolled back, taken away; and a
kustomize installation that moves to it and back.
"""

import base64
import json
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.controlplane.cluster import ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.support.builders import VIOLATING, Json, a_bare_pod
from tests.support.checking import Checked
from tests.support.cluster import NAMESPACES
from tests.support.helm import CHART, helm
from tests.support.helm_releases import QUICK, REGISTRATION, Release, rolled_out, running
from tests.support.load import FEW, Load, calls, creation, everyday_load, secrets, why_refused
from tests.support.paths import ROOT
from tests.support.processes import boundtoken
from tests.support.releases import CHARTED, both_answer, unpacked
from tests.support.waiting import wait_for
from webhook.checks.installer import BY_FORCE, RELEASE, RELEASE_NAMESPACE
from webhook.core import names
from webhook.pki import authority
from webhook.pki.store import KINDS

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(600)]
AS_HELM = ("--server-side", "--field-manager=helm", "--force-conflicts")
ENTRIES = 8
"""Of both webhook configurations."""


@pytest.fixture(scope="module")
def own_plane() -> Iterator[ControlPlane]:
    """One in which nothing is installed, since objects without a namespace have fixed names."""
    with ControlPlane() as started:
        yield started


def annotated(plane: ControlPlane, name: str) -> str:
    """A namespace whose pods get tokens."""
    annotations = {names.INJECT: "enabled", names.AUTOMOUNT: "disabled"}
    plane.call("POST", NAMESPACES, {"metadata": {"name": name, "annotations": annotations}})
    path = f"{NAMESPACES}/{name}/serviceaccounts?fieldSelector=metadata.name=default"
    wait_for(lambda: plane.call("GET", path)["items"])
    return name


def test_an_installation_that_fails_is_taken_back_and_refuses_no_pod(
    own_plane: ControlPlane,
) -> None:
    """With `legacyTokens.failClosed`, by a value that nothing but the API server refuses."""
    shop = annotated(own_plane, "shop-of-nobody")
    given = "legacyTokens.enabled=true,legacyTokens.failClosed=true,tolerations[0].operator=None"
    words = ["install", "broken", str(CHART), "-n", "broken", "--create-namespace", "--set", given]
    kubeconfig = own_plane.kubeconfig()
    assert helm(*words, kubeconfig=kubeconfig).returncode
    assert "enforced.boundtoken.dev" in why_refused(own_plane, shop, a_bare_pod())
    helm("uninstall", "broken", "-n", "broken", kubeconfig=kubeconfig)
    wait_for(lambda: why_refused(own_plane, shop, a_bare_pod()) == "")
    done = helm(*words, "--rollback-on-failure", kubeconfig=kubeconfig)
    assert done.returncode, done.stdout
    assert "tolerations[0].operator" in done.stderr
    assert helm("list", "-A", "-a", "-q", kubeconfig=kubeconfig).stdout == ""
    assert why_refused(own_plane, shop, a_bare_pod()) == ""
    own_plane.call("DELETE", f"{NAMESPACES}/broken")


@pytest.mark.parametrize("by", ["server", "client"])
def test_a_release_lives_and_what_the_replicas_keep_outlives_each_step(
    own_plane: ControlPlane, by: str
) -> None:
    """The replicas are away while Helm works, so that none of them can put anything back."""
    plane, sides = own_plane, [f"--server-side={'true' if by == 'server' else 'false'}", *QUICK]
    release = Release(plane, "tokens", f"by-{by}")
    shop = annotated(plane, f"shop-{by}")
    release.helm("install", "--create-namespace", *sides)
    with Kubelet(plane, release.namespace) as kubelet:
        running(release, kubelet)
        wait_for(lambda: release.works(shop), 20)
        checked = boundtoken("check", kubeconfig=plane.kubeconfig())
        assert checked.returncode == 0, checked.stdout
        first = release.kept()
    uids = release.uids()
    assert len(uids) == 18
    changes = ["--set", "config.locks.maxExpirationSeconds=7200,options.logLevel=warning"]
    release.helm("upgrade", *sides, *changes)
    assert release.kept() == first
    assert "maxExpirationSeconds: 7200" in release.configuration()
    assert "--log-level=warning" in arguments(release)
    release.helm("rollback", "1", sides[0], chart=False)
    assert release.kept() == first
    assert "maxExpirationSeconds: 7200" not in release.configuration()
    assert "--log-level=warning" not in arguments(release)
    assert release.uids() == uids
    release.helm("upgrade", *sides, *changes)
    change_by_hand(release)
    release.helm("upgrade", *sides, *changes, "--reset-then-reuse-values", *BY_FORCE.split())
    assert (timeout(release), release.kept()) == (3, first)
    if by == "server":
        with Kubelet(plane, release.namespace) as kubelet:
            running(release, kubelet)
            wait_for(lambda: "7200" in str(release.kept()[names.POD_POLICY]), 30)
            wait_for(lambda: release.works(shop), 20)
    release.helm("uninstall", chart=False)
    pods = f"{NAMESPACES}/{release.namespace}/pods"
    for pod in plane.call("GET", pods)["items"]:  # which no kubelet ends
        plane.call("DELETE", f"{pods}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})
    wait_for(lambda: release.left() == ["Secret/boundtoken-ca"], 60)
    assert release.left() == ["Secret/boundtoken-ca"]
    plane.call("POST", f"{NAMESPACES}/{shop}/pods?dryRun=All", VIOLATING)


def timeout(release: Release) -> int:
    found = release.plane.call("GET", f"{REGISTRATION}/mutatingwebhookconfigurations/boundtoken")
    return int(found["webhooks"][0]["timeoutSeconds"])


def change_by_hand(release: Release) -> None:
    """What the command of `boundtoken check --fix-hint` puts right."""
    patch = '[{"op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 30}]'
    title = "mutatingwebhookconfiguration/boundtoken"
    release.plane.kubectl("patch", title, "--type=json", "-p", patch)
    image = ("boundtoken=boundtoken:other", "-n", release.namespace)
    release.plane.kubectl("set", "image", "deployment/boundtoken", *image)
    assert timeout(release) == 30


def test_a_certificate_of_a_secret_serves_and_an_upgrade_keeps_its_ca_bundle(
    own_plane: ControlPlane, tmp_path: Path
) -> None:
    plane, release = own_plane, Release(own_plane, "files", "files")
    host = f"boundtoken.{release.namespace}.svc"
    assert boundtoken("certs", "init", "--out", str(tmp_path), "--host", host).returncode == 0
    files = [
        f"--{name}={tmp_path / f'tls.{end}'}" for name, end in (("cert", "crt"), ("key", "key"))
    ]
    plane.kubectl("create", "namespace", release.namespace)
    plane.kubectl("create", "secret", "tls", "serving", "-n", release.namespace, *files)
    given = [*QUICK, "--set", "certificates.mode=secret,certificates.secretName=serving"]
    release.helm("install", *given)
    trusted = base64.b64encode((tmp_path / "ca.crt").read_bytes()).decode()
    for kind in KINDS:
        path = f"{REGISTRATION}/{kind}/boundtoken"
        entries = range(len(plane.call("GET", path)["webhooks"]))
        patch = [
            {"op": "add", "path": f"/webhooks/{at}/clientConfig/caBundle", "value": trusted}
            for at in entries
        ]
        plane.call("PATCH", path, patch, kind="application/json-patch+json")
    shop = annotated(plane, "shop-files")
    try:
        with Kubelet(plane, release.namespace) as kubelet:
            running(release, kubelet)
            release.helm("upgrade", *given, "--set", "config.locks.maxExpirationSeconds=7200")
            wait_for(lambda: release.works(shop), 20)
        bundles = [
            text for name, text in release.kept().items() if name.endswith(".boundtoken.dev")
        ]
        assert set(bundles) == {trusted}
    finally:
        release.helm("uninstall", chart=False)


def arguments(release: Release) -> list[str]:
    pod = release.deployment()["spec"]["template"]["spec"]
    return list(pod["containers"][0]["args"])


def test_a_release_in_use_refuses_what_is_wrong_and_says_whether_it_works(
    own_plane: ControlPlane,
) -> None:
    """Under names that YAML would read as numbers."""
    release = Release(own_plane, "1e3", "0123")
    shop = annotated(own_plane, "shop-0123")
    vault = "config.defaults.audience=vault,config.locks.allowedAudiences={%s}"
    try:
        with Kubelet(own_plane, "default") as elsewhere:
            with Kubelet(own_plane, release.namespace) as kubelet:
                release.helm("install", "--create-namespace", "--wait", *QUICK)
                running(release, kubelet)
                wait_for(lambda: release.works(shop), 20)
                before = release.configuration()
                with pytest.raises(AssertionError, match=r"defaults\.audience: must be one of"):
                    release.helm("upgrade", *QUICK, "--set", vault % "other")
                assert release.configuration() == before
                release.helm("upgrade", *QUICK, "--set", vault % "vault")
                assert "audience: vault" in release.configuration()
                with pytest.raises(AssertionError, match="invalid ownership metadata"):
                    Release(own_plane, "second", "default").helm("install")
                assert "Phase:          Succeeded" in release.helm("test", chart=False)
            with pytest.raises(AssertionError, match="boundtoken-test"):
                release.helm("test", "--timeout=20s", chart=False)
            (pod,) = elsewhere.pods
            assert "no replica has changed this pod" in pod.log
    finally:
        release.helm("uninstall", chart=False)


def printed(plane: ControlPlane, check: str) -> str:
    """The command that `boundtoken check` prints, with the chart in its place."""
    found = Checked("--kubeconfig", str(plane.kubeconfig()), "--no-dry-run")
    (command,) = found.by_id[check]["commands"]
    return str(command)


def run_as_printed(plane: ControlPlane, command: str) -> None:
    program, *words = shlex.split(command.replace(" CHART ", f" {CHART} "))
    assert program == "helm"
    done = helm(*words, kubeconfig=plane.kubeconfig())
    assert done.returncode == 0, done.stderr


def a_stranger(plane: ControlPlane, deployment: Json) -> None:
    """A Deployment like ours in another namespace, which names a release there."""
    annotations = {RELEASE: "pwn", RELEASE_NAMESPACE: "aaa"}
    metadata = {"name": names.APP, "labels": deployment["metadata"]["labels"]}
    body = {"metadata": {**metadata, "annotations": annotations}, "spec": deployment["spec"]}
    plane.call("POST", NAMESPACES, {"metadata": {"name": "aaa"}})
    plane.call("POST", "/apis/apps/v1/namespaces/aaa/deployments", body)


def test_what_check_prints_for_a_release_mends_it(own_plane: ControlPlane) -> None:
    """No replica runs meanwhile: the commands alone put it right."""
    plane, release = own_plane, Release(own_plane, "mended", "mends")
    closed = "legacyTokens.enabled=true,legacyTokens.failClosed=true,replicas=0"
    release.helm("install", "--create-namespace", *QUICK, "--set", closed)
    budgets = f"/apis/policy/v1/namespaces/{release.namespace}/poddisruptionbudgets"
    start = "helm upgrade mended CHART -n mends --reset-then-reuse-values "
    try:
        found = Checked("--kubeconfig", str(plane.kubeconfig()), "--no-dry-run")
        assert found.status("webhook-conditions") == "passed"
        assert found.by_id["webhook-policies"]["commands"] == []
        assert plane.call("GET", budgets)["items"] == []
        run_as_printed(plane, printed(plane, "disruption-budget"))
        assert [one["metadata"]["name"] for one in plane.call("GET", budgets)["items"]] == [names.APP]  # fmt: skip
        plane.kubectl("scale", "deployment/boundtoken", "--replicas=0", "-n", release.namespace)
        scaled = printed(plane, "replicas")
        assert scaled == f"{start}--set replicas=2 {BY_FORCE}"
        run_as_printed(plane, scaled)
        deployment = release.deployment()
        assert deployment["spec"]["replicas"] == 2
        a_stranger(plane, deployment)
        plane.kubectl("delete", "deployment", "boundtoken", "-n", release.namespace)
        without_a_deployment(plane)
        again = printed(plane, "deployment")
        assert again == f"{start}{BY_FORCE}"
        run_as_printed(plane, again)
        assert release.deployment()["spec"]["replicas"] == 2
    finally:
        release.helm("uninstall", chart=False)
        plane.kubectl("delete", "namespace", "aaa", "--ignore-not-found", "--wait=false")


def without_a_deployment(plane: ControlPlane) -> None:
    """Nobody knows who keeps the certificates, and nothing writes over a CA of others."""
    ca = authority.make_authority("theirs", datetime.now(UTC), timedelta(days=1)).certificate
    value = base64.b64encode(ca.pem).decode()
    path = f"{REGISTRATION}/mutatingwebhookconfigurations/boundtoken"
    patch = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": value}]
    plane.call("PATCH", path, patch, kind="application/json-patch+json")
    found = Checked("--kubeconfig", str(plane.kubeconfig()), "--no-dry-run")
    assert (found.status("ca-bundle"), found.status("rights")) == ("unknown", "unknown")
    done = boundtoken("certs", "init", kubeconfig=plane.kubeconfig())
    assert (done.returncode, "Apply the installation again first" in done.stderr) == (2, True)
    assert plane.call("GET", path)["webhooks"][0]["clientConfig"]["caBundle"] == value


def test_two_releases_beside_each_other_and_a_removal_fail_no_call(
    own_plane: ControlPlane, tmp_path: Path
) -> None:
    """By helm upgrade, rollback and uninstall. The release before has an entry less, which Helm
    adds and takes away again.
    """
    code = unpacked(CHARTED, tmp_path / "code")
    older = code / "manifests/chart"
    template = older / "templates/75-validatingwebhookconfiguration.yaml"
    text, cut, _ = template.read_text().partition("- name: configurations.boundtoken.dev")
    assert cut
    template.write_text(text)
    release = Release(own_plane, "skew", "skew")
    variable = [{"name": "PYTHONPATH", "value": str(code)}]
    own_code = ("--create-namespace", "--set-json", f"env={json.dumps(variable)}")
    release.helm("install", str(older), *own_code, chart=False)
    with Kubelet(own_plane, release.namespace) as kubelet:
        running(release, kubelet)
        load = everyday_load(own_plane)
        load.wait_until_well()
        before_it = calls(own_plane)
        with load.running():
            release.helm("upgrade", "--reset-values")
            both_answer(kubelet, code)
            rolled_out(release, kubelet)
            assert len(release.kept()) == ENTRIES + len(names.POLICY_BINDINGS)
            release.helm("rollback", "1", chart=False)
            both_answer(kubelet, code)
            rolled_out(release, kubelet)
        assert load.problems == []
        after_it = calls(own_plane)
        print(dict(load.made), "before and after:", before_it, after_it)
        assert after_it.failed_at_once_since(before_it) <= FEW
        assert len(release.kept()) == ENTRIES - 1 + len(names.POLICY_BINDINGS)
        away = Load(
            {
                "in a namespace that injects": creation(own_plane, "injecting", a_bare_pod()),
                "in one that enforces": creation(own_plane, "enforcing"),
                "secrets": secrets(own_plane, "injecting"),
            }
        )
        with away.running():
            release.helm("uninstall", chart=False)
            wait_for(lambda: not kubelet.pods, 60)
            away.wait_for_more(5)
        assert away.problems == []
    print(dict(away.made))


def test_a_kustomize_installation_moves_to_the_chart_and_back(own_plane: ControlPlane) -> None:
    plane, release = own_plane, Release(own_plane, names.APP, names.NAMESPACE)
    manifests = str(ROOT / "manifests")
    plane.kubectl("apply", "-k", manifests)
    with Kubelet(plane, names.NAMESPACE) as kubelet:
        running(release, kubelet)
    uids, kept = release.uids(), release.kept()
    plane.kubectl("apply", "-k", manifests, *AS_HELM)
    release.helm("install", "--take-ownership")
    assert (release.uids(), release.kept()) == (uids, kept)
    release.helm("upgrade", "--set", "options.logLevel=warning")
    assert (release.uids(), release.kept()) == (uids, kept)
    assert "--log-level=warning" in arguments(release)
    plane.kubectl("apply", "-k", manifests, *AS_HELM)
    assert "helm.sh" not in plane.kubectl(
        "get", "deployment/boundtoken", "-n", release.namespace, "-o", "yaml"
    )
    plane.kubectl("apply", "-k", manifests)
    plane.kubectl("delete", "secrets", "-n", release.namespace, "-l", "owner=helm,name=boundtoken")
    assert helm("list", "-A", "-q", kubeconfig=plane.kubeconfig()).stdout == ""
    assert "--log-level=warning" not in arguments(release)
    assert (release.uids(), release.kept()) == (uids, kept)
    with Kubelet(plane, names.NAMESPACE) as kubelet:
        running(release, kubelet)
    plane.kubectl("delete", "-k", manifests, "--wait=false")
