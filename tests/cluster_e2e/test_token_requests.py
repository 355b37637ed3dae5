"""The library on the real API server: requests, renewals, refusals, an API server that is away."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from tests.controlplane.cluster import ISSUER
from tests.controlplane.kubelet import Kubelet
from tests.support.builders import Json
from tests.support.cluster import Cluster
from tests.support.long import LONG
from tests.support.waiting import wait_for
from webhook.tokens import (
    ApiServer,
    NoToken,
    ObjectReference,
    RequestRefused,
    TokenCache,
    TokenRequest,
    TokenRequestSource,
    claims_of,
)

VAULT = "https://vault.example.com"
OUTAGE_SECONDS = 60.0 if LONG else 20.0
KEYS = 40
"""Of the sources that ask while the API server is away."""


class Shifted:
    """The real time, moved by a test."""

    def __init__(self) -> None:
        self.by = 0.0

    def __call__(self) -> float:
        return time.time() + self.by


@pytest.fixture
def server(cluster: Cluster) -> ApiServer:
    return ApiServer.from_kubeconfig(str(cluster.plane.kubeconfig()))


def accounts(cluster: Cluster, *names: str) -> str:
    """A namespace with these service accounts."""
    namespace = cluster.namespace()
    for name in names:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        cluster.plane.call("POST", path, {"metadata": {"name": name}})
    return namespace


def requests_for(cluster: Cluster, namespace: str) -> list[Json]:
    """The TokenRequests of a namespace that the API server has answered, from its audit log."""
    events = map(json.loads, cluster.plane.audit_log.read_text().splitlines())
    return [
        event
        for event in events
        if event["stage"] == "ResponseComplete"
        and event.get("objectRef", {}).get("subresource") == "token"
        and event["objectRef"].get("namespace") == namespace
    ]


def test_two_rotations(cluster: Cluster, server: ApiServer) -> None:
    namespace, clock = accounts(cluster, "cart"), Shifted()
    source = TokenRequestSource(server, TokenRequest(namespace, "cart", (VAULT,), 600), clock=clock)
    tokens = [source.get()]
    for _ in range(2):
        clock.by += 600 * 0.8 - 11
        assert source.get() == tokens[-1]
        clock.by += 11
        assert source.get() == tokens[-1]  # it is valid, so nobody waits
        tokens.append(wait_for(lambda: (token := source.get()) not in tokens and token))
    assert len(requests_for(cluster, namespace)) == 3
    for token in tokens:
        claims = claims_of(token)
        assert (claims.lifetime_seconds, claims.audiences) == (600, (VAULT,))
        assert cluster.plane.review_token(token, VAULT)["authenticated"]


@pytest.mark.parametrize("way", ["threads", "coroutines"])
def test_all_who_ask_at_once_share_one_request(
    cluster: Cluster, server: ApiServer, way: str
) -> None:
    names = ["cart", "orders", "pay"]
    namespace = accounts(cluster, *names)
    cache = TokenCache(server)
    requests = [TokenRequest(namespace, name, (VAULT,)) for name in names]
    if way == "threads":
        start = threading.Barrier(1000)

        def ask(number: int) -> str:
            start.wait(60)
            return cache.get(requests[number % 3])

        with ThreadPoolExecutor(1000) as threads:
            tokens = list(threads.map(ask, range(1000)))
    else:

        async def ask_all() -> list[str]:
            return await asyncio.gather(*(cache.aget(requests[n % 3]) for n in range(10_000)))

        tokens = asyncio.run(ask_all())
    assert len(set(tokens)) == 3
    requested = Counter(event["objectRef"]["name"] for event in requests_for(cluster, namespace))
    assert requested == dict.fromkeys(names, 1)


def test_a_bound_token_names_its_object_and_an_unbound_one_is_the_api_servers(
    cluster: Cluster, server: ApiServer
) -> None:
    namespace = cluster.namespace()
    pod = cluster.run(namespace)
    cache = TokenCache(server)
    source = cache.for_pod(pod, [VAULT], 900)
    uid = pod["metadata"]["uid"]
    assert source.bound_to == ObjectReference("Pod", pod["metadata"]["name"], uid)
    assert source.claims.lifetime_seconds == 900
    plain = cache.source(TokenRequest(namespace, "default"))
    assert (plain.audiences, plain.bound_to) == ((ISSUER,), None)


def test_a_pod_that_is_gone_takes_its_token_with_it(cluster: Cluster, server: ApiServer) -> None:
    clock = Shifted()
    namespace = cluster.namespace()
    pod = cluster.run(namespace)
    cache = TokenCache(server, clock=clock)
    source = cache.for_pod(pod, [VAULT], 600)
    token = source.get()
    cluster.delete(pod)
    wait_for(lambda: not cluster.plane.review_token(token, VAULT).get("authenticated"), 30)
    clock.by += 500
    source.get()
    wait_for(lambda: source._in_flight is None)
    with pytest.raises(RequestRefused, match=r"404: .* is gone, and its tokens with it"):
        source.get()
    assert cache.forget(pod) == 1


class As:
    """The API server's address, as somebody else."""

    def __init__(self, cluster: Cluster, token: str) -> None:
        self.server = cluster.plane.url
        self._token = token
        self._context = ApiServer.from_kubeconfig(
            str(cluster.plane.kubeconfig())
        )._credentials.tls()

    def tls(self) -> Any:
        return self._context

    def header(self) -> str:
        return f"Bearer {self._token}"


def test_who_may_not_ask_is_told_which_role_helps_and_it_does(
    cluster: Cluster, server: ApiServer
) -> None:
    namespace = accounts(cluster, "ci", "deployer")
    me = TokenRequestSource(server, TokenRequest(namespace, "ci")).get()
    request = TokenRequest(namespace, "deployer", (VAULT,), 600)
    with pytest.raises(RequestRefused) as refused:
        TokenRequestSource(ApiServer(As(cluster, me)), request).get()
    advice = str(refused.value)
    rule = advice[advice.index("{") : advice.index("}") + 1]
    assert (
        rule
        == '{apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [deployer], verbs: [create]}'
    )
    role = {
        "metadata": {"name": "asker"},
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["serviceaccounts/token"],
                "resourceNames": ["deployer"],
                "verbs": ["create"],
            }
        ],
    }
    binding = {
        "metadata": {"name": "asker"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "asker"},
        "subjects": [{"kind": "ServiceAccount", "name": "ci", "namespace": namespace}],
    }
    base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    cluster.plane.call("POST", f"{base}/roles", role)
    cluster.plane.call("POST", f"{base}/rolebindings", binding)

    def token() -> str:
        try:
            return TokenRequestSource(ApiServer(As(cluster, me)), request).get()
        except RequestRefused:  # the authorizer has not seen the binding yet
            return ""

    assert claims_of(wait_for(token)).account == "deployer"


WRONG: dict[str, tuple[Callable[[str], TokenRequest], int, str]] = {
    "no account": (
        lambda namespace: TokenRequest(namespace, "nobody"),
        404,
        "kubectl create serviceaccount nobody -n ",
    ),
    "no pod": (
        lambda namespace: TokenRequest(
            namespace, "default", (), 600, ObjectReference("Pod", "nobody", "u")
        ),
        404,
        "Pod/nobody is gone",
    ),
    "no namespace": (
        lambda _: TokenRequest("nowhere", "default"),
        404,
        'namespaces "nowhere" not found',
    ),
}


@pytest.mark.parametrize(("request_for", "status", "text"), WRONG.values(), ids=WRONG)
def test_a_refusal_says_what_to_do(
    cluster: Cluster,
    server: ApiServer,
    request_for: Callable[[str], TokenRequest],
    status: int,
    text: str,
) -> None:
    with pytest.raises(RequestRefused) as refused:
        TokenRequestSource(server, request_for(cluster.namespace())).get()
    assert refused.value.status == status
    assert text in str(refused.value)


def test_a_pod_of_the_same_name_made_again_is_another(cluster: Cluster, server: ApiServer) -> None:
    namespace = cluster.namespace()
    name = cluster.run(namespace)["metadata"]["name"]
    bound = ObjectReference("Pod", name, "an-older-uid")
    with pytest.raises(RequestRefused, match="409: ") as refused:
        TokenRequestSource(server, TokenRequest(namespace, "default", (), 600, bound)).get()
    assert "UID" in str(refused.value)


def test_what_our_own_governance_refuses_is_quoted(
    cluster: Cluster, server: ApiServer, configured: dict[str, Json]
) -> None:
    cluster.configure({**configured, "tokenRequests": {"mode": "enforce"}})
    namespace = cluster.namespace(max_expiration_seconds="900", allowed_audiences=VAULT)
    editor = As(cluster, cluster.plane.tokens["editor"])
    cluster.plane.kubectl(
        "create", "rolebinding", "edit", "-n", namespace, "--clusterrole=edit", "--user=editor"
    )

    def refusal(request: TokenRequest) -> str:
        try:
            TokenRequestSource(ApiServer(editor), request).get()
        except RequestRefused as problem:
            return str(problem)
        return ""

    long = wait_for(lambda: refusal(TokenRequest(namespace, "default", (VAULT,), 3600)), 30)
    assert "403: " in long
    assert "900" in long
    other = refusal(TokenRequest(namespace, "default", ("https://evil.example.com",), 600))
    assert "https://evil.example.com" in other
    assert refusal(TokenRequest(namespace, "default", (VAULT,), 600)) == ""


def test_the_api_server_away_for_a_while_no_expired_token_and_no_burst(
    cluster: Cluster, server: ApiServer, kubelet: Kubelet
) -> None:
    """Half of the sources have a token that stays valid and is due, half one that expires."""
    names = [f"a{number}" for number in range(KEYS)]
    namespace = accounts(cluster, *names)
    clocks = {name: Shifted() for name in names}
    sources = [
        TokenRequestSource(server, TokenRequest(namespace, name, (VAULT,), 600), clock=clocks[name])
        for name in names
    ]
    before = {source.request.account: source.get() for source in sources}
    for number, name in enumerate(names):
        clocks[name].by += 490 if number % 2 else 590
    stop = threading.Event()
    used: list[tuple[str, str, float]] = []
    failures: list[NoToken] = []

    def ask() -> None:
        while not stop.is_set():
            for source in sources:
                try:
                    token = source.get()
                except NoToken as problem:
                    failures.append(problem)
                else:
                    used.append((source.request.account, token, source._clock()))
            time.sleep(0.05)

    cluster.plane.stop_apiserver()
    away_since = time.time()
    threads = [threading.Thread(target=ask) for _ in range(8)]
    try:
        for thread in threads:
            thread.start()
        time.sleep(OUTAGE_SECONDS)
    finally:
        cluster.plane.start_apiserver()
        back_at = time.time()
    wait_for(lambda: all(source._failures == 0 for source in sources), 100)
    time.sleep(2)
    stop.set()
    for thread in threads:
        thread.join()
    wait_for(lambda: kubelet.proxy.ready("boundtoken") == 2, 60)
    expiry = {token: claims_of(token).expires_at or 0 for _, token, _ in used}
    issued = {token: claims_of(token).issued_at or 0 for _, token, _ in used}
    for account, token, at in used:
        if token == before[account]:
            assert at < expiry[token]
        assert issued[token] <= time.time()
    assert any("no answer of the API server" in str(problem) for problem in failures)
    after = [event for event in requests_for(cluster, namespace) if began(event) > away_since]
    assert Counter(event["objectRef"]["name"] for event in after) == dict.fromkeys(names, 1)
    seconds = Counter(int(began(event) - back_at) for event in after)
    print(f"\nrequests in the seconds after the return: {sorted(seconds.items())}")
    assert max(seconds.values()) <= KEYS / 2


def began(event: Json) -> float:
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
