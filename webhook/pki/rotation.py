"""Keeping certificates: one turn looks at the Secret and at the webhook configurations, and does
what the rules say.

Every replica does the same; there is no leader. Two that act at once are told apart by the Secret's
resource version: the second is refused, and looks again. Whatever a turn cannot do now the next one
does; what serves goes on serving.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from ..errors import BadCertificate, Conflict, described
from . import authority, lifecycle
from . import bundle as bundles
from .bundle import Bundle
from .lifecycle import Lifetimes
from .pem import Certificate, Certificates, KeyPair
from .store import CaBundles, Store

PROPAGATION_DELAY = timedelta(seconds=2)
"""API servers learn of a new caBundle by a watch: what we have seen so long ago holds for their
calls."""
LONGEST_SLEEP = 30.0
"""Seconds. The wall clock is looked at so often, because a suspended machine wakes with all timers
late."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
"""Seconds between looks while something is going on, doubled where the API server fails."""
CONFLICT_PAUSE = 0.1
"""Seconds until we look again after somebody else wrote first; not none, or two writers would keep
the API server busy."""

OnEvent = Callable[..., None]


class Rotation:
    """One replica's part. `use` is given each new leaf; `say` each thing that happened: kind, what,
    and words.
    """

    def __init__(
        self,
        store: Store,
        hosts: list[str],
        use: Callable[[KeyPair], None],
        say: OnEvent,
        *,
        lifetimes: Lifetimes | None = None,
    ) -> None:
        self.store = store
        self.lifetimes = lifetimes or Lifetimes()
        self.verified = False
        """Whether the leaf that we serve can be verified by what is published."""
        self.in_sync = False
        """Whether every configuration trusted exactly the bundle when we last looked and had done
        what was due."""
        self.bundle: Bundle | None = None
        self._hosts = hosts
        self._use = use
        self._say = say
        self._woken = asyncio.Event()
        self._leaf: KeyPair | None = None
        self._leaf_ca: Certificate | None = None
        self._seen_since: dict[Certificates, datetime] = {}
        self._can_use_current = False

    def wake(self) -> None:
        """Look at once: something changed."""
        self._woken.set()

    async def run(self, clock: Callable[[], datetime]) -> None:
        """Turn for ever. A turn that fails is said once and tried again; our leaf goes on
        serving.
        """
        problem, pause = "", FIRST_PAUSE
        while True:
            self._woken.clear()
            try:
                sleep = await self.reconcile(clock())
                problem, pause = "", FIRST_PAUSE
            except Exception as failure:  # noqa: BLE001  (an edge: whatever a turn meets, the process serves on)
                problem = self._failed(failure, problem, clock())
                sleep, pause = pause, min(pause * 2, LONGEST_PAUSE)
                # The whole of it: a change of something is no reason to come sooner.
                await asyncio.sleep(getattr(failure, "retry_after", 0.0))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), sleep * random.uniform(0.75, 1))  # noqa: S311  (spreads replicas)

    def _failed(self, failure: Exception, told: str, now: datetime) -> str:
        """Tell what failed, once, and renew our leaf from memory where that is due; gives what is
        told by now.
        """
        problem = described(failure)
        try:
            self.renew_leaf(now)
        except Exception as another:  # noqa: BLE001
            problem += f"; {described(another)}"
        if problem != told:
            self._say("bundle", "failed", reason=problem)
        return problem

    async def reconcile(self, now: datetime) -> float:
        """Look, and do what is due; gives after how many seconds to look again at the latest.

        Raises: ApiError, Unauthenticated, where the API server cannot be asked or refuses;
        BadCertificate
        """
        trust = (
            await self.store.read_ca_bundles()
        )  # before the Secret: what we publish is never older than what we overwrite
        held = await self.store.read_secret()
        try:
            bundle, trouble = bundles.from_data(held.data), ""
        except BadCertificate as problem:
            bundle, trouble = None, str(problem)
        wanted, what, reason = self._desired_bundle(bundle, trust, now)
        if wanted != bundle:
            try:
                await self.store.write(wanted, held.version)
            except Conflict:
                return CONFLICT_PAUSE
            self._say("ca", what, reason=trouble or reason)
        self.bundle = wanted
        self._observe(trust, now)
        if self._leaf is None:
            self._issue(now, "there is no leaf yet")
        self.in_sync = False
        try:
            await self._publish(wanted, trust)
        except Conflict:
            return CONFLICT_PAUSE
        self.in_sync = bool(trust)
        self.renew_leaf(now)
        return self._seconds_to_sleep(wanted, now)

    def _desired_bundle(
        self, bundle: Bundle | None, trust: list[CaBundles], now: datetime
    ) -> tuple[Bundle, str, str]:
        """The bundle as it must be, what was done for it, and why.

        A Secret that was deleted or spoilt is given back what we hold, so that nothing else has to
        change. The CA of the leaf that we serve stays trusted, whoever wrote the Secret.
        """
        kept = self.bundle
        if bundle is None and kept is not None and kept.current.certificate.is_valid(now):
            return kept, "restore", "the Secret held nothing of use"
        published = bundle is not None and self._has_settled(bundle.trusted(), trust, now)
        step, reason = lifecycle.next_step(bundle, now, self.lifetimes, published=published)
        seen = [certificate for each in trust for certificate in each.certificates()]
        wanted = lifecycle.apply_step(step, bundle or kept, now, self.lifetimes, bundles.ours(seen))
        if self._leaf_ca is not None and self._leaf_ca not in wanted.trusted():
            return (
                lifecycle.with_trusted(wanted, self._leaf_ca, now, self.lifetimes),
                "trust",
                "our leaf is of a CA that was left out",
            )
        return wanted, step, reason

    def _has_settled(
        self, certificates: Certificates, trust: list[CaBundles], now: datetime
    ) -> bool:
        """Whether everybody has trusted these certificates for so long that API servers know it."""
        if not all(each.trusts(certificates) for each in trust):
            self._seen_since.pop(certificates, None)
            return False
        return now - self._seen_since.setdefault(certificates, now) >= PROPAGATION_DELAY

    def _observe(self, trust: list[CaBundles], now: datetime) -> None:
        """Remember what is published of that which matters: our leaf's CA, and the CA that
        signs.
        """
        assert self.bundle is not None  # noqa: S101
        current = (self.bundle.current.certificate,)
        self._can_use_current = self._has_settled(current, trust, now)
        self._seen_since = {
            certificates: since
            for certificates, since in self._seen_since.items()
            if certificates in (current, self.bundle.trusted())
        }
        if self._leaf_ca is not None:
            self.verified = bool(trust) and all(each.trusts((self._leaf_ca,)) for each in trust)

    async def _publish(self, wanted: Bundle, trust: list[CaBundles]) -> None:
        pem = wanted.ca_bundle()
        for each in trust:
            if any(ca_bundle.pem != pem for ca_bundle in each.entries.values()):
                await self.store.apply_ca_bundle(each, pem)
                self._say(
                    "bundle",
                    "published",
                    reason=f"{each.name} did not trust exactly our authorities",
                )
                self._woken.set()

    def renew_leaf(self, now: datetime) -> None:
        """Sign a new leaf with what we hold, where one is due; needs no API server."""
        if self.bundle is None or not self.bundle.current.certificate.is_valid(now):
            return
        reason = lifecycle.renewal_reason(self._leaf, self.bundle.current, self._hosts, now)
        if reason and (
            self._can_use_current or self._leaf is None or not self._leaf.certificate.is_valid(now)
        ):
            self._issue(now, reason)

    def _issue(self, now: datetime, reason: str) -> None:
        assert self.bundle is not None  # noqa: S101
        leaf = authority.issue(self.bundle.current, self._hosts, now, self.lifetimes.leaf)
        self._use(leaf)
        self._leaf, self._leaf_ca = leaf, self.bundle.current.certificate
        self._say("leaf", "issued", reason=reason)

    def _seconds_to_sleep(self, bundle: Bundle, now: datetime) -> float:
        if bundle.next is not None or not self._can_use_current or not self.verified:
            return FIRST_PAUSE
        due = [
            lifecycle.renewal_time(bundle.current.certificate, now),
            bundle.retire_at or now + timedelta(days=1),
        ]
        if self._leaf is not None:
            due.append(lifecycle.renewal_time(self._leaf.certificate, now))
        return max(0.1, min(LONGEST_SLEEP, *((each - now).total_seconds() for each in due)))
