"""The loop that keeps certificates: each reconciliation reads the Secret and the webhook
configurations, and does what the rules of `lifecycle` say.

Every replica does the same; there is no leader. If two write at once, the Secret's resource version
decides: the second one is refused, and reads again. What a reconciliation could not do, the next
one does; meanwhile the current leaf stays in use.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from ..errors import BadCertificate, Conflict, described
from . import authority, ca_secret, lifecycle
from .ca_secret import CertificateAuthorities
from .lifecycle import Lifetimes
from .pem import Certificate, Certificates, KeyPair
from .store import SECRET, CaBundles, Store

PROPAGATION_DELAY = timedelta(seconds=2)
"""API servers learn of a new caBundle by a watch: a caBundle that we read so long ago is used for
their calls."""
LONGEST_SLEEP = 30.0
"""Seconds. The wall clock is read at least so often, because the timers of a machine that was
suspended fire late."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
"""Seconds between reconciliations during a rotation; doubled while they fail."""
CONFLICT_PAUSE = 0.1
"""Seconds until the next reconciliation after somebody else wrote first. It is not zero, or two
writers would keep the API server busy."""

OnEvent = Callable[..., None]


class Rotation:
    """One replica's part. `use` receives each new leaf; `on_event` receives each event: its kind,
    the action, the reason in words, and of a caBundle its configuration.
    """

    def __init__(
        self,
        store: Store,
        hosts: list[str],
        use: Callable[[KeyPair], None],
        on_event: OnEvent,
        *,
        lifetimes: Lifetimes | None = None,
    ) -> None:
        self.store = store
        self.lifetimes = lifetimes or Lifetimes()
        self.verified = False
        """Whether every caBundle trusts the CA of the leaf that we serve."""
        self.in_sync = False
        """Whether every caBundle held exactly our CAs at the end of the last reconciliation."""
        self.authorities: CertificateAuthorities | None = None
        self._hosts = hosts
        self._use = use
        self._on_event = on_event
        self._woken = asyncio.Event()
        self._leaf: KeyPair | None = None
        self._leaf_ca: Certificate | None = None
        self._seen_since: dict[Certificates, datetime] = {}
        self._can_use_current = False

    def wake(self) -> None:
        """Reconcile at once: something changed."""
        self._woken.set()

    async def run(self, clock: Callable[[], datetime]) -> None:
        """Reconcile for ever. A failure is reported once and retried; our leaf stays in use."""
        problem, pause = "", FIRST_PAUSE
        while True:
            self._woken.clear()
            try:
                sleep = await self.reconcile(clock())
                problem, pause = "", FIRST_PAUSE
            except Exception as failure:  # noqa: BLE001  (an edge: whatever fails here, the process serves on)
                problem = self._failed(failure, problem, clock())
                sleep, pause = pause, min(pause * 2, LONGEST_PAUSE)
                # All of it: a change of an object does not shorten what the API server asks for.
                await asyncio.sleep(getattr(failure, "retry_after", 0.0))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), sleep * random.uniform(0.75, 1))  # noqa: S311  (spreads replicas)

    def _failed(self, failure: Exception, reported: str, now: datetime) -> str:
        """Report a failure if it is not the one that was reported last, and renew our leaf from
        memory if that is due; gives what is reported now.
        """
        problem = described(failure)
        try:
            self.renew_leaf(now)
        except Exception as another:  # noqa: BLE001
            problem += f"; {described(another)}"
        if problem != reported:
            self._on_event("bundle", "failed", reason=problem)
        return problem

    async def reconcile(self, now: datetime) -> float:
        """Read the Secret and the caBundles, and do what is due; gives the seconds until the next
        reconciliation at the latest.

        Raises: ApiError, Unauthenticated, if the API server cannot be asked or refuses;
        BadCertificate
        """
        # The caBundles are read first, so that we never overwrite one with CAs older than its own.
        configurations = await self.store.read_ca_bundles()
        secret = await self.store.read_secret()
        try:
            authorities, problem = ca_secret.from_data(secret.data), ""
        except BadCertificate as unusable:
            authorities, problem = None, str(unusable)
        desired, action, reason = self._desired_authorities(authorities, configurations, now)
        if desired != authorities:
            try:
                await self.store.write(desired, secret.version)
            except Conflict:
                return CONFLICT_PAUSE
            self._on_event("ca", action, reason=problem or reason)
        self.authorities = desired
        self._observe(configurations, now)
        if self._leaf is None:
            self._issue(now, "there is no leaf yet")
        self.in_sync = False
        try:
            await self._publish(desired, configurations)
        except Conflict:
            return CONFLICT_PAUSE
        self.in_sync = bool(configurations)
        self.renew_leaf(now)
        await self._give_up(configurations)
        return self._seconds_to_sleep(desired, now)

    def _desired_authorities(
        self,
        authorities: CertificateAuthorities | None,
        configurations: list[CaBundles],
        now: datetime,
    ) -> tuple[CertificateAuthorities, str, str]:
        """The CAs as the Secret must hold them, which action leads there, and why.

        `authorities` are those that the Secret holds, or None if it holds no usable CA.
        """
        remembered = self.authorities
        # A Secret that was deleted or corrupted is written back from memory. A new CA would have to
        # be published first, and replicas could not use it until every API server trusts it.
        if (
            authorities is None
            and remembered is not None
            and remembered.current.certificate.is_valid(now)
        ):
            return remembered, "restore", "the Secret held no usable CA"
        published = authorities is not None and self._is_propagated(
            authorities.trusted(), configurations, now
        )
        step, reason = lifecycle.next_step(authorities, now, self.lifetimes, published=published)
        # If a new CA must be created, those in the caBundles stay trusted: other replicas may still
        # serve leaves of them. CAs of another name are not ours to keep.
        in_use = ca_secret.made_by_us(
            certificate
            for configuration in configurations
            for certificate in configuration.certificates()
        )
        desired = lifecycle.apply_step(step, authorities or remembered, now, self.lifetimes, in_use)
        # Whoever wrote the Secret may have left out the CA of the leaf that we serve. It stays
        # trusted, or every call would fail until we serve a leaf of the new CA.
        if self._leaf_ca is not None and self._leaf_ca not in desired.trusted():
            return (
                lifecycle.with_trusted(desired, self._leaf_ca, now, self.lifetimes),
                "trust",
                "the CA of the leaf in use was missing",
            )
        return desired, step, reason

    def _is_propagated(
        self, certificates: Certificates, configurations: list[CaBundles], now: datetime
    ) -> bool:
        """Whether every caBundle has trusted these certificates for so long that the API servers
        know it.
        """
        if not _all_trust(configurations, certificates):
            self._seen_since.pop(certificates, None)
            return False
        return now - self._seen_since.setdefault(certificates, now) >= PROPAGATION_DELAY

    def _observe(self, configurations: list[CaBundles], now: datetime) -> None:
        """Note whether the caBundles trust the CA that signs and the CA of our leaf, and forget
        since when they trust CAs that are not in question any more.
        """
        assert self.authorities is not None  # noqa: S101
        current = (self.authorities.current.certificate,)
        self._can_use_current = self._is_propagated(current, configurations, now)
        self._seen_since = {
            certificates: since
            for certificates, since in self._seen_since.items()
            if certificates in (current, self.authorities.trusted())
        }
        if self._leaf_ca is not None:
            self.verified = bool(configurations) and _all_trust(configurations, (self._leaf_ca,))

    async def _publish(
        self, authorities: CertificateAuthorities, configurations: list[CaBundles]
    ) -> None:
        pem = authorities.ca_bundle()
        for configuration in configurations:
            if any(ca_bundle.pem != pem for ca_bundle in configuration.entries.values()):
                await self.store.apply_ca_bundle(configuration, pem)
                self._on_event(
                    "bundle",
                    "published",
                    configuration=configuration.title,
                    reason=f"it differed from Secret {SECRET}",
                )
                self._woken.set()

    async def _give_up(self, configurations: list[CaBundles]) -> None:
        """Own none of the caBundles that were read; what this reconciliation wrote, the next one
        gives up, which follows at once.
        """
        for configuration in configurations:
            if configuration.owned_at is not None:
                # Whoever was first has changed it, and the watch wakes us. A refusal that is no
                # conflict looks the same, so we must not come back after CONFLICT_PAUSE for ever.
                with contextlib.suppress(Conflict):
                    await self.store.give_up(configuration)

    def renew_leaf(self, now: datetime) -> None:
        """Issue a new leaf from the CA in memory if one is due; needs no API server."""
        if self.authorities is None or not self.authorities.current.certificate.is_valid(now):
            return
        reason = lifecycle.renewal_reason(self._leaf, self.authorities.current, self._hosts, now)
        # A leaf of a CA that the API servers do not trust yet would fail every call, so the old
        # leaf stays in use while it is valid.
        if reason and (
            self._can_use_current or self._leaf is None or not self._leaf.certificate.is_valid(now)
        ):
            self._issue(now, reason)

    def _issue(self, now: datetime, reason: str) -> None:
        assert self.authorities is not None  # noqa: S101
        leaf = authority.issue(self.authorities.current, self._hosts, now, self.lifetimes.leaf)
        self._use(leaf)
        self._leaf, self._leaf_ca = leaf, self.authorities.current.certificate
        self._on_event("leaf", "issued", reason=reason)

    def _seconds_to_sleep(self, authorities: CertificateAuthorities, now: datetime) -> float:
        if authorities.next is not None or not self._can_use_current or not self.verified:
            return FIRST_PAUSE
        due = [
            lifecycle.renewal_time(authorities.current.certificate, now),
            authorities.retire_at or now + timedelta(days=1),
        ]
        if self._leaf is not None:
            due.append(lifecycle.renewal_time(self._leaf.certificate, now))
        return max(0.1, min(LONGEST_SLEEP, (min(due) - now).total_seconds()))


def _all_trust(configurations: list[CaBundles], certificates: Certificates) -> bool:
    return all(configuration.trusts(certificates) for configuration in configurations)
