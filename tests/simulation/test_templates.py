"""Templates as admission would make their pods: one decision, in the webhook and in a file."""

import copy
import os

import pytest

from tests.support.builders import Json
from tests.support.generated import Generator
from webhook.core import names, policy
from webhook.core.policy import ClusterPolicy
from webhook.simulation import templates
from webhook.simulation.admission import Admission, pod_of, with_automounted

PODS = int(os.environ.get("BOUNDTOKEN_PODS", "2000"))
SPEC = ("spec", "template")


def admission(**annotations: str) -> Admission:
    cluster = ClusterPolicy()
    given = {names.DOMAIN + name.replace("_", "-"): value for name, value in annotations.items()}
    return Admission("shop", cluster, policy.resolve_namespace(cluster, given))


def a_workload(pod: Json) -> Json:
    metadata = {
        key: value for key, value in pod["metadata"].items() if key in ("labels", "annotations")
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": {"metadata": metadata, "spec": pod["spec"]}},
    }


@pytest.mark.parametrize("seed", range(8))
def test_the_webhook_and_a_file_agree_over_generated_pods(seed: int) -> None:
    generator, cluster = Generator(seed), ClusterPolicy()
    changed = 0
    for _ in range(PODS // 8):
        namespace = policy.resolve_namespace(cluster, generator.namespace())
        pod, opts_out = generator.pod(), generator.account_opts_out()
        there = Admission("shop", cluster, namespace)
        workload = a_workload(pod)
        before = copy.deepcopy(workload)
        found = templates.inject(there, workload, SPEC, opts_out=opts_out)
        assert workload == before
        # What the webhook does without a file: the workload, then a pod of it.
        template = there.admit(workload).object["spec"]["template"]
        live = there.admit(with_automounted(pod_of(template, "web"), opts_out=opts_out))
        assert found.reason == live.mutation.reason
        # What it does with the file: nothing, and the pod is the same but for the order.
        again = there.admit(found.object)
        assert again.object == found.object
        late = with_automounted(pod_of(found.object["spec"]["template"], "web"), opts_out=opts_out)
        admitted = there.admit(late)
        assert admitted.object == late
        assert admitted.mutation.reason == found.reason
        assert content(late) == content(live.object)
        assert templates.inject(there, found.object, SPEC, opts_out=opts_out).object == found.object
        changed += found.object != workload
    assert changed > PODS // 8 // 3


def content(pod: Json) -> Json:
    """The pod with volumes and mounts in the order of their names, and without empty
    annotations.
    """
    made: Json = copy.deepcopy(pod)
    if not made["metadata"].get("annotations"):
        made["metadata"].pop("annotations", None)
    spec = made["spec"]
    spec["volumes"] = sorted(spec.get("volumes") or (), key=lambda volume: str(volume["name"]))
    for kind in ("initContainers", "containers"):
        for container in spec.get(kind) or ():
            container["volumeMounts"] = sorted(container.get("volumeMounts") or (), key=str)
    return made
