"""A release of the chart in a control plane, or what a kustomization has installed under the same
names.
"""

from tests.controlplane.cluster import ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.support.builders import Json, a_bare_pod, volume_names
from tests.support.cluster import BINDINGS, NAMESPACES
from tests.support.helm import CHART, helm
from tests.support.waiting import wait_for
from webhook.core import names
from webhook.pki.store import KINDS

REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
QUICK = ["--set", "options.drainSeconds=0.2"]


class Release:
    """A release, or what a kustomization has installed under the same names."""

    def __init__(self, plane: ControlPlane, name: str, namespace: str) -> None:
        self.plane, self.name, self.namespace = plane, name, namespace

    def helm(self, verb: str, *arguments: str, chart: bool = True) -> str:
        """What Helm prints. Raises: AssertionError, with what it said where it fails"""
        words = [verb, self.name, *([str(CHART)] if chart else []), *arguments]
        done = helm(*words, "-n", self.namespace, kubeconfig=self.plane.kubeconfig())
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def deployment(self) -> Json:
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/boundtoken"
        return dict(self.plane.call("GET", path))

    def configuration(self) -> str:
        path = f"{NAMESPACES}/{self.namespace}/configmaps/boundtoken"
        return str(self.plane.call("GET", path)["data"][names.CONFIG_KEY])

    def kept(self) -> dict[str, object]:
        """What the replicas have written: caBundles, and the parameters of the policies."""
        found: dict[str, object] = {}
        for kind in KINDS:
            entries = self.plane.call("GET", f"{REGISTRATION}/{kind}/boundtoken")["webhooks"]
            found |= {row["name"]: row["clientConfig"].get("caBundle") for row in entries}
        for name in names.POLICY_BINDINGS:
            written = self.plane.call("GET", f"{BINDINGS}/{name}")["metadata"].get("annotations")
            found[name] = {
                key: text for key, text in (written or {}).items() if key.startswith(names.DOMAIN)
            }
        return found

    def is_kept(self) -> bool:
        """Whether all of it is there."""
        return all(self.kept().values())

    def works(self, namespace: str) -> bool:
        """Whether a pod is injected, by a replica."""
        path = f"{NAMESPACES}/{namespace}/pods?dryRun=All"
        return volume_names(self.plane.call("POST", path, a_bare_pod())) == ["boundtoken"]

    def uids(self) -> dict[str, str]:
        """Of objects that must not be made anew."""
        kinds = f"deployment,service,configmap,serviceaccount,{','.join(KINDS)}"
        kinds += ",validatingadmissionpolicies,validatingadmissionpolicybindings"
        template = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}{'\\n'}{end}"
        selector = ("-l", "app.kubernetes.io/name=boundtoken", "-n", self.namespace)
        lines = self.plane.kubectl("get", kinds, *selector, "-o", template).splitlines()
        return dict(line.split() for line in lines)

    def left(self) -> list[str]:
        """Every object of ours, and what Kubernetes did not put into the namespace."""
        resources = self.plane.kubectl("api-resources", "--verbs=list", "-o", "name").split()
        kinds = ",".join(sorted(set(resources) - {"events", "events.events.k8s.io"}))
        template = (
            "jsonpath={range .items[*]}{.metadata.namespace} {.kind}/{.metadata.name}{'\\n'}{end}"
        )
        rows = self.plane.kubectl("get", kinds, "-A", "-o", template).splitlines()
        places = [row.partition(" ") for row in rows]
        by_kubernetes = ("ConfigMap/kube-root-ca.crt", "ServiceAccount/default")
        return sorted(
            {
                name
                for place, _, name in places
                if (place == self.namespace and name not in by_kubernetes)
                or (not place and names.APP in name)
            }
        )


def running(release: Release, kubelet: Kubelet) -> None:
    """Wait for two replicas that have written what they keep."""
    wait_for(lambda: kubelet.proxy.ready("boundtoken") == len(kubelet.pods) == 2, 90)
    wait_for(release.is_kept, 30)


def rolled_out(release: Release, kubelet: Kubelet) -> None:
    """Wait until two replicas of the newest template run, and no other."""
    command = ("rollout", "status", "deployment/boundtoken", "-n", release.namespace)
    release.plane.kubectl(*command, "--timeout=400s")
    running(release, kubelet)
