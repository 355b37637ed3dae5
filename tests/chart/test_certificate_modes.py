"""Who keeps the certificates of a running installation changes, by the chart and by components of
kustomize: nothing hangs, nothing is left in anybody's way, and calls that trust could have kept do
not fail.
"""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.controlplane.cluster import ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.support.builders import Json
from tests.support.cert_manager import INJECT, CertManager
from tests.support.helm_releases import QUICK, REGISTRATION, Release, rolled_out, running
from tests.support.load import FEW, Load, calls, everyday_load
from tests.support.processes import boundtoken
from tests.support.waiting import wait_for
from webhook.pki.store import KINDS

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(600)]
CA = "boundtoken-ca"
OF_CERT_MANAGER = "cert-manager-cainjector"
BOTH_KINDS = ",".join(KINDS)


class Modes:
    """A release whose mode is changed under load."""

    def __init__(
        self, release: Release, kubelet: Kubelet, cert_manager: CertManager, load: Load
    ) -> None:
        self.release, self.kubelet, self.load = release, kubelet, load
        self.cert_manager = cert_manager
        self.plane = release.plane

    def change(self, mode: str, at_once: Callable[[], object] = lambda: None) -> float:
        """How many calls failed open until the rollout was over and each kind of request was
        answered as it must be; `at_once` is done when Helm has.
        """
        before = calls(self.plane)
        with self.load.running():
            self.release.helm("upgrade", *QUICK, "--set", f"certificates.mode={mode}")
            at_once()
            rolled_out(self.release, self.kubelet)
            self.load.wait_until_well()
            self.load.wait_for_more(5)
        failed = calls(self.plane).failed_at_once_since(before)
        print(mode, dict(self.load.made), len(self.load.problems), "failed open:", failed)
        return failed

    def managers(self) -> set[str]:
        """Who owns a field of the webhook configurations."""
        path = f"{REGISTRATION}/{{}}/boundtoken"
        found = [self.plane.call("GET", path.format(kind))["metadata"] for kind in KINDS]
        return {row["manager"] for metadata in found for row in metadata["managedFields"]}

    def told(self, *arguments: str) -> tuple[int, str]:
        """The exit code of a command, and all that it says."""
        done = boundtoken(*arguments, kubeconfig=self.plane.kubeconfig())
        return done.returncode, done.stdout + done.stderr

    def published(self) -> bytes:
        """The caBundle, which is the same everywhere."""
        (text,) = {
            value for name, value in self.release.kept().items() if name.endswith(".boundtoken.dev")
        }
        return base64.b64decode(str(text))

    def publish(self, pem: bytes) -> None:
        """As whoever makes a Secret does."""
        value = base64.b64encode(pem).decode()
        for kind in KINDS:
            path = f"{REGISTRATION}/{kind}/boundtoken"
            patch = [
                {"op": "add", "path": f"/webhooks/{at}/clientConfig/caBundle", "value": value}
                for at in range(len(self.plane.call("GET", path)["webhooks"]))
            ]
            self.plane.call("PATCH", path, patch, kind="application/json-patch+json")

    def checked(self) -> dict[str, Json]:
        """What check finds, by id, but for what has passed, and for what is of this machine: one
        node, and calls that once failed open.
        """
        found = json.loads(self.told("check", "-o", "json")[1])["checks"]
        return {
            one["id"]: one
            for one in found
            if one["status"] != "passed" and one["id"] not in ("spread", "fail-open")
        }

    def is_well(self) -> None:
        """Both commands that look at certificates find nothing."""
        assert self.checked() == {}
        code, text = self.told("certs", "show", "--namespace", self.release.namespace)
        assert (code, "out of date" in text) == (0, False), text


@pytest.fixture(scope="module")
def cert_manager() -> Iterator[CertManager]:
    """In a control plane of its own, since objects without a namespace have fixed names."""
    with ControlPlane() as plane, CertManager(plane) as running:
        yield running


def test_the_mode_of_a_release_changes_there_and_back(
    cert_manager: CertManager, tmp_path: Path
) -> None:
    plane = cert_manager.plane
    release = Release(plane, "tokens", "tokens")
    release.helm("install", "--create-namespace", *QUICK)
    with Kubelet(plane, release.namespace) as kubelet:
        running(release, kubelet)
        load = everyday_load(plane)
        load.wait_until_well()
        modes = Modes(release, kubelet, cert_manager, load)
        ours = modes.published()
        assert modes.change("cert-manager") > 0  # cainjector takes our CA out: the price
        assert ours not in modes.published()
        assert modes.managers() == {"helm", OF_CERT_MANAGER}
        _nothing_writes_our_ca(modes)
        modes.is_well()
        plane.kubectl("delete", "secret", CA, "-n", release.namespace)
        load.problems.clear()
        assert modes.change("self-managed") <= FEW
        assert load.problems == []
        assert modes.managers() == {"helm"}
        _an_annotation_that_was_left(modes)
        _a_secret_of_ones_own(modes, tmp_path)
        release.helm("uninstall", chart=False)


def _nothing_writes_our_ca(modes: Modes) -> None:
    """The commands that would, where cert-manager keeps the caBundle, say who does instead."""
    before, where = modes.published(), ("--namespace", modes.release.namespace)
    for command in ("init", "rotate"):
        code, text = modes.told("certs", command, *where)
        assert (code, "kubectl get certificates -n tokens" in text) == (2, True), text
    assert modes.published() == before
    _, text = modes.told("certs", "show", *where)
    assert f"secret/{CA} is of no use to replicas that are given a certificate" in text


def _a_secret_of_ones_own(modes: Modes, folder: Path) -> None:
    """Where both CAs are published as soon as Helm is done, hardly a call fails."""
    host = f"boundtoken.{modes.release.namespace}.svc"
    assert modes.told("certs", "init", "--out", str(folder), "--host", host)[0] == 0
    where = ("-n", modes.release.namespace)
    modes.plane.kubectl("delete", "secret", "boundtoken-tls", *where)
    files = (f"--cert={folder / 'tls.crt'}", f"--key={folder / 'tls.key'}")
    modes.plane.kubectl("create", "secret", "tls", "boundtoken-tls", *files, *where)
    theirs = (folder / "ca.crt").read_bytes()
    both = modes.published() + theirs
    failed = modes.change("secret", lambda: modes.publish(both))
    assert failed <= 4 * FEW
    modes.publish(theirs)
    assert modes.checked() == {}


def _an_annotation_that_was_left(modes: Modes) -> None:
    """It lets cainjector and the replicas overwrite each other without end, and check says so."""
    api = "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: left}\n"
    spec = "spec: {secretName: left, isCA: true, commonName: left, duration: 24h}\n"
    where = ("-n", modes.release.namespace)
    modes.plane.kubectl("apply", *where, "-f", "-", stdin=api + spec)
    before = modes.cert_manager.injections
    value = f"{INJECT}={modes.release.namespace}/left"
    modes.plane.kubectl("annotate", BOTH_KINDS, "boundtoken", value)
    wait_for(lambda: modes.cert_manager.injections > before + 3, 20)
    command = f"kubectl annotate {{}} boundtoken {INJECT}-"
    found = modes.checked()["ca-bundle"]
    kinds = [kind.removesuffix("s") for kind in KINDS]
    assert found["commands"] == [command.format(kind) for kind in kinds]
    modes.plane.kubectl("annotate", BOTH_KINDS, "boundtoken", f"{INJECT}-")
    wait_for(lambda: not modes.checked(), 20)
