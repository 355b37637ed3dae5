"""Replicas that keep one cluster's certificates: reconciliations in any order, interrupted, with
time as an argument.
"""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from webhook.errors import ApiError, BadCertificate, BoundtokenError, Conflict
from webhook.pki import authority, ca_secret
from webhook.pki.ca_secret import CertificateAuthorities
from webhook.pki.lifecycle import Lifetimes
from webhook.pki.pem import KeyPair, read_certificates
from webhook.pki.rotation import LONGEST_SLEEP, PROPAGATION_DELAY, Rotation
from webhook.pki.store import CaBundle, CaBundles, CaSecret, Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LIFETIMES = Lifetimes(ca=timedelta(days=365), leaf=timedelta(days=7))
HOSTS = ["boundtoken.boundtoken-system.svc"]


class Cluster(Store):
    """What a cluster stores, and a failure of the call that a test names."""

    def __init__(self) -> None:
        self.data: dict[str, str] = {}
        self.version = 0
        self.published = b""
        self.edits = 0
        self.is_owned = False
        self.away = False
        self.dies_before = ""
        self.refuses_to_publish = False
        self.refuses_to_give_up = False
        self.failures: list[Exception] = []

    async def read_secret(self) -> CaSecret:
        self._may_fail("read_secret")
        return CaSecret(self.data, str(self.version) if self.data else "")

    async def write(
        self,
        authorities: CertificateAuthorities,
        version: str,
        *,
        dry_run: bool = False,  # noqa: ARG002
    ) -> None:
        self._may_fail("write")
        if version != (str(self.version) if self.data else ""):
            raise Conflict("somebody wrote in between", 409)
        self.data, self.version = ca_secret.to_data(authorities), self.version + 1

    async def read_ca_bundles(self) -> list[CaBundles]:
        self._may_fail("read_ca_bundles")
        ca_bundle = CaBundle.read(self.published)
        entries = {"pods": ca_bundle, "workloads": ca_bundle}
        place = 1 if self.is_owned else None
        return [
            CaBundles(
                "mutatingwebhookconfigurations", "boundtoken", str(self.edits), entries, place
            )
        ]

    async def apply_ca_bundle(
        self,
        configuration: CaBundles,
        pem: bytes,
        *,
        dry_run: bool = False,  # noqa: ARG002
    ) -> None:
        self._may_fail("apply_ca_bundle")
        if self.refuses_to_publish:
            raise ApiError("403 no", 403)
        if configuration.version != str(self.edits):
            raise Conflict("somebody wrote in between", 409)
        self.published, self.edits, self.is_owned = pem, self.edits + 1, True

    async def give_up(self, configuration: CaBundles) -> None:
        self._may_fail("give_up")
        if self.refuses_to_give_up:
            raise Conflict("422 the object is invalid", 422)
        assert configuration.owned_at == 1
        if configuration.version != str(self.edits):
            raise Conflict("somebody wrote in between", 409)
        self.edits, self.is_owned = self.edits + 1, False

    def _may_fail(self, call: str) -> None:
        if self.failures:
            raise self.failures.pop()
        if self.away:
            raise ApiError("the API server is away")
        if call == self.dies_before:
            raise Killed(call)

    @property
    def authorities(self) -> CertificateAuthorities:
        return ca_secret.from_data(self.data)


class Killed(Exception):
    """SIGKILL: nothing of this replica runs after it."""


class Replica:
    """One replica and the leaf that it serves."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.leaf: KeyPair | None = None
        self.events: list[tuple[str, str]] = []
        self.rotation = Rotation(
            cluster,
            HOSTS,
            self._use,
            lambda kind, action, **_: self.events.append((kind, action)),
            lifetimes=LIFETIMES,
        )

    def _use(self, leaf: KeyPair) -> None:
        self.leaf = leaf

    def verifies(self, now: datetime) -> bool:
        """Whether the leaf is valid, for our name, and of a CA that is published and valid."""
        if self.leaf is None:
            return False
        leaf = self.leaf.certificate.x509_certificate
        for ca in x509.load_pem_x509_certificates(self.cluster.published):
            if (
                ca.subject == leaf.issuer
                and ca.not_valid_before_utc <= now < ca.not_valid_after_utc
            ):
                try:
                    leaf.verify_directly_issued_by(ca)
                except Exception:  # noqa: BLE001  (the next CA may be the one)
                    continue
                return leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc
        return False


async def reconciled(
    replicas: list[Replica], now: datetime, rounds: int = 12, *, jumped: bool = False
) -> datetime:
    """Each replica reconciles `rounds` times, a second apart. What was verifiable stays so, unless
    the clock has jumped.
    """
    for _ in range(rounds):
        for replica in replicas:
            was = replica.rotation.verified
            await replica.rotation.reconcile(now)
            assert replica.verifies(now) or not was or jumped
        now += SECOND
    return now


async def test_the_first_replica_makes_everything() -> None:
    cluster = Cluster()
    replica = Replica(cluster)
    now = await reconciled([replica], NOW, 4)
    assert replica.verifies(now)
    assert (replica.rotation.verified, replica.rotation.in_sync) == (True, True)
    assert replica.events == [("ca", "create"), ("leaf", "issued"), ("bundle", "published")]
    assert cluster.published == cluster.authorities.current.certificate.pem


async def test_a_ca_bundle_that_is_written_names_its_configuration() -> None:
    events: list[dict[str, str]] = []
    rotation = Rotation(Cluster(), HOSTS, lambda _: None, lambda _, __, **more: events.append(more))
    await rotation.reconcile(NOW)
    assert events[-1] == {
        "configuration": "mutatingwebhookconfiguration/boundtoken",
        "reason": "it differed from Secret boundtoken-ca",
    }


async def test_ten_replicas_end_in_one_state_and_change_nothing_more() -> None:
    cluster = Cluster()
    replicas = [Replica(cluster) for _ in range(10)]
    now = await reconciled(replicas, NOW, 4)
    version, edits = cluster.version, cluster.edits
    await reconciled(replicas, now, 4)
    assert (cluster.version, cluster.edits) == (version, edits) == (1, 2)
    assert not cluster.is_owned
    assert len({replica.leaf.key for replica in replicas if replica.leaf}) == 10
    assert all(replica.verifies(now) for replica in replicas)


async def test_what_cannot_be_given_up_is_tried_no_oftener_than_all_is_read() -> None:
    """An API server that finds the object invalid says the same as where another was first."""
    cluster = Cluster()
    replica = Replica(cluster)
    now = await reconciled([replica], NOW, 4)
    cluster.is_owned = cluster.refuses_to_give_up = True
    assert await replica.rotation.reconcile(now) == LONGEST_SLEEP
    assert (replica.rotation.in_sync, cluster.is_owned) == (True, True)
    cluster.refuses_to_give_up = False
    await replica.rotation.reconcile(now)
    assert not cluster.is_owned


async def test_a_year_of_rotations_never_leaves_a_leaf_unverifiable() -> None:
    cluster = Cluster()
    replicas = [Replica(cluster) for _ in range(3)]
    now, authorities = NOW, set()
    for _ in range(430):
        now = await reconciled(replicas, now, 5)
        assert all(replica.verifies(now) for replica in replicas)
        authorities.add(cluster.authorities.current.certificate)
        now += timedelta(days=1)
    assert len(authorities) == 2
    assert len(read_certificates(cluster.published)) == 1
    assert {event for replica in replicas for event in replica.events} >= {
        ("ca", "prepare"),
        ("ca", "promote"),
        ("ca", "retire"),
    }


@pytest.mark.parametrize(
    "call", ["read_secret", "write", "read_ca_bundles", "apply_ca_bundle", "give_up"]
)
async def test_replicas_killed_at_any_call_of_a_rotation_leave_nothing_half_done(
    call: str,
) -> None:
    cluster = Cluster()
    replicas = [Replica(cluster) for _ in range(3)]
    now = await reconciled(replicas, NOW)
    now += timedelta(days=244)  # prepare is due
    choose = random.Random(call)
    for number in range(24):
        cluster.dies_before = call if number % 4 == 0 else ""
        victim = choose.randrange(3)
        try:
            await replicas[victim].rotation.reconcile(now)
        except Killed:
            cluster.dies_before = ""
            replicas[victim] = Replica(cluster)
        now += SECOND
    cluster.dies_before = ""
    now = await reconciled(replicas, now)
    assert cluster.authorities.next is None
    assert all(replica.verifies(now) for replica in replicas)
    assert (
        len(
            {
                replica.rotation.authorities.current.certificate
                for replica in replicas
                if replica.rotation.authorities
            }
        )
        == 1
    )


async def test_no_leaf_of_a_new_ca_is_served_before_it_was_seen_for_long_enough() -> None:
    cluster = Cluster()
    replica = Replica(cluster)
    now = await reconciled([replica], NOW) + timedelta(days=244)
    await reconciled([replica], now, 1)
    assert cluster.authorities.next is not None
    before, leaf, served = cluster.authorities.current, replica.leaf, cluster.published
    cluster.published, cluster.edits = (
        before.certificate.pem,
        cluster.edits + 1,
    )  # as a caller that has not followed
    cluster.refuses_to_publish = True
    for seconds in range(10):
        with pytest.raises(ApiError):
            await replica.rotation.reconcile(now + seconds * SECOND)
    assert (cluster.authorities.current, replica.leaf) == (before, leaf)
    cluster.refuses_to_publish, now = False, now + 10 * SECOND
    seen = None
    while cluster.authorities.current == before:
        seen = seen or (now if cluster.published == served else None)
        await replica.rotation.reconcile(now)
        now += SECOND / 4
    assert seen is not None
    assert now - seen >= PROPAGATION_DELAY
    promoted = now
    while replica.leaf == leaf:
        await replica.rotation.reconcile(now)
        now += SECOND / 4
    assert now - promoted < 5 * SECOND


async def test_a_leaf_waits_for_a_ca_that_somebody_put_in_without_publishing_it() -> None:
    cluster = Cluster()
    replica = Replica(cluster)
    now = await reconciled([replica], NOW)
    leaf = replica.leaf
    cluster.data, cluster.version = (
        ca_secret.to_data(CertificateAuthorities(STRANGERS)),
        cluster.version + 1,
    )
    cluster.refuses_to_publish = True
    with pytest.raises(ApiError):
        await replica.rotation.reconcile(now)
    replica.rotation.renew_leaf(now)
    assert replica.leaf == leaf
    assert replica.verifies(now)


OTHERS = authority.make_authority("evil", NOW, LIFETIMES.ca)
STRANGERS = authority.make_authority(ca_secret.COMMON_NAME, NOW, LIFETIMES.ca)


@pytest.mark.parametrize(
    "corrupted",
    [
        pytest.param({}, id="deleted"),
        pytest.param({"ca.crt": "Zm9v"}, id="garbage"),
        pytest.param(
            {**ca_secret.to_data(CertificateAuthorities(OTHERS))}, id="somebody else's CA"
        ),
        pytest.param(
            ca_secret.to_data(CertificateAuthorities(KeyPair(STRANGERS.certificate, OTHERS.key))),
            id="a key of another",
        ),
        pytest.param(
            ca_secret.to_data(
                CertificateAuthorities(
                    authority.make_authority(
                        ca_secret.COMMON_NAME, NOW - 2 * LIFETIMES.ca, LIFETIMES.ca
                    )
                )
            ),
            id="expired",
        ),
        pytest.param(
            ca_secret.to_data(CertificateAuthorities(STRANGERS)),
            id="a CA of ours that nobody knows",
        ),
    ],
)
async def test_a_corrupted_secret_is_healed_and_no_call_fails(corrupted: dict[str, str]) -> None:
    cluster = Cluster()
    replicas = [Replica(cluster) for _ in range(2)]
    now = await reconciled(replicas, NOW)
    served = cluster.published
    cluster.data, cluster.version = corrupted, cluster.version + 1
    now = await reconciled([*replicas, Replica(cluster)], now)
    assert served in cluster.published
    assert all(replica.verifies(now) for replica in replicas)
    assert any(kind == "ca" for replica in replicas for kind, _ in replica.events[3:])


@pytest.mark.parametrize(
    "retire_at",
    ["MDAwMS0wMS0wMVQwMDowMDowMCsxNDowMA==", "!!"],
    ids=["a time before all times", "no base64"],
)
async def test_a_field_that_is_corrupted_is_written_anew_and_keeps_the_ca(retire_at: str) -> None:
    cluster = Cluster()
    replica = Replica(cluster)
    now = await reconciled([replica], NOW)
    before = cluster.authorities
    cluster.data, cluster.version = (
        {**cluster.data, "old.crt": cluster.data["ca.crt"], "retire-at": retire_at},
        cluster.version + 1,
    )
    await reconciled([replica, Replica(cluster)], now)
    assert cluster.authorities == before


@pytest.mark.parametrize(
    "failure",
    [
        KeyError("hunter2"),
        UnicodeDecodeError("utf-8", b"hunter2", 0, 1, "hunter2"),
        RecursionError("hunter2"),
        OverflowError("hunter2"),
        BadCertificate("the key must be an ECDSA key"),
        ApiError("503 busy", 503, retry_after=0.2),
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_a_failure_is_reported_once_without_its_content_and_tried_again(
    failure: Exception,
) -> None:
    cluster = Cluster()
    events: list[tuple[str, str, str]] = []
    rotation = Rotation(
        cluster,
        HOSTS,
        lambda _: None,
        lambda kind, action, reason, **_: events.append((kind, action, reason)),
        lifetimes=LIFETIMES,
    )
    cluster.failures = [failure, failure]
    async with asyncio.timeout(10):
        running = asyncio.create_task(rotation.run(lambda: NOW))
        while not rotation.verified:
            assert not running.done()
            await asyncio.sleep(0.01)
            rotation.wake()
    running.cancel()
    assert [(kind, action) for kind, action, _ in events][:3] == [
        ("bundle", "failed"),
        ("ca", "create"),
        ("leaf", "issued"),
    ]
    reason = events[0][2]
    assert reason.startswith(
        str(failure) if isinstance(failure, BoundtokenError) else f"{type(failure).__name__} at "
    )
    assert "hunter2" not in reason


async def test_a_leaf_that_cannot_be_used_is_reported_and_tried_again() -> None:
    refusals = [BadCertificate("no"), OSError(24, "Too many open files")]
    events: list[str] = []

    def use(_: KeyPair) -> None:
        if refusals:
            raise refusals.pop()

    rotation = Rotation(
        Cluster(),
        HOSTS,
        use,
        lambda kind, action, **_: events.append(f"{kind} {action}"),
        lifetimes=LIFETIMES,
    )
    async with asyncio.timeout(10):
        running = asyncio.create_task(rotation.run(lambda: NOW))
        while "leaf issued" not in events:
            assert not running.done()
            await asyncio.sleep(0.01)
            rotation.wake()
    running.cancel()
    assert events[:3] == [
        "ca create",
        "bundle failed",
        "leaf issued",
    ]  # both refusals in one reconciliation: the second while it renews


@pytest.mark.parametrize(
    "pem", [b"", b"garbage", OTHERS.certificate.pem], ids=["emptied", "garbage", "replaced"]
)
async def test_a_corrupted_ca_bundle_is_repaired_at_once(pem: bytes) -> None:
    cluster = Cluster()
    replica = Replica(cluster)
    now = await reconciled([replica], NOW)
    cluster.published, cluster.edits = pem, cluster.edits + 1
    await replica.rotation.reconcile(now)
    assert cluster.published == cluster.authorities.ca_bundle()
    assert replica.verifies(now)


async def test_while_the_api_server_is_away_leaves_are_renewed_from_memory() -> None:
    cluster = Cluster()
    replica = Replica(cluster)
    now = await reconciled([replica], NOW)
    before, cluster.away = replica.leaf, True
    now += timedelta(days=5)
    with pytest.raises(ApiError):
        await replica.rotation.reconcile(now)
    replica.rotation.renew_leaf(now)
    assert replica.leaf != before
    assert replica.verifies(now)


async def test_a_clock_that_jumps_a_year_ahead_and_back_heals() -> None:
    cluster = Cluster()
    replicas = [Replica(cluster) for _ in range(2)]
    now = await reconciled(replicas, NOW)
    ahead = await reconciled(replicas, now + timedelta(days=366), jumped=True)
    assert all(replica.verifies(ahead) for replica in replicas)
    back = await reconciled(replicas, now, jumped=True)
    assert all(replica.verifies(back) for replica in replicas)
    day_before = await reconciled(replicas, now - timedelta(days=1), jumped=True)
    assert all(replica.verifies(day_before) for replica in replicas)
