"""An installation in which every check passes, to be changed by a test."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from tests.support.builders import Json
from webhook.checks import before, shipped
from webhook.checks.facts import (
    CaBundle,
    ConfigurationFile,
    Granted,
    Installation,
    Probe,
    Replica,
    Server,
)
from webhook.checks.objects import Annotated, Budget, Deployment, EndpointSlice, Service, Specified
from webhook.core import names
from webhook.core.policy import ClusterPolicy
from webhook.enforcement.policies import bindings
from webhook.simulation.calling import Configuration, ConfigurationMetadata

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
METRICS = {
    'boundtoken_build_info{python="3.13",version="1.2.3"}': 1.0,
    'boundtoken_config_info{hash="abcd1234"}': 1.0,
    "boundtoken_config_last_reload_successful": 1.0,
    "boundtoken_namespace_cache_synced": 1.0,
    "boundtoken_cabundle_in_sync": 1.0,
    "boundtoken_policy_in_sync": 1.0,
    "boundtoken_self_probe_interval_seconds": 60.0,
    'boundtoken_self_probe_result{result="injected"}': 1.0,
    'boundtoken_self_probe_result{result="not-injected"}': 0.0,
    "boundtoken_self_probe_last_success_timestamp_seconds": NOW.timestamp() - 250,
    'boundtoken_certificate_not_after_timestamp_seconds{kind="ca"}': 2e9,
    "boundtoken_namespace_last_event_timestamp_seconds": NOW.timestamp() - 30,
}


def a_replica(number: int = 1, **fields: Any) -> Replica:
    made = Replica(
        f"boundtoken-{number}",
        f"node-{number}",
        "boundtoken:1.2.3",
        is_ready=True,
        not_before=NOW - timedelta(days=1),
        not_after=NOW + timedelta(days=6),
        renewal=NOW + timedelta(days=4),
        metrics=METRICS,
        ahead_seconds=0.5,
    )
    return made._replace(**fields)


def a_deployment(
    replicas: int = 2, ready: int = 2, spec: Json | None = None, **status: Any
) -> Deployment:
    template = {"metadata": {"labels": shipped.LABELS}}
    document = {
        "metadata": {"name": "boundtoken"},
        "spec": {"replicas": replicas, "template": template, **(spec or {})},
        "status": {"readyReplicas": ready, "updatedReplicas": replicas, **status},
    }
    return msgspec.convert(document, Deployment)


def specified(spec: Json, annotations: dict[str, str] | None = None) -> Specified:
    document = {"metadata": {"annotations": annotations or {}}, "spec": spec}
    return msgspec.json.decode(msgspec.json.encode(document), type=Specified)


def an_installation(**fields: Any) -> Installation:
    selector = {"matchLabels": shipped.LABELS}
    service = {
        "spec": {"selector": shipped.LABELS, "ports": [{"port": shipped.PORT, "targetPort": "tls"}]}
    }
    settings = bindings.annotations(ClusterPolicy())
    made = Installation(
        "1.2.3",
        NOW,
        names.NAMESPACE,
        Server("v1.33.1", (1, 33), 0.0),
        a_deployment(),
        (),
        (a_replica(1), a_replica(2)),
        (),
        (msgspec.convert({"metadata": {"name": "b"}, "spec": {"selector": selector}, "status": {"disruptionsAllowed": 1}}, Budget),),
        msgspec.convert(service, Service),
        (msgspec.convert({"endpoints": [{}, {"conditions": {"ready": True}}, {"conditions": {"ready": False}}]}, EndpointSlice),),
        (),
        {
            resource: (Configuration(ConfigurationMetadata("boundtoken"), entries),)
            for resource, entries in shipped.ENTRIES.items()
        },
        tuple(
            CaBundle(entry.name, True, "1 certificate", NOW + timedelta(days=300))
            for entries in shipped.ENTRIES.values()
            for entry in entries
        ),
        {name: specified(spec) for name, spec in shipped.POLICIES.items()},
        {name: specified(spec, settings) for name, spec in shipped.BINDINGS.items()},
        tuple(Granted(right, "rolebinding/boundtoken") for right in before.to_grant(names.NAMESPACE)),
        ConfigurationFile("boundtoken", (), "abcd1234"),
        ClusterPolicy(),
        {"pods.boundtoken.dev": 0, "enforced.boundtoken.dev": 3},
        (),
        Probe("default", "", "injected", is_injected=True),
        (),
        dict.fromkeys((*before.to_install(names.NAMESPACE), before.ESCALATE), True),
        frozenset({"validatingadmissionpolicies", "validatingadmissionpolicybindings"}),
        {"ValidatingAdmissionPolicy": True},
        None,
        names.YEAR_SECONDS,
        Annotated(),
        {},
    )  # fmt: skip
    for name, value in fields.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    return made
