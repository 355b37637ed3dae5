"""Checks of the configuration, and of what the replicas say of themselves in their metrics."""

from collections.abc import Iterator

from ..core import names, policy
from ..enforcement.policies import bindings
from .facts import ConfigurationFile, Installation, Replica
from .model import (
    APPLY,
    Check,
    Finding,
    Unseen,
    all_of,
    failed,
    is_name,
    passed,
    there,
    warning,
    worst,
)
from .objects import Deployment, Specified

GROUP = "Configuration and replicas"
SILENT_SECONDS = 300.0
"""Bookmarks arrive about once a minute, so that a watch that is silent for longer is dead."""
NOT_AFTER = "boundtoken_certificate_not_after_timestamp_seconds"
SYNCED = (
    ("boundtoken_namespace_cache_synced", "has not listed the namespaces yet"),
    ("boundtoken_cabundle_in_sync", "finds another caBundle than its own authorities"),
)
POLICY_IN_SYNC = "boundtoken_policy_in_sync"


def valid(seen: Installation) -> Finding:
    """Whether the file in the ConfigMap can be used."""
    if seen.file is None:
        text = "there is no ConfigMap of boundtoken: replicas that have read one keep it"
        return warning(f"{text}, and none that mounts it starts", *_restoring(seen))
    found = there(seen.file)
    where = f"configmap/{found.name}: "
    problems = [where + fault for fault in found.faults]
    return all_of(problems, *_edit(seen), text=f"configmap/{found.name}")


def _restoring(seen: Installation) -> tuple[str, ...]:
    """What makes the ConfigMap again of what a replica has read last, where the binding has it."""
    binding = seen.bindings.get(names.POD_POLICY)
    if not isinstance(binding, Specified):
        return (APPLY,)
    if not bindings.last_good(policy.own_annotations(binding.metadata.annotations)):
        return (APPLY,)
    key = names.CONFIGURATION.replace(".", "\\.")
    labels = " ".join(f"{name}={value}" for name, value in names.CONFIG_LABELS.items())
    where = f"configmap {_mounted(seen)} -n {seen.own}"
    file = f"{names.APP}-restored.yaml"
    path = f"-o jsonpath='{{.metadata.annotations.{key}}}'"
    return (
        f"kubectl get validatingadmissionpolicybinding {names.POD_POLICY} {path} > {file}",
        f"kubectl create {where} --from-file={names.CONFIG_KEY}={file}",
        f"kubectl label {where} {labels}",
    )


def _mounted(seen: Installation) -> str:
    """The name of the ConfigMap that the replicas read: an overlay may have another."""
    found = seen.deployment.config_maps if isinstance(seen.deployment, Deployment) else set[str]()
    (name,) = found if len(found) == 1 else (names.APP,)
    return name if is_name(name) else names.APP


def _edit(seen: Installation) -> tuple[str, ...]:
    """The command for the file, where its ConfigMap is known."""
    if seen.file is None or isinstance(seen.file, Unseen) or not is_name(seen.file.name):
        return ()
    return (f"kubectl edit configmap/{seen.file.name} -n {seen.own}",)


def applied(seen: Installation) -> Finding:
    """Whether each replica uses the file that is there."""
    found, hashes = [], {}
    for replica in seen.asking():
        refused = there(replica.metrics).get("boundtoken_config_last_reload_successful") == 0
        if refused:
            text = f"pod/{replica.name} refused the file, and uses an older one"
            found.append(failed(text, *_edit(seen)))
        hashes[replica.name] = next(iter(replica.labels("boundtoken_config_info", "hash")), "")
    if len(set(hashes.values())) > 1:
        text = ", ".join(f"pod/{name}: {digest or 'none'}" for name, digest in hashes.items())
        found.append(warning(f"they use different files ({text}): a change takes up to 2 minutes"))
    elif seen.file is not None and not (file := there(seen.file)).faults:
        used = next(iter(hashes.values()))
        if used and used != file.hash:
            found.append(file.unread(f"they use {used}, and configmap/{file.name} has {file.hash}"))
    return worst(*found, text=f"hash {next(iter(hashes.values())) or 'of the defaults'}")


def synced(seen: Installation) -> Finding:
    """Whether each replica has what it needs for its decisions."""
    return worst(*(_synced(replica, seen) for replica in seen.asking()), text="each says so")


def _synced(replica: Replica, seen: Installation) -> Finding:
    metrics = there(replica.metrics)
    log = f"kubectl logs -n {seen.own} pod/{replica.name}"
    # Where others keep the certificates, a replica knows no authority, and its gauge stays 0.
    kept_by_others = f'{NOT_AFTER}{{kind="ca"}}' not in metrics
    problems = [
        f"pod/{replica.name} {problem}"
        for metric, problem in SYNCED
        if metrics.get(metric) == 0 and not (kept_by_others and "cabundle" in metric)
    ]
    last = metrics.get("boundtoken_namespace_last_event_timestamp_seconds", 0.0)
    silence = seen.now.timestamp() - last
    if last and silence > SILENT_SECONDS:
        problems.append(f"pod/{replica.name} has heard nothing of namespaces for {silence:.0f} s")
    found = [all_of(problems, log)]
    if metrics.get(POLICY_IN_SYNC) == 0:
        text = f"pod/{replica.name} finds other settings in the policy bindings, or none"
        # After a change another replica may have read the new file, and written its settings.
        file = seen.file if isinstance(seen.file, ConfigurationFile) else None
        found.append(failed(text, log) if file is None else file.unread(text, log))
    return worst(*found)


INJECTING = frozenset({"pods.boundtoken.dev", "workloads.boundtoken.dev"})
"""The entries without which a pod has no token of boundtoken."""


def _times(count: float) -> str:
    return "once" if count == 1 else f"{count} times"


def fail_open(seen: Installation) -> Finding:
    """How often the API server went on without us, since it started."""
    counts = {name: count for name, count in there(seen.fail_open).items() if count}
    if not INJECTING.intersection(counts):
        others = sum(counts.values())
        requests = f"{others} other request{'' if others == 1 else 's'}"
        return passed(f"no pod; {requests} since this API server started" if others else "none")
    text = ", ".join(f"{name} {_times(count)}" for name, count in sorted(counts.items()))
    return warning(
        f"since the API server that answered has started: {text}",
        "boundtoken explain TYPE/NAME --audit-log FILE",
    )


def checks() -> Iterator[Check[Installation]]:
    yield Check(
        "configuration",
        GROUP,
        "the configuration is valid",
        "Correct the file: boundtoken config check lists every fault with its path.",
        valid,
    )
    yield Check(
        "configuration-applied",
        GROUP,
        "every replica uses it",
        "Wait two minutes after a change; then look at the log of the replica that differs.",
        applied,
    )
    yield Check(
        "synced",
        GROUP,
        "every replica is in sync with the cluster",
        "Look at its log, which says what it cannot list, watch or write.",
        synced,
    )
    yield Check(
        "fail-open",
        GROUP,
        "no request went on without boundtoken",
        "Dry runs and pods of boundtoken's own namespace count too: boundtoken scan lists "
        "the pods that lack a token, and says what to restart.",
        fail_open,
    )
