"""Rows of the table of fates that only rare pods meet."""

from tests.support.builders import (
    AUTOMOUNTED,
    Json,
    a_container,
    a_pod,
    automounted,
    mutated,
    validating_decision,
)
from webhook.core import names
from webhook.core.policy import ClusterPolicy, TokenPolicy


def test_a_mount_elsewhere_goes_while_a_skipped_container_keeps_the_volume() -> None:
    pod = automounted(
        a_pod(
            a_container("app", (AUTOMOUNTED, "/elsewhere")),
            a_container("skipped"),
            annotations={names.SKIP_CONTAINERS: "skipped"},
        )
    )
    after = mutated(pod, inject="enabled", automount="disabled", mount_path="/bound")
    assert [volume["name"] for volume in after["spec"]["volumes"]] == [AUTOMOUNTED, names.VOLUME]
    app, skipped = (
        [(mount["name"], mount["mountPath"]) for mount in container["volumeMounts"]]
        for container in after["spec"]["containers"]
    )
    assert app == [(names.VOLUME, "/bound")]
    assert skipped == [(AUTOMOUNTED, names.DEFAULT_PATH)]


def test_a_template_that_opts_out_is_not_injected_by_the_defaults_of_the_cluster() -> None:
    """The forecast for it has no token, and so none that is valid for too long."""
    defaults = TokenPolicy(inject="enabled", automount=False, expiration_seconds=7200)
    cluster = ClusterPolicy(defaults=defaults)
    for operation in ("CREATE", "UPDATE"):
        for says, violates in ((False, False), (None, True)):
            spec: Json = {"containers": [a_container()]}
            if says is False:
                spec |= {"automountServiceAccountToken": False}
            workload = {"metadata": {"name": "web"}, "spec": {"template": {"spec": spec}}}
            decision = validating_decision(
                workload,
                cluster,
                request={"kind": "Deployment", "group": "apps", "operation": operation},
                warn="strict",
            )
            assert decision.reason == ("violates" if violates else "complies"), (operation, says)
