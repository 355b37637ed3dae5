"""Many tokens: of many accounts, for many audiences, or bound to the pods of an operator."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from ..core.claims import ObjectReference
from .errors import NoToken
from .forks import reset_in_child
from .request import DEFAULT_SECONDS, TokenRequest
from .requested import TokenRequestSource, steady
from .server import ApiServer

MAX_TOKENS = 10_000
"""About 25 MB."""
SWEEP_SECONDS = 60.0
"""Between two searches for tokens that have expired unused (kubelet's token manager: a minute)."""


class TokenCache:
    """A source for each TokenRequest: the same one for equal requests, as long as somebody has it.

    The cache itself keeps at most `max_tokens`. One that was not used for a long time goes first,
    and those whose token has expired go within a minute of use of the cache. Safe under threads, in
    coroutines, and across fork.

    Raises: ValueError, where `max_tokens` is not at least 1
    """

    def __init__(
        self,
        server: ApiServer,
        *,
        max_tokens: int = MAX_TOKENS,
        clock: Callable[[], float] = steady,
    ) -> None:
        if max_tokens < 1:
            raise ValueError(f"max_tokens: {max_tokens} must be at least 1")
        self._server = server
        self._max = max_tokens
        self._clock = clock
        self._sources: OrderedDict[TokenRequest, TokenRequestSource] = OrderedDict()
        self._living: WeakValueDictionary[TokenRequest, TokenRequestSource] = WeakValueDictionary()
        self._is_closed = False
        self._next_sweep = clock() + SWEEP_SECONDS
        self.after_fork()
        reset_in_child(self)

    def after_fork(self) -> None:
        # Reentrant, because a signal handler or __del__ may ask for a token in the midst of this.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._sources)

    def get(self, request: TokenRequest) -> str:
        """A token for `request`. Raises: as TokenRequestSource.get does"""
        return self.source(request).get()

    async def aget(self, request: TokenRequest) -> str:
        """The same, in a coroutine."""
        return await self.source(request).aget()

    def source(self, request: TokenRequest) -> TokenRequestSource:
        """The source for `request`, for an adapter: the same object for equal requests."""
        with self._lock:
            if self._is_closed:
                raise NoToken("the cache of tokens is closed")
            self._sweep()
            if (source := self._sources.get(request)) is not None:
                self._sources.move_to_end(request)
                return source
            if (source := self._living.get(request)) is None:
                source = TokenRequestSource(self._server, request, clock=self._clock)
                self._living[request] = source
            self._sources[request] = source
            while len(self._sources) > self._max:
                self._evict()
            return source

    def for_pod(
        self,
        pod: Any,
        audiences: str | Iterable[str] = (),
        expiration_seconds: int = DEFAULT_SECONDS,
    ) -> TokenRequestSource:
        """The source of a token of a pod's account, bound to the pod: the API server refuses it
        when the pod is gone.

        `pod` is the object as JSON (a dict, kopf's body) or a V1Pod of the `kubernetes` package.
        Call `forget` when the pod is deleted.

        Raises: ValueError, where it has no name, namespace or uid
        """
        metadata = _field(pod, "metadata")
        name, namespace = _field(metadata, "name"), _field(metadata, "namespace")
        uid = _field(metadata, "uid")
        if not (name and namespace and uid):
            raise ValueError(
                "pod: must be an object of the API server, with name, namespace and uid"
            )
        spec = _field(pod, "spec")
        account = _field(spec, "serviceAccountName") or _field(spec, "service_account_name")
        return self.source(
            TokenRequest(
                namespace,
                account or "default",
                (audiences,) if isinstance(audiences, str) else tuple(audiences),
                expiration_seconds,
                ObjectReference("Pod", name, uid),
            )
        )

    def forget(self, pod: Any) -> int:
        """Forget every token that is bound to a pod (or to its uid); gives how many there were."""
        uid = pod if isinstance(pod, str) else _field(_field(pod, "metadata"), "uid")
        with self._lock:
            sources = [
                source
                for request, source in list(self._living.items())
                if request.bound_to is not None and request.bound_to.uid == uid
            ]
            for source in sources:
                del self._living[source.request]
                self._sources.pop(source.request, None)
        for source in sources:
            source.close()
        return len(sources)

    def close(self) -> None:
        """Forget every token; there are no more from this cache and its sources."""
        with self._lock:
            self._is_closed = True
            sources = list(self._living.values())
            self._sources.clear()
        for source in sources:
            source.close()

    def _sweep(self) -> None:
        now = self._clock()
        if 0 < self._next_sweep - now <= SWEEP_SECONDS:
            return
        self._next_sweep = now + SWEEP_SECONDS
        for request in [key for key, source in self._sources.items() if not source.is_of_use()]:
            del self._sources[request]

    def _evict(self) -> None:
        """Let go the first that was not used since it was last looked at here."""
        for _ in range(self._max):
            request, source = self._sources.popitem(last=False)
            if not source.was_used:
                return
            source.was_used = False
            self._sources[request] = source
        self._sources.popitem(last=False)


def _field(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name)
    return getattr(value, name, None)
