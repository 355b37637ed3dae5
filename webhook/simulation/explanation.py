"""What admission does with an object and with the pods that are made of it, and which layers
decide.
"""

from typing import Any, NamedTuple

from ..core import names, review
from ..core.decision import Decision
from ..core.faults import Fault
from ..core.kinds import WORKLOADS
from ..errors import MalformedReview
from . import layers
from .admission import Admission, Admitted, pod_of, with_automounted
from .layers import Annotations, Setting

JsonObject = dict[str, Any]
KINDS = {(workload.group, workload.kind) for workload in WORKLOADS}
DEFAULT_ACCOUNT = "default"
"""Of a pod that names none; the API server makes it in each namespace."""
INJECTED = ("injected", "rewritten")
LEFT_ALONE = ("mirror-pod", "own-namespace", "excluded-namespace", "not-applicable")
"""Reasons that no annotation changes."""


class Explained(NamedTuple):
    """`workload` is what was decided on the object itself, None for a pod. `before` and `pod` are
    the pod as the webhook receives it and what was decided on it; None where there is no pod.
    `problem` says why the webhook could not read the object.
    """

    workload: Admitted | None
    before: JsonObject | None
    pod: Admitted | None
    annotations: Annotations
    settings: tuple[Setting, ...]
    problem: str = ""
    unreached: Decision = Decision("not-applicable")
    """What is decided on the pod where the mutating webhook is away. The API server denies as this
    does, by its policies.
    """

    @property
    def mutation(self) -> Decision:
        """What was decided on the pod, or on the object where there is no pod."""
        if self.problem:
            return Decision("malformed-review", outcome="failed")
        decided = self.pod or self.workload
        return decided.mutation if decided is not None else Decision("not-applicable")

    @property
    def validation(self) -> Decision:
        decided = self.pod or self.workload
        return decided.validation if decided is not None else Decision("not-applicable")

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What is wrong anywhere, once each. The workload's come first: nobody hears of them when
        its pods are made.
        """
        of_workload = self.workload.mutation.faults if self.workload is not None else ()
        found = (*of_workload, *self.mutation.faults)
        return tuple({(f.annotation, f.value, f.problem): f for f in reversed(found)}.values())[
            ::-1
        ]

    @property
    def inject(self) -> Setting | None:
        return next((one for one in self.settings if one.name == "inject"), None)

    @property
    def is_requested(self) -> bool:
        """Whether somebody requests a token of ours for the pod. What the configuration requests of
        every pod counts only where an annotation could have it.
        """
        inject = self.inject
        if inject is None or inject.value == "disabled":
            return False
        return inject.decided_by != "defaults" or self.mutation.reason not in LEFT_ALONE

    @property
    def is_missed(self) -> bool:
        """Whether the pod gets no token of ours although it was requested. Who opts out, and a
        `replace` that has nothing to replace, are no misses.
        """
        if self.mutation.reason in (*INJECTED, "pod-opted-out", "nothing-to-replace"):
            return False
        return self.is_requested or any(fault.annotation == names.INJECT for fault in self.faults)


def explain(document: JsonObject, admission: Admission, *, opts_out: bool = False) -> Explained:
    """What admission does with this object.

    `opts_out` is what the service account of its pods says of automounting.
    """
    group, _, version = str(document.get("apiVersion", "")).rpartition("/")
    kind = str(document.get("kind", ""))
    nothing = Explained(None, None, None, Annotations({}), ())
    try:
        document = _completed(document)
        if (group, version, kind) == ("", "v1", "Pod"):
            return _of_pod(document, admission, Annotations(annotations_of(document)), opts_out)
        if (group, kind) in KINDS:
            admitted = admission.admit(document)
        else:
            admitted = Admitted(Decision("not-applicable"), document, Decision("not-applicable"))
        template = template_of(admitted.object)
        if template is None or not isinstance(template.get("metadata") or {}, dict):
            return nothing._replace(workload=admitted)
        pod = pod_of(template, str(member(document, "metadata").get("name") or "pod"))
        given = annotations_of(pod)
        is_left = admitted.mutation.reason == "left-to-owner"
        annotations = Annotations(given, given, annotations_of(document), is_left)
        return _of_pod(pod, admission, annotations, opts_out, admitted)
    except MalformedReview as problem:
        return nothing._replace(problem=str(problem))


def _completed(document: JsonObject) -> JsonObject:
    """The object with the members that the API server always sends.

    Raises: MalformedReview
    """
    made = {**document}
    for name in ("metadata", "spec"):
        made[name] = {} if made.get(name) is None else made[name]
        if not isinstance(made[name], dict):
            raise MalformedReview(f"{name}: must be an object")
    return made


def _of_pod(
    pod: JsonObject,
    admission: Admission,
    annotations: Annotations,
    opts_out: bool,  # noqa: FBT001
    workload: Admitted | None = None,
) -> Explained:
    review.decode(admission.review_of(pod))  # the plugin works on what can be read
    # The plugin adds nothing to a mirror pod, which may have no token.
    is_mirror = names.MIRROR_POD in annotations.pod
    before = pod if is_mirror else with_automounted(pod, opts_out=opts_out)
    faults = workload.mutation.faults if workload is not None else ()
    settings = layers.settings(admission.cluster, admission.namespace, annotations, faults)
    admitted, unreached = admission.admit(before), admission.validated(before)
    return Explained(workload, before, admitted, annotations, settings, "", unreached)


def template_of(document: JsonObject) -> JsonObject | None:
    """The pod template of an object, of a kind that boundtoken does not know as well; None where
    there is none with containers.
    """
    spec = member(document, "spec")
    for template in (
        member(member(member(spec, "jobTemplate"), "spec"), "template"),
        member(spec, "template"),
        member(document, "template"),  # a PodTemplate's
    ):
        if isinstance(member(template, "spec").get("containers"), list):
            return template
    return None


def account_of(document: JsonObject) -> str:
    """The name of the service account of the pods of an object."""
    spec = member(template_of(document) or document, "spec")
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or DEFAULT_ACCOUNT)


def annotations_of(document: JsonObject) -> dict[str, str]:
    """The annotations of an object that are texts."""
    found = member(member(document, "metadata"), "annotations")
    return {name: text for name, text in found.items() if isinstance(text, str)}


def member(document: JsonObject, name: str) -> JsonObject:
    """A mapping in an object; an empty one where there is none."""
    found = document.get(name)
    return found if isinstance(found, dict) else {}
