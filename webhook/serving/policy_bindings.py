"""Keeping the configuration's part of the API server's policies in step: annotations of their
bindings, and nothing else.

Every replica does the same; there is no leader. What somebody has changed is put back at once. What
another replica has written whole, from a configuration that is not ours, is left alone for as long
as a kubelet may take to show all replicas the same ConfigMap: two that correct each other would
flap for a minute with each change.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from .. import metrics
from ..cluster import watch
from ..cluster.client import MERGE_PATCH, METADATA_LIST, ApiClient, decode
from ..cluster.watch import PAGES, Bookmark, Changed, Deleted, Disconnected, Listed, objects
from ..core import names, policy
from ..core.policy import ClusterPolicy
from ..enforcement.policies import bindings
from ..errors import ApiError, Unauthenticated, described
from ..log import Log

PATH = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
ANOTHERS_SECONDS = 150.0
"""How long another configuration may stand: the kubelet shows a changed ConfigMap within about a
minute, or two."""
MISSING_SECONDS = 60.0
"""How often a binding that is not there is told."""
LONGEST_SLEEP = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
"""Seconds between two tries, doubled where the API server fails, so that who changes without pause
costs little."""
MAX_LEFTOVERS = 20


class _Binding:
    """What is known of one binding."""

    def __init__(self) -> None:
        self.listed = False
        self.annotations: Mapping[str, str] | None = None
        """Those of our domain; None where the binding is missing."""
        self.is_new = True
        """Whether our configuration has changed since we last wrote it or saw it there."""
        self.anothers_since: float | None = None
        self.missing_told = float("-inf")
        self.is_lost = False
        self.problem = ""


class BindingReconciler:
    """One replica's part. `cluster` gives the configuration that holds.

    For a replica that was given a configuration, and for nobody else: a process that somebody runs
    beside them, outside of the cluster or without a file, must not write its defaults.
    """

    def __init__(
        self,
        client: ApiClient,
        cluster: Callable[[], ClusterPolicy],
        log: Log,
        *,
        anothers_seconds: float = ANOTHERS_SECONDS,
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._log = log
        self._anothers_seconds = anothers_seconds
        self._woken = asyncio.Event()
        self._bindings = {name: _Binding() for name in names.POLICY_BINDINGS}
        metrics.POLICY_IN_SYNC.set_function(lambda: self.in_sync)

    @property
    def in_sync(self) -> bool:
        """Whether every binding says what our configuration says."""
        wanted = bindings.annotations(self._cluster())
        return all(binding.annotations == wanted for binding in self._bindings.values())

    def loops(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """What must run."""
        return [
            self._run,
            *(partial(self._follow, name, binding) for name, binding in self._bindings.items()),
        ]

    def configuration_changed(self) -> None:
        """Write it at once."""
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
                    self._tell_lost(name, binding, problem)
                    continue
                case Bookmark():
                    binding.is_lost = False
                    continue
            binding.is_lost = False
            self._woken.set()

    async def _run(self) -> None:
        clock, pause = asyncio.get_running_loop().time, FIRST_PAUSE
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), LONGEST_SLEEP)
            self._woken.clear()
            kept = [
                await self._try_to_keep(name, binding, clock())
                for name, binding in self._bindings.items()
            ]
            pause = FIRST_PAUSE if all(kept) else min(pause * 2, LONGEST_PAUSE)
            if not all(kept):
                self._woken.set()
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  (spreads replicas, hides nothing)

    async def _try_to_keep(self, name: str, binding: _Binding, now: float) -> bool:
        """Whether it could be done; one that fails keeps no other waiting."""
        try:
            await self._keep(name, binding, now)
        except Exception as problem:  # noqa: BLE001  (an edge: whatever a turn meets, the process serves on)
            metrics.POLICY_UPDATES.labels("failed").inc()
            if (said := described(problem)) != binding.problem:
                binding.problem = said
                self._log.error("policy binding cannot be updated", binding=name, problem=said)
            await asyncio.sleep(getattr(problem, "retry_after", 0.0))
            return False
        binding.problem = ""
        return True

    async def _keep(self, name: str, binding: _Binding, now: float) -> None:
        there, wanted = binding.annotations, bindings.annotations(self._cluster())
        if there is None:
            self._tell_missing(name, binding, now)
            return
        state = bindings.state(there, wanted)
        if state == "in-sync":
            binding.is_new, binding.anothers_since = False, None
            return
        if state == "of-another" and not binding.is_new:
            binding.anothers_since = binding.anothers_since or now
            if now - binding.anothers_since < self._anothers_seconds:
                return
        reason = "our configuration is new" if binding.is_new else f"its annotations are {state}"
        body = {"metadata": {"annotations": bindings.changes(there, wanted)}}
        await self._client.send("PATCH", f"{PATH}/{name}", body, content_type=MERGE_PATCH)
        binding.annotations, binding.is_new, binding.anothers_since = wanted, False, None
        metrics.POLICY_UPDATES.labels("updated").inc()
        self._log.info("policy binding updated", binding=name, reason=reason)

    def _tell_lost(self, name: str, binding: _Binding, problem: str) -> None:
        if not binding.is_lost:
            self._log.warning("policy binding watch interrupted", binding=name, problem=problem)
        binding.is_lost = True

    def _tell_missing(self, name: str, binding: _Binding, now: float) -> None:
        if binding.listed and now - binding.missing_told >= MISSING_SECONDS:
            binding.missing_told = now
            metrics.POLICY_UPDATES.labels("missing").inc()
            hint = "kubectl apply -f manifests/85-enforcement.yaml makes it again"
            self._log.error(
                "policy binding is missing, the API server does not enforce",
                binding=name,
                hint=hint,
            )


async def log_leftover_labels(client: ApiClient, log: Log) -> None:
    """Name the namespaces that carry the label of older releases; it does nothing, and nobody else
    would say so.
    """
    query = {"labelSelector": names.LEFTOVER_LABEL, "limit": str(MAX_LEFTOVERS)}
    try:
        page = decode(
            PAGES, await client.get("/api/v1/namespaces", accept=METADATA_LIST, query=query)
        )
        found = [each.name async for each in objects(page)]
    except (ApiError, Unauthenticated):
        return  # the next start tells
    if found:
        hint = f"kubectl label namespaces -l {names.LEFTOVER_LABEL} {names.LEFTOVER_LABEL}-"
        log.info(
            "leftover label does nothing any more",
            label=names.LEFTOVER_LABEL,
            namespaces=found,
            hint=hint,
        )
