"""Checks of our Deployment, its replicas and what keeps them up."""

from collections.abc import Iterator

from ..core import names
from .facts import NOT_LOOKED_AT, Installation, WaitingPod, needs_proxy
from .installer import BUDGET, REPLICAS, by_helm
from .model import (
    AGAIN,
    APPLY,
    MAX_LISTED,
    NOT_INSTALLED,
    Check,
    Finding,
    Unseen,
    failed,
    is_name,
    listed,
    passed,
    there,
    warning,
    worst,
)
from .objects import Deployment
from .shipped import LABELS

GROUP = "Deployment"
TITLE = "deployment/boundtoken"
INSTALL = (
    "Install it, by kustomize or Helm; boundtoken check --pre says whether the cluster takes it. If "
    "it is installed elsewhere, name its namespace with --webhook-namespace."
)
SCALE = "Scale it up, and find out who or what has scaled it down."
MOUNTED = (
    "Make it again, or find out why whoever makes it does not: with cert-manager, see kubectl get "
    "certificates. A replica that runs goes on with what it has; once it restarts, none starts."
)
NOT_SERVING = (
    "It may serve nothing yet: its log says why, and so may the checks replicas, rights and mounted-secrets. "
    "Else let the control plane reach port 10250 of the pods: NetworkPolicies, firewalls, routes."
)
LEAST = 2
"""Replicas, of which a PodDisruptionBudget can keep one."""
TOO_FEW = (
    "Run two replicas (replicas of your overlay, or of the chart), and have the budget then: with one "
    "replica no drain would end. Keep it so if one is what you want."
)
DESCRIBE = "kubectl describe pod/{pod} -n {own}"
IMAGE = "see name and tag, the registry, and imagePullSecrets"
WAITING = {
    "ImagePullBackOff": (IMAGE, DESCRIBE),
    "ErrImagePull": (IMAGE, DESCRIBE),
    "InvalidImageName": ("correct the image", DESCRIBE),
    "CrashLoopBackOff": ("it ends again and again, and its log says why", "kubectl logs pod/{pod} -n {own} --previous"),
    "CreateContainerConfigError": ("a ConfigMap or Secret that it names is missing, or a user is wrong", DESCRIBE),
    "Unschedulable": ("make room on a node, or let it run there", DESCRIBE),
}  # fmt: skip
"""Why a pod waits (kubelet's reasons): what mends it, and the command that shows more."""


def deployment(seen: Installation) -> Finding:
    if seen.is_absent:
        text = f"{NOT_INSTALLED}: no Deployment, Service, webhook configuration or policy of it is there"
        return failed(text, APPLY, cure=INSTALL)
    if seen.deployment is None:
        return failed(f"there is no {TITLE} in namespace {seen.own}", APPLY)
    there(seen.deployment)
    return passed(f"{TITLE} in namespace {seen.own}")


def only_one(seen: Installation) -> Finding:
    """Whether another installation writes the same caBundles and settings."""
    others = other_titles(seen)
    text = f"there may be another installation: {listed(others, ', ')}"
    command = "kubectl get deployments -A -l app.kubernetes.io/name=boundtoken"
    return warning(text, command) if others else passed()


def other_titles(seen: Installation) -> list[str]:
    """Deployments in other namespaces that may be ours. Whoever may create one may write labels,
    and more beside them: it is no proof.
    """
    return [
        f"deployment/{one.metadata.name} in namespace {one.metadata.namespace}"
        for one in there(seen.installations)
        if one.metadata.namespace != seen.own and may_be_ours(one)
    ]


def may_be_ours(found: Deployment) -> bool:
    """Whether its pods run our container under our account."""
    spec = found.spec.template.spec
    containers = {container.name for container in spec.containers or ()}
    return names.APP in containers and spec.service_account_name == names.APP


def replicas(seen: Installation) -> Finding:
    """Distinguishes zero that are requested, none that is ready, and too few."""
    found = there(seen.deployment, TITLE)
    requested, ready = found.spec.replicas, found.status.ready_replicas
    if requested == 0:
        text = "0 replicas are requested, so no pod is injected"
        return failed(text, _scaling(seen), cure=SCALE)
    why = "".join(f": {text}" for text in _not_ready(seen))
    commands = _looks(seen) or (
        f"kubectl get pods -n {seen.own} -l app.kubernetes.io/name=boundtoken",
        f"kubectl describe {TITLE} -n {seen.own}",
    )
    if ready == 0:
        return failed(f"none of {requested} replicas is ready{why}", *commands)
    if ready < requested:
        return warning(f"{ready} of {requested} replicas are ready{why}", *commands)
    if any(pod.reason in WAITING for pod in seen.waiting):
        return warning(f"{ready} of {requested} are ready, and another is not{why}", *commands)
    if requested == 1:
        text = "1 replica is requested: while it restarts, no pod is injected"
        return warning(text, _scaling(seen))
    return passed(f"{ready} of {requested} are ready")


def _scaling(seen: Installation) -> str:
    """The command for two replicas. What kubectl scales, the next upgrade by Helm puts back."""
    return by_helm(seen, REPLICAS) or f"kubectl scale {TITLE} -n {seen.own} --replicas=2"


def _not_ready(seen: Installation) -> list[str]:
    """Which pods are not ready, and what the Deployment says of it."""
    pods = seen.replicas if isinstance(seen.replicas, tuple) else ()
    waiting = {pod.name for pod in seen.waiting}
    found = list(map(_told, seen.waiting))
    found += [
        f"pod/{pod.name} is not ready"
        for pod in pods
        if not pod.is_ready and pod.name not in waiting
    ]
    status = there(seen.deployment).status
    found += [
        condition.message
        for condition in status.conditions or ()
        if condition.type == "ReplicaFailure" and condition.status == "True"
    ]
    return [listed(found)] if found else []


def _told(pod: WaitingPod) -> str:
    """Why a pod does not run, and what to do."""
    means, _ = WAITING.get(pod.reason, ("", ""))
    text = f"pod/{pod.name} waits, {pod.reason}"
    return text + "".join(f": {one}" for one in (pod.message, means) if one)


def _looks(seen: Installation) -> tuple[str, ...]:
    """What shows more of the pods that wait."""
    found = []
    for pod in seen.waiting[:MAX_LISTED]:
        _, command = WAITING.get(pod.reason, ("", ""))
        found.append((command or DESCRIBE).format(pod=pod.name, own=seen.own))
    return tuple(found)


def rollout(seen: Installation) -> Finding:
    """Whether every replica is of the newest template, and runs one image."""
    found = there(seen.deployment, TITLE)
    if found.spec.paused:
        command = f"kubectl rollout resume {TITLE} -n {seen.own}"
        return warning(f"{TITLE} is paused: no change of its template is rolled out", command)
    images = sorted({pod.image for pod in seen.asking()})
    commands = (f"kubectl rollout status {TITLE} -n {seen.own}", *_looks(seen))
    why = f": {listed(list(map(_told, seen.waiting)))}" if seen.waiting else ""
    if len(images) > 1:
        return warning(f"the replicas run different images: {listed(images, ', ')}{why}", *commands)
    if found.status.updated_replicas < found.spec.replicas:
        updated = f"{found.status.updated_replicas} of {found.spec.replicas}"
        return warning(f"{updated} replicas are of the newest template{why}", *commands)
    return passed(images[0])


def mounted(seen: Installation) -> Finding:
    """Whether what the pods mount is there: they start only then, and run on without it."""
    found = []
    required, secrets = there(seen.deployment, TITLE).secrets, there(seen.secrets)
    for name in required:
        secret = secrets.get(name, NOT_LOOKED_AT)
        if isinstance(secret, Unseen):
            found.append(Finding("unknown", secret.why))
        elif not secret:
            found.append(failed(f"secret/{name} is not in namespace {seen.own}"))
    titles = listed([f"secret/{name}" for name in required], ", ")
    return worst(*found, text=titles or "they mount none")


def version(seen: Installation) -> Finding:
    """Whether the replicas are of the release of this program."""
    found = {
        value
        for replica in seen.asking()
        for value in replica.labels("boundtoken_build_info", "version")
    }
    if not found:
        return Finding("unknown", "no replica tells its version")
    if found != {seen.version}:
        text = f"the replicas are {listed(sorted(found), ', ')}, and this program is {seen.version}"
        return warning(f"{text}: what it compares with may be another release's")
    return passed(seen.version)


def spread(seen: Installation) -> Finding:
    pods = [pod for pod in seen.asking() if pod.node]
    nodes = {pod.node for pod in pods}
    if len(pods) > 1 and len(nodes) == 1:
        return warning(f"{len(pods)} replicas, all on node {nodes.pop()}")
    return passed(f"{len(pods)} on {len(nodes)} nodes")


def budget(seen: Installation) -> Finding:
    labels = labels_of(seen)
    ours = [
        one
        for one in there(seen.budgets)
        if one.spec.selector is not None and one.spec.selector.matches(labels)
    ]
    if not ours:
        return _without_budget(seen)
    if len(ours) > 1:
        found_names = [one.metadata.name for one in ours]
        text = f"several select the replicas, so that no pod can be evicted: {listed(found_names, ', ')}"
        return failed(text, *_one_budget(found_names, seen.own))
    (found,) = ours
    if found.status.disruptions_allowed == 0 and _ready(seen) > 1:
        return warning(f"poddisruptionbudget/{found.metadata.name} allows no eviction")
    return passed(f"poddisruptionbudget/{found.metadata.name}")


def _without_budget(seen: Installation) -> Finding:
    """Neither the chart nor the manifests have one for a single replica: no drain would end."""
    text = "no PodDisruptionBudget selects the replicas: a drain may end all"
    found = seen.deployment
    if isinstance(found, Deployment) and found.spec.replicas < LEAST:
        command = by_helm(seen, REPLICAS, BUDGET)
        text = f"{text}, and {found.spec.replicas} replicas are too few for one"
        return warning(text, *filter(None, [command]), cure=TOO_FEW)
    return warning(text, by_helm(seen, BUDGET) or APPLY)


def _one_budget(found: list[str], own: str) -> tuple[str, ...]:
    """What leaves that of the manifests alone, where it is among them; else what shows them."""
    if names.APP not in found:
        return (f"kubectl get poddisruptionbudgets -n {own}",)
    others = [one for one in found if one != names.APP and is_name(one)]
    return tuple(f"kubectl delete poddisruptionbudget {one} -n {own}" for one in others)


def labels_of(seen: Installation) -> dict[str, str]:
    """The labels of the replicas; those of the manifests where the Deployment was not seen."""
    if not isinstance(seen.deployment, Deployment):
        return dict(LABELS)
    return seen.deployment.spec.template.metadata.labels or {}


def _ready(seen: Installation) -> int:
    return there(seen.deployment, TITLE).status.ready_replicas


def reachable(seen: Installation) -> Finding:
    """Whether the API server reaches the TLS port of each replica, which it needs for reviews."""
    commands = (f"kubectl get networkpolicies -n {seen.own}",)
    found = []
    for replica in seen.asking():
        if replica.is_forbidden:
            found.append(Finding("unknown", needs_proxy(seen.own)))
        elif replica.problem and not replica.is_ready:
            log = f"kubectl logs pod/{replica.name} -n {seen.own}"
            text = f"pod/{replica.name} is not ready: {replica.problem}"
            found.append(failed(text, log, cure=NOT_SERVING))
        elif replica.problem:
            found.append(failed(f"pod/{replica.name}: {replica.problem}", *commands))
    return worst(*found, text="each answered over TLS")


def checks() -> Iterator[Check[Installation]]:
    yield Check(
        "deployment",
        GROUP,
        "boundtoken's Deployment exists",
        "Install it, or name its namespace with --webhook-namespace.",
        deployment,
    )
    yield Check(
        "only-installation",
        GROUP,
        "there is no second installation",
        "Find out who made it and what it runs: anybody may write such labels. Two real installations overwrite each "
        "other's caBundles and bindings; uninstall the one that you do not use (docs/operations.md).",
        only_one,
    )
    yield Check(
        "replicas",
        GROUP,
        "every replica is ready",
        "Look at the events and the log of the pods that are not ready.",
        replicas,
    )
    yield Check(
        "rollout",
        GROUP,
        "every replica runs the same image",
        "Wait for the rollout, or find out why it does not finish; resume one that is paused.",
        rollout,
    )
    yield Check(
        "mounted-secrets", GROUP, "the Secrets that the replicas mount exist", MOUNTED, mounted
    )
    yield Check(
        "version",
        GROUP,
        "the replicas are of this program's release",
        "Use the program of the replicas' release, or upgrade the installation.",
        version,
    )
    yield from _of_losses()


def _of_losses() -> Iterator[Check[Installation]]:
    """Whether some replicas are left when a node fails or is drained."""
    yield Check(
        "spread",
        GROUP,
        "the replicas run on several nodes",
        "Delete one of the pods if another node has room for it now; else add a node.",
        spread,
    )
    yield Check(
        "disruption-budget",
        GROUP,
        "a PodDisruptionBudget keeps one replica",
        AGAIN + " Keep no second one for the same pods.",
        budget,
    )
