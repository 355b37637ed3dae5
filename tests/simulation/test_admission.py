"""Admission of objects that are in no review: the same decisions as the webhook's."""

import copy

import pytest

from tests.support.builders import (
    a_container,
    a_deployment,
    a_pod,
    a_request,
    automounted,
    mutation_of,
)
from webhook.core import names, policy
from webhook.core.policy import ClusterPolicy
from webhook.errors import MalformedReview
from webhook.simulation.admission import Admission, Admitted, as_decoded, pod_of, with_automounted

ON = {names.INJECT: "enabled"}


def admitted(pod: dict[str, object], **annotations: str) -> Admitted:
    cluster = ClusterPolicy()
    return Admission("shop", cluster, policy.resolve_namespace(cluster, ON | annotations)).admit(
        pod
    )


def test_null_in_a_manifest_is_what_the_api_server_makes_of_it() -> None:
    given = {"annotations": {"x": None, "y": "z"}, "labels": None, "items": [{"a": None}, None]}
    assert as_decoded(given) == {"annotations": {"x": "", "y": "z"}, "items": [{}, None]}


def test_the_old_name_of_a_service_account_is_the_new_one() -> None:
    spec = {"containers": [], "serviceAccount": "cart"}
    assert as_decoded({"spec": spec})["spec"]["serviceAccountName"] == "cart"
    assert as_decoded({**spec, "serviceAccountName": "x"})["serviceAccountName"] == "x"
    assert as_decoded({"serviceAccount": "cart"}) == {"serviceAccount": "cart"}


def test_the_decision_is_the_webhooks_and_the_object_is_what_validation_sees() -> None:
    cluster = ClusterPolicy()
    namespace = policy.resolve_namespace(cluster, ON | {names.ENFORCE: "no-legacy"})
    pod = a_pod()
    before = copy.deepcopy(pod)
    found = Admission("shop", cluster, namespace).admit(pod)
    assert found.mutation == mutation_of(a_request(pod), cluster, namespace)
    assert found.mutation.reason == "injected"
    assert [volume["name"] for volume in found.object["spec"]["volumes"]] == [names.VOLUME]
    assert found.validation.reason == "complies"
    assert pod == before


def test_a_workload_is_copied_into_and_its_pod_is_what_the_controller_makes() -> None:
    deployment = a_deployment({names.AUDIENCE: "vault"})
    found = admitted(deployment)
    assert found.mutation.reason == "copied"
    template = found.object["spec"]["template"]
    assert template["metadata"]["annotations"][names.AUDIENCE] == "vault"
    pod = pod_of(template, "web")
    assert pod["metadata"]["generateName"] == "web-"
    assert 'audience="vault"' in str(admitted(with_automounted(pod)).mutation.operations)


@pytest.mark.parametrize(
    ("says", "opts_out", "comes"),
    [
        (None, False, True),
        (None, True, False),
        (True, True, True),
        (False, False, False),
        (False, True, False),
    ],
)
def test_the_plugin_adds_its_volume_where_pod_and_account_do_not_opt_out(
    says: bool | None, opts_out: bool, comes: bool
) -> None:
    pod = a_pod()
    if says is not None:
        pod["spec"]["automountServiceAccountToken"] = says
    found = with_automounted(pod, opts_out=opts_out)
    assert found == (automounted(pod, "kube-api-access-00000") if comes else pod)


def test_a_container_with_something_at_the_path_gets_no_mount() -> None:
    pod = a_pod(a_container("app", ("mine", names.DEFAULT_PATH)))
    assert with_automounted(pod) == pod


def test_what_the_webhook_cannot_read_is_an_error_with_the_place() -> None:
    with pytest.raises(MalformedReview, match=r"spec\.containers"):
        admitted(a_pod() | {"spec": {"containers": 7}})
