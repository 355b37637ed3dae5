"""`boundtoken token audit-policy`, `trace` and `watch` on a real API server that records what the
first of them prints, as the controller manager, a node, people and pods use it.
"""

import base64
import contextlib
import gzip
import http.client
import json
import re
import signal
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.controlplane.cluster import NODE, ControlPlane, StatusError
from tests.controlplane.volumes import node_token
from tests.support.audit import lines
from tests.support.builders import Json
from tests.support.claims import a_stale_token
from tests.support.paths import BOUNDTOKEN
from tests.support.processes import boundtoken
from tests.support.waiting import wait_for
from webhook.cli.token.audit_arguments import RULES
from webhook.tokens import claims_of
from webhook.tokens.audit.events import ISSUED, LEGACY, LEGACY_SECRETS, STALE

API = "/api/v1"
SHOP = f"{API}/namespaces/shop"
ACCOUNTS = f"{SHOP}/serviceaccounts"
VAULT = "https://vault.example.com"
MAX_MEGABYTES = 4
"""Of a log before the API server rotates it."""


class Run(NamedTuple):
    """A control plane that records by our policy, and what was done there."""

    plane: ControlPlane
    quiet: Path
    """Its log before anything unusual was done."""
    pod: Json
    folder: Path
    """With the tokens that were used, each in a file."""

    def events(self, path: Path | None = None) -> list[Json]:
        return list(map(json.loads, (path or self.plane.audit_log).read_text().splitlines()))


def request(
    plane: ControlPlane,
    account: str = "cart",
    namespace: str = "shop",
    *,
    user: str = "admin",
    token: str | None = None,
    **spec: Any,
) -> str:
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": None, "expirationSeconds": 3600, **spec},
    }
    path = f"{API}/namespaces/{namespace}/serviceaccounts/{account}/token"
    return str(plane.call("POST", path, body, user=user, token=token)["status"]["token"])


def bound_to(pod: Json) -> Json:
    metadata = pod["metadata"]
    return {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}


def get_from(plane: ControlPlane, address: str, path: str, token: str) -> int:
    """The status of a GET that comes from another address of this machine."""
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    connection = http.client.HTTPSConnection(
        "127.0.0.1", plane.port, context=context, source_address=(address, 0), timeout=30
    )
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status


def node_tokens(plane: ControlPlane, pod: Json) -> dict[str, str]:
    """What the node gets for every token that a pod declares, by audience."""
    sources = [
        source["serviceAccountToken"]
        for volume in pod["spec"]["volumes"]
        for source in volume["projected"]["sources"]
        if "serviceAccountToken" in source
    ]
    return {source.get("audience", ""): node_token(plane, pod, source) for source in sources}


def node_tokens_or_none(plane: ControlPlane, pod: Json) -> dict[str, str]:
    """Until the node's authorizer knows the pod it is refused, as a kubelet is."""
    with contextlib.suppress(StatusError):
        return node_tokens(plane, pod)
    return {}


def set_up(plane: ControlPlane) -> Json:
    """A namespace with a pod on the node that declares two tokens, and a service account."""
    plane.call("POST", f"{API}/nodes", {"metadata": {"name": NODE}, "spec": {}})
    plane.call("POST", f"{API}/namespaces", {"metadata": {"name": "shop"}})
    plane.call("POST", ACCOUNTS, {"metadata": {"name": "cart"}})
    plane.kubectl(
        "create", "rolebinding", "edit", "-n", "shop", "--clusterrole=edit",
        "--serviceaccount=shop:cart", "--user=editor",
    )  # fmt: skip
    plane.kubectl(
        "create", "rolebinding", "edit", "-n", "kube-system", "--clusterrole=edit", "--user=editor"
    )
    vault = {"serviceAccountToken": {"path": "vault", "audience": VAULT, "expirationSeconds": 600}}
    pod = plane.call(
        "POST",
        f"{SHOP}/pods",
        {
            "metadata": {"name": "p1"},
            "spec": {
                "serviceAccountName": "cart",
                "containers": [{"name": "c", "image": "i"}],
                "volumes": [{"name": "vault", "projected": {"sources": [vault]}}],
            },
        },
    )
    binding = {"target": {"kind": "Node", "name": NODE}, "metadata": {"name": "p1"}}
    plane.call("POST", f"{SHOP}/pods/p1/binding", binding)
    wait_for(lambda: node_tokens_or_none(plane, pod))
    return dict(pod)


def be_quiet(plane: ControlPlane, pod: Json) -> dict[str, str]:
    """What goes on every hour: the node renews the tokens of pods, which use them, a pipeline asks
    for one as it always does, the API server and the controllers are started anew.
    """
    tokens = {}
    for _ in range(2):
        tokens["pod"] = wait_for(lambda: node_tokens_or_none(plane, pod))[""]
        tokens["pipeline"] = request(plane)
        for token in tokens.values():
            for path in (f"{SHOP}/pods/p1", "/version"):
                plane.call("GET", path, token=token)
        plane.restart_apiserver()
    wait_for(lambda: plane.kubectl("get", "serviceaccounts", "-n", "default", "-o", "name"))
    return tokens


def be_unusual(plane: ControlPlane, pod: Json, tokens: dict[str, str]) -> None:
    """One thing for each rule."""
    request(plane, user="editor")
    request(plane, "default", "kube-system", user="editor")
    request(plane, audiences=[VAULT, "https://new.example.com"])
    request(plane, expirationSeconds=100_000)
    request(plane, boundObjectRef=bound_to(pod))
    with pytest.raises(StatusError, match="403"):
        request(plane, "default", "kube-system", token=tokens["pipeline"])
    for _ in range(61):
        request(plane)
    assert get_from(plane, "127.0.0.2", f"{SHOP}/pods/p1", tokens["pod"]) == 200
    tokens["stale"] = a_stale_token(plane, tokens["pod"])
    plane.call("GET", f"{SHOP}/pods/p1", token=tokens["stale"])
    secret = {
        "metadata": {"name": "old", "annotations": {"kubernetes.io/service-account.name": "cart"}},
        "type": "kubernetes.io/service-account-token",
    }
    plane.call("POST", f"{SHOP}/secrets", secret)
    filled = wait_for(lambda: plane.call("GET", f"{SHOP}/secrets/old").get("data"))
    tokens["legacy"] = base64.b64decode(filled["token"]).decode()
    plane.call("GET", f"{SHOP}/pods/p1", token=tokens["legacy"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("audit")
    policy = yaml.safe_load(boundtoken("token", "audit-policy").stdout)
    flags = (f"--audit-log-maxsize={MAX_MEGABYTES}", "--audit-log-compress")
    with ControlPlane(audit_policy=policy, flags=flags, controllers="controllers") as plane:
        pod = set_up(plane)
        tokens = be_quiet(plane, pod)
        quiet = folder / "quiet.log"
        quiet.write_bytes(plane.audit_log.read_bytes())
        be_unusual(plane, pod, tokens)
        for name, token in tokens.items():
            (folder / name).write_text(token)
        time.sleep(1)
        yield Run(plane, quiet, pod, folder)


def test_the_policy_records_token_requests_and_service_accounts_and_nothing_else(run: Run) -> None:
    events = run.events()
    others = [event for event in events if not is_needed(event)]
    assert others == []
    assert not [event for event in events if event["stage"] == "RequestReceived"]
    begun = {event["verb"] for event in events if event["stage"] == "ResponseStarted"}
    assert "watch" not in begun
    assert not [event for event in events if "responseObject" in event]
    requests = [event for event in events if ISSUED in event.get("annotations", {})]
    assert {event["level"] for event in requests} == {"Request"}
    assert all(event["requestObject"]["spec"]["expirationSeconds"] for event in requests)
    annotations = {key for event in events for key in event.get("annotations", {})}
    assert {STALE, LEGACY, LEGACY_SECRETS[0]} <= annotations
    print(f"\nrecorded: {share_recorded(run.plane)}")


def is_needed(event: Json) -> bool:
    is_request = event.get("objectRef", {}).get("subresource") == "token"
    return is_request or "system:serviceaccounts" in event["user"]["groups"]


def share_recorded(plane: ControlPlane) -> dict[str, float]:
    """Requests since the API server's start by the level that they are recorded at."""
    text = plane.kubectl("get", "--raw", "/metrics")
    found = re.findall(r'^apiserver_audit_level_total\{level="(\w+)"\} (\S+)', text, re.MULTILINE)
    return {level: float(count) for level, count in found}


def trace(run: Run, *arguments: str) -> list[Json]:
    result = boundtoken(
        *("token", "trace", *arguments, "-o", "jsonl"), "--audit-log", str(run.plane.audit_log)
    )
    assert result.returncode == 0, result.stderr
    return list(map(json.loads, result.stdout.splitlines()))


def test_the_trace_of_a_pods_token_begins_with_the_nodes_request(run: Run) -> None:
    requested, *uses = trace(run, str(run.folder / "pod"))
    assert requested["event"] == "request"
    assert (requested["user"], requested["sourceIPs"]) == (f"system:node:{NODE}", ["127.0.0.1"])
    assert (requested["namespace"], requested["account"]) == ("shop", "cart")
    assert (requested["audiences"], requested["expirationSeconds"]) == ([], 3607)
    assert requested["boundTo"] == {
        "kind": "Pod",
        "name": "p1",
        "uid": run.pod["metadata"]["uid"],
    }
    used = [
        (use["verb"], use["resource"] or use["path"], use["name"], use["sourceIPs"], use["code"])
        for use in uses
    ]
    assert used == [
        ("get", "pods", "p1", ["127.0.0.1"], 200),
        ("get", "/version", "", ["127.0.0.1"], 200),
        ("get", "pods", "p1", ["127.0.0.2"], 200),
    ]
    assert {(use["user"], use["pod"], use["node"]) for use in uses} == {
        ("system:serviceaccount:shop:cart", "p1", NODE)
    }


def test_the_trace_of_a_persons_token_by_its_credential_id(run: Run) -> None:
    identifier = claims_of((run.folder / "pipeline").read_text()).credential_id
    requested, *uses = trace(run, f"JTI={identifier}")
    assert trace(run, identifier) == [requested, *uses]
    assert (requested["user"], requested["groups"]) == (
        "admin",
        ["system:masters", "system:authenticated"],
    )
    assert (requested["expirationSeconds"], requested["boundTo"]) == (3600, None)
    assert [(use["resource"], use["namespace"], use["code"]) for use in uses] == [
        ("pods", "shop", 200),
        ("", "", 200),
        ("serviceaccounts/token", "kube-system", 403),
    ]


def test_the_trace_of_stale_and_of_legacy_tokens(run: Run) -> None:
    (stale,) = trace(run, str(run.folder / "stale"))
    assert stale["staleSeconds"] >= 7200 - 3607
    (legacy,) = trace(run, str(run.folder / "legacy"))
    assert (legacy["legacySecret"], legacy["user"]) == ("old", "system:serviceaccount:shop:cart")


def test_each_rule_fires_once(run: Run) -> None:
    result = boundtoken(
        *("token", "watch", "--audit-log", str(run.plane.audit_log), "--max-seconds", "86400"),
        *("--baseline", str(run.quiet), "-o", "json"),
    )
    assert result.returncode == 1, result.stderr
    found = Counter(json.loads(line)["rule"] for line in result.stdout.splitlines())
    assert found == dict.fromkeys(RULES, 1), result.stdout


def test_an_hour_of_normal_traffic_is_quiet(run: Run, tmp_path: Path) -> None:
    """The real log of a few minutes again and again, with later times, over an hour."""
    hour = tmp_path / "hour.log"
    events = run.events(run.quiet)
    span = timedelta(minutes=5)
    with hour.open("wb") as file:
        for number in range(13):
            file.write(lines(*(later(event, number * span) for event in events)))
    result = boundtoken(
        *("token", "watch", "--audit-log", str(hour), "--learn", "5", "--max-seconds", "86400")
    )
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    requests = re.search(r"(\d+) token requests and ([\d,]+) uses", result.stderr)
    assert requests is not None
    assert int(requests[1]) > 150


def later(event: Json, by: timedelta) -> Json:
    times = ("requestReceivedTimestamp", "stageTimestamp")
    moved = {name: (datetime.fromisoformat(event[name]) + by).isoformat() for name in times}
    return {**event, **moved}


def test_the_maxima_of_namespaces_come_from_the_cluster(run: Run) -> None:
    plane = run.plane
    name = "boundtoken.dev/max-expiration-seconds"
    metadata = {"name": "short", "annotations": {name: "1800"}}
    plane.call("POST", f"{API}/namespaces", {"metadata": metadata})
    plane.call("POST", f"{API}/namespaces/short/serviceaccounts", {"metadata": {"name": "a"}})
    request(plane, "a", "short", expirationSeconds=1800)
    request(plane, "a", "short", expirationSeconds=1801)
    time.sleep(1)
    result = boundtoken(
        *("token", "watch", "--audit-log", str(plane.audit_log), "--baseline", str(run.quiet)),
        kubeconfig=plane.kubeconfig(),
    )
    assert f"1 namespace with a maximum of their own at {plane.url}" in result.stderr
    (line,) = [line for line in result.stdout.splitlines() if "long-life short/a" in line]
    assert "asked for 1801 s; the namespace's maximum is 1800 s" in line


GIVEN = """# of a large provider, shortened
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:kube-proxy"]
  verbs: [watch]
  resources:
  - group: ""
    resources: [endpoints, services]
# nobody reads these
- level: None
  nonResourceURLs: ["/healthz*", /version]
- level: Metadata
  resources:
  - group: ""
    resources: [secrets, configmaps, serviceaccounts/token]
- level: RequestResponse
  resources: [{group: ""}]
- level: Metadata
"""


def test_an_api_server_takes_a_merged_policy_and_records_what_a_trace_needs(tmp_path: Path) -> None:
    merged = boundtoken("token", "audit-policy", "--merge", "-", stdin=GIVEN.encode()).stdout
    assert "# nobody reads these" in merged
    with ControlPlane(audit_policy=yaml.safe_load(merged)) as plane:
        (token := tmp_path / "token").write_text(request(plane, "default", "default"))
        plane.call("GET", "/version", token=token.read_text())
        time.sleep(1)
        result = boundtoken(
            *("token", "trace", str(token), "--audit-log", str(plane.audit_log), "-o", "jsonl")
        )
        requested, use = map(json.loads, result.stdout.splitlines())
        assert (requested["expirationSeconds"], use["path"]) == (3600, "/version")
        assert token.read_text() not in plane.audit_log.read_text()


def test_nothing_is_missed_when_the_api_server_rotates_its_log(run: Run, tmp_path: Path) -> None:
    plane = run.plane
    token = tmp_path / "token"
    token.write_text(request(plane))
    begun = len(trace(run, str(token)))
    assert begun == 1
    command = [
        *(str(BOUNDTOKEN), "token", "watch", "--audit-log", str(plane.audit_log), "--follow"),
        *("--baseline", str(run.quiet), "--max-seconds", "86400", "-o", "json"),
    ]
    with (tmp_path / "out").open("w+") as out:
        watching = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True)
        try:
            calls = 0
            while not list(plane.folder.glob("audit-*.log.gz")):
                calls += call_often(plane, token.read_text(), 500)
                assert calls < 20_000
            plane.call("POST", ACCOUNTS, {"metadata": {"name": "late"}})
            request(plane, "late")
            wait_for(lambda: '"account": "late"' in Path(out.name).read_text(), 30)
            watching.send_signal(signal.SIGINT)
            _, errors = watching.communicate(timeout=30)
        finally:
            watching.kill()
            watching.communicate()
    assert watching.returncode == 130, errors
    assert "Traceback" not in errors
    assert len(trace(run, str(token))) == 1 + calls
    lines = whole_log(plane).splitlines(keepends=True)
    late = next(n for n, line in enumerate(lines) if b"serviceaccounts/late/token" in line)
    command = ["token", "watch", "--audit-log", "-", "--max-seconds", "1"]
    # Others go on using their tokens: what came between the last request and the end may be there.
    at_least, at_most = (
        uses_of(boundtoken(*command, stdin=b"".join(part)).stderr) for part in (lines[:late], lines)
    )
    assert 0 < at_least <= uses_of(errors) <= at_most


def uses_of(summary: str) -> int:
    (uses,) = re.findall(r"([\d,]+) uses of tokens", summary)
    return int(uses.replace(",", ""))


def whole_log(plane: ControlPlane) -> bytes:
    parts = [gzip.decompress(path.read_bytes()) for path in plane.folder.glob("audit-*.log.gz")]
    return b"".join([*parts, plane.audit_log.read_bytes()])


def call_often(plane: ControlPlane, token: str, count: int) -> int:
    """GETs on one connection; gives how many."""
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    connection = http.client.HTTPSConnection("127.0.0.1", plane.port, context=context, timeout=30)
    with contextlib.closing(connection):
        for _ in range(count):
            connection.request("GET", "/version", headers={"Authorization": f"Bearer {token}"})
            connection.getresponse().read()
    return count
