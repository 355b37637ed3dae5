"""The decisions of both webhooks on an object that is in no review, and the object after mutation.

The object is put into a review, and decoded by the webhook's own decoder, so that nothing is read
another way here than there. What the API server does before and after is not done: it fills in
defaults, converts versions, and rejects what is invalid.
"""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import jsonpatch
import msgspec

from ..core import names, review
from ..core.decision import Decision
from ..core.policy import ClusterPolicy, NamespacePolicy
from ..enforcement import validate
from ..errors import MalformedReview
from ..mutation import mutate

JsonObject = dict[str, Any]
AUTOMOUNTED = names.AUTOMOUNTED_PREFIX + "00000"
"""The volume of the ServiceAccount plugin; the last five characters are random in a cluster."""

OF_TEXTS = ("annotations", "labels")


class Admitted(NamedTuple):
    """What both webhooks decided, and the object after mutation, which validation has seen."""

    mutation: Decision
    object: JsonObject
    validation: Decision


class Admission(NamedTuple):
    """Admission in the namespace `name`, whose policy is `namespace`, under the configuration
    `cluster`.
    """

    name: str
    cluster: ClusterPolicy
    namespace: NamespacePolicy

    def review_of(self, created: JsonObject, user: str = "") -> bytes:
        """The review in which the API server sends this object to be created."""
        return _review(created, self.name, user)

    def admit(
        self, created: JsonObject, *, user: str = "", legacy_tokens: frozenset[str] | None = None
    ) -> Admitted:
        """Create this object, which is not changed.

        `legacy_tokens` are the names of such Secrets in the namespace, None where they are not
        known.

        Raises: MalformedReview, for an object that the webhook cannot read, with the place
        """
        request = review.decode(_review(created, self.name, user))
        reason = mutate.skip_reason(request, self.cluster)
        mutation = (
            Decision(reason)
            if reason is not None
            else mutate.decide(request, self.cluster, self.namespace)
        )
        after = patched(created, mutation)
        validation = self.validated(after, user=user, legacy_tokens=legacy_tokens)
        return Admitted(mutation, after, validation)

    def validated(
        self, document: JsonObject, *, user: str = "", legacy_tokens: frozenset[str] | None = None
    ) -> Decision:
        """What the validating webhook decides on this object as it stands.

        Raises: MalformedReview
        """
        request = review.decode_full(_review(document, self.name, user))
        reason = validate.skip_reason(request, self.cluster)
        if reason is not None:
            return Decision(reason)
        return validate.decide(request, self.cluster, self.namespace, legacy_tokens)


def as_decoded(value: Any) -> Any:
    """A value of a manifest as the API server decodes it: null is an empty text in a map of texts,
    and no value anywhere else, and the old name of a pod's service account is the new one.

    Source: kubernetes/pkg/apis/core/v1/conversion.go (DeprecatedServiceAccount).
    """
    if isinstance(value, list):
        return [as_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: as_decoded(item) for key, item in value.items() if item is not None}
    for key in OF_TEXTS:
        if isinstance(texts := value.get(key), dict):
            made[key] = {name: "" if text is None else text for name, text in texts.items()}
    if "containers" in made and made.get("serviceAccount") and not made.get("serviceAccountName"):
        made["serviceAccountName"] = made["serviceAccount"]
    return made


def patched(document: JsonObject, decision: Decision) -> JsonObject:
    """The document with the operations of a decision applied, in a copy of its own."""
    operations = msgspec.to_builtins(decision.operations)
    return dict(jsonpatch.apply_patch(document, operations))


def pod_of(template: Mapping[str, Any] | None, owner: str) -> JsonObject:
    """The pod that a controller makes of a template; `owner` is the name of its workload."""
    made: JsonObject = copy.deepcopy(dict(template or {}))
    metadata = made.get("metadata") or {}
    kept = {name: metadata[name] for name in ("labels", "annotations") if metadata.get(name)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": f"{owner}-", **kept},
        "spec": made.get("spec") or {},
    }


def with_automounted(pod: JsonObject, *, opts_out: bool = False) -> JsonObject:
    """The pod as the ServiceAccount plugin hands it to the webhook, in a copy of its own.

    `opts_out` is what the service account says, which counts where the pod says nothing. The pod
    must be one that the webhook can read.

    Source: kubernetes/plugin/pkg/admission/serviceaccount/admission.go (mountServiceAccountToken).
    """
    made = copy.deepcopy(pod)
    spec = made["spec"]
    says = spec.get("automountServiceAccountToken")
    if (not says and opts_out) if says is None else not says:
        return made
    volumes = spec.get("volumes") or []
    present = (volume.get("name", "") for volume in volumes)
    name = next((name for name in present if name.startswith(names.AUTOMOUNTED_PREFIX)), "")
    lacking = [
        container
        for kind in ("initContainers", "containers")
        for container in spec.get(kind) or ()
        if all(
            mount.get("mountPath") != names.DEFAULT_PATH
            for mount in container.get("volumeMounts") or ()
        )
    ]
    for container in lacking:
        mount = {"name": name or AUTOMOUNTED, "readOnly": True, "mountPath": names.DEFAULT_PATH}
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]
    if lacking and not name:
        spec["volumes"] = [*volumes, _automounted()]
    return made


def _automounted() -> JsonObject:
    item = {
        "path": "namespace",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
    }
    return {
        "name": AUTOMOUNTED,
        "projected": {
            "sources": [
                {
                    "serviceAccountToken": {
                        "expirationSeconds": names.YEAR_TRAP_SECONDS,
                        "path": names.TOKEN_FILE,
                    }
                },
                {
                    "configMap": {
                        "name": names.ROOT_CA_CONFIGMAP,
                        "items": [{"key": "ca.crt", "path": "ca.crt"}],
                    }
                },
                {"downwardAPI": {"items": [item]}},
            ],
            "defaultMode": 0o644,
        },
    }


def _review(document: JsonObject, namespace: str, user: str) -> bytes:
    group, _, version = str(document.get("apiVersion", "")).rpartition("/")
    kind = document.get("kind", "")
    metadata = document.get("metadata") or {}
    if isinstance(metadata, dict) and not isinstance(metadata.get("name", ""), str):
        raise MalformedReview("metadata.name: must be a string")
    request = {
        "uid": "simulated",
        "operation": "CREATE",
        "kind": {"group": group, "version": version, "kind": kind},
        "name": metadata.get("name", ""),
        "namespace": namespace,
        "userInfo": {"username": user},
        "object": document,
    }
    return msgspec.json.encode(
        {"apiVersion": review.API_VERSION, "kind": review.KIND, "request": request}
    )
