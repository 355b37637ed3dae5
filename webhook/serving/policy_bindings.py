"""Writes the configuration's settings into the bindings of the API server's policies: annotations,
and nothing else.

Every replica does the same; there is no leader. A change by somebody else is reverted at once. The
complete settings of another configuration come from another replica: they are left alone for as
long as kubelets may take to show all replicas the same ConfigMap. Otherwise two replicas would
overwrite each other for a minute after each change.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from functools import partial

from .. import metrics
from ..cluster import watch
from ..cluster.client import MERGE_PATCH, METADATA_LIST, ApiClient, decode
from ..cluster.credentials import Credentials, InCluster
from ..cluster.namespaces import NamespaceCache
from ..cluster.watch import PAGES, Bookmark, Changed, Deleted, Disconnected, Listed, objects
from ..core import names, policy
from ..core.policy import ClusterPolicy
from ..enforcement.policies import bindings
from ..errors import ApiError, Unauthenticated, described
from ..log import Log
from .configuration_file import ConfigurationFile
from .process import Loop

PATH = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
ANOTHERS_SECONDS = 150.0
"""How long another configuration's settings are left alone: the kubelet shows a changed ConfigMap
within one or two minutes."""
MISSING_SECONDS = 60.0
"""Between two log lines about a missing binding."""
LONGEST_SLEEP = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
"""Seconds between two writes, doubled while the API server fails. They limit the load if somebody
changes a binding all the time."""
MAX_LEFTOVERS = 20


class _Binding:
    """The known state of one binding."""

    def __init__(self) -> None:
        self.listed = False
        self.annotations: Mapping[str, str] | None = None
        """Those of our domain; None where the binding is missing."""
        self.is_new = True
        """Whether our configuration has changed since we last wrote it or found it there."""
        self.anothers_since: float | None = None
        self.missing_logged = float("-inf")
        self.is_interrupted = False
        self.problem = ""


class BindingReconciler:
    """Reconciles the bindings with the configuration: the policy that `cluster` returns, and the
    text that `text` returns, for replicas that start under a bad one.

    Only for a replica that was given a configuration: a process outside of the cluster, or without
    a configuration file, must not write its defaults.
    """

    def __init__(
        self,
        client: ApiClient,
        cluster: Callable[[], ClusterPolicy],
        log: Log,
        *,
        text: Callable[[], str] = str,
        anothers_seconds: float = ANOTHERS_SECONDS,
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._text = text
        self._log = log
        self._anothers_seconds = anothers_seconds
        self._woken = asyncio.Event()
        self._bindings = {name: _Binding() for name in names.POLICY_BINDINGS}
        metrics.POLICY_IN_SYNC.set_function(lambda: self.in_sync)

    @property
    def in_sync(self) -> bool:
        """Whether every binding has the settings of our configuration."""
        return all(
            binding.annotations == self._desired(name) for name, binding in self._bindings.items()
        )

    def loops(self) -> list[Loop]:
        """The loops that the service must run."""
        return [
            self._run,
            *(partial(self._follow, name, binding) for name, binding in self._bindings.items()),
        ]

    def _desired(self, name: str) -> dict[str, str]:
        return bindings.annotations(
            self._cluster(), self._text() if name == names.POD_POLICY else ""
        )

    def configuration_changed(self) -> None:
        """Write the new settings at once."""
        for binding in self._bindings.values():
            binding.is_new = True
        self._woken.set()

    async def _follow(self, name: str, binding: _Binding) -> None:
        async for event in watch.stream(
            self._client,
            PATH,
            lambda metadata: policy.own_annotations(metadata.annotations),
            field_selector=f"metadata.name={name}",
        ):
            match event:
                case Listed(items=items):
                    binding.listed, binding.annotations = True, items[0] if items else None
                case Changed(item=annotations):
                    binding.annotations = annotations
                case Deleted():
                    binding.annotations = None
                case Disconnected(problem=problem):
                    self._log_interruption(name, binding, problem)
                    continue
                case Bookmark():
                    binding.is_interrupted = False
                    continue
            binding.is_interrupted = False
            self._woken.set()

    async def _run(self) -> None:
        clock, pause = asyncio.get_running_loop().time, FIRST_PAUSE
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), LONGEST_SLEEP)
            self._woken.clear()
            done = [
                await self._try_to_reconcile(name, binding, clock())
                for name, binding in self._bindings.items()
            ]
            pause = FIRST_PAUSE if all(done) else min(pause * 2, LONGEST_PAUSE)
            if not all(done):
                self._woken.set()
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  (spreads replicas, hides nothing)

    async def _try_to_reconcile(self, name: str, binding: _Binding, now: float) -> bool:
        """Whether the binding could be reconciled. A failure is logged, and the others go on."""
        try:
            await self._reconcile(name, binding, now)
        except Exception as problem:  # noqa: BLE001  (an edge: whatever a turn meets, the process serves on)
            metrics.POLICY_UPDATES.labels("failed").inc()
            if (text := described(problem)) != binding.problem:
                binding.problem = text
                self._log.error("policy binding cannot be updated", binding=name, problem=text)
            await asyncio.sleep(getattr(problem, "retry_after", 0.0))
            return False
        binding.problem = ""
        return True

    async def _reconcile(self, name: str, binding: _Binding, now: float) -> None:
        current, desired = binding.annotations, self._desired(name)
        if current is None:
            self._log_missing(name, binding, now)
            return
        state = bindings.state(current, desired)
        if state == "in-sync":
            binding.is_new, binding.anothers_since = False, None
            return
        if state == "of-another" and not binding.is_new:
            binding.anothers_since = binding.anothers_since or now
            if now - binding.anothers_since < self._anothers_seconds:
                return
        reason = "the configuration is new" if binding.is_new else f"its annotations are {state}"
        body = {"metadata": {"annotations": bindings.changes(current, desired)}}
        await self._client.send("PATCH", f"{PATH}/{name}", body, content_type=MERGE_PATCH)
        binding.annotations, binding.is_new, binding.anothers_since = desired, False, None
        metrics.POLICY_UPDATES.labels("updated").inc()
        self._log.info("policy binding updated", binding=name, reason=reason)

    def _log_interruption(self, name: str, binding: _Binding, problem: str) -> None:
        if not binding.is_interrupted:
            self._log.warning("policy binding watch interrupted", binding=name, problem=problem)
        binding.is_interrupted = True

    def _log_missing(self, name: str, binding: _Binding, now: float) -> None:
        if binding.listed and now - binding.missing_logged >= MISSING_SECONDS:
            binding.missing_logged = now
            metrics.POLICY_UPDATES.labels("missing").inc()
            hint = "apply the installation again: kubectl apply -k OVERLAY, or helm upgrade"
            self._log.error(
                "policy binding is missing, the API server does not enforce",
                binding=name,
                hint=hint,
            )


def binding_reconciler(
    client: ApiClient | None,
    credentials: Credentials | None,
    configuration: ConfigurationFile | None,
    namespaces: NamespaceCache,
    log: Log,
) -> BindingReconciler | None:
    """The reconciler of a replica in the cluster that was given a configuration, else None."""
    if client is None or configuration is None or not isinstance(credentials, InCluster):
        return None
    return BindingReconciler(
        client, lambda: namespaces.cluster, log, text=lambda: configuration.text
    )


async def log_leftover_labels(client: ApiClient, log: Log) -> None:
    """Log the namespaces that have the label of older releases, which does nothing any more."""
    query = {"labelSelector": names.LEFTOVER_LABEL, "limit": str(MAX_LEFTOVERS)}
    try:
        page = decode(
            PAGES, await client.get("/api/v1/namespaces", accept=METADATA_LIST, query=query)
        )
        labelled = [metadata.name async for metadata in objects(page)]
    except (ApiError, Unauthenticated):
        return  # the next start logs it
    if labelled:
        hint = f"kubectl label namespaces -l {names.LEFTOVER_LABEL} {names.LEFTOVER_LABEL}-"
        log.info(
            "leftover label does nothing any more",
            label=names.LEFTOVER_LABEL,
            namespaces=labelled,
            hint=hint,
        )
