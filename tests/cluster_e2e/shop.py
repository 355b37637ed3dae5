"""The namespace `shop` of docs/tokens.md on the real API server: programs of a page, each in the
pod that the page shows for it.
"""

import base64
import contextlib
import copy
import itertools
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import yaml

from tests.controlplane import build
from tests.controlplane.cluster import MERGE_PATCH, ControlPlane
from tests.controlplane.kubelet import Kubelet, RunningPod
from tests.support.builders import Json
from tests.support.cluster import NAMESPACES
from tests.support.pages import AUDIENCE, Page, Program
from tests.support.waiting import wait_for
from webhook.core import names
from webhook.core.claims import claims_of
from webhook.pki import authority
from webhook.pki.pem import joined

PATH = f"{NAMESPACES}/shop"
OTHER_AUDIENCE = "https://billing.shop.svc"
AUDIENCES = (AUDIENCE, OTHER_AUDIENCE)
ACCEPTED, REFUSED = "accepted", "refused"
REFUSAL = re.compile(r"\b401\b|UNAUTHENTICATED")
_NUMBERS = itertools.count(1)
CACHED_SECONDS = 90
"""That a receiver may go on to accept a token whose pod is gone."""


class Shop:
    """The namespace, and what the manifests of a page have beside pods."""

    def __init__(self, kubelet: Kubelet, page: Page) -> None:
        self.plane = kubelet.plane
        self.kubelet = kubelet
        self.page = page

    def start(
        self,
        program: Program,
        *arguments: str,
        audience: str = AUDIENCE,
        annotations: dict[str, str] | None = None,
        **spec: str,
    ) -> RunningPod:
        """The pod of a program, with a name of its own, and with these fields in its spec.
        Everything in it that is the audience of the page is `audience` instead.
        """
        name = f"{program.name.replace('.', '-')}-{next(_NUMBERS)}"
        pod = json.loads(json.dumps(self.page.pod(program)).replace(AUDIENCE, audience))
        pod["metadata"]["name"] = name
        pod["metadata"].setdefault("labels", {})["program"] = name
        pod["metadata"]["annotations"] |= annotations or {}
        pod["spec"] |= spec
        if program.language == "go":
            path = build.program(program.name, program.text)
            pod["spec"]["containers"][0]["command"] = [str(path)]
        pod["spec"]["containers"][0]["args"] = list(arguments)
        text = program.text.replace(AUDIENCE, audience)
        self._create_files(name, {"program.py": text})
        for volume in pod["spec"]["volumes"]:
            if volume["name"] == "program":
                volume["configMap"]["name"] = name
        return self.kubelet.run(pod)

    def start_with_tokens_of(self, dead: RunningPod) -> RunningPod:
        """A pod like one that is gone, with the tokens which that one had in place of its own."""
        name = f"{dead.name}-{next(_NUMBERS)}"
        spec = copy.deepcopy(dead.pod["spec"])
        del spec["nodeName"]
        for volume in spec["volumes"]:
            if volume.pop("projected", None):
                files = sorted((dead.folder / volume["name"]).glob("[!.]*"))
                copied = f"{name}-{volume['name']}"
                self._create_files(copied, {path.name: path.read_text() for path in files})
                volume["configMap"] = {"name": copied}
        return self.kubelet.run({"metadata": {"name": name}, "spec": spec})

    def delete(self, *pods: RunningPod) -> None:
        """Delete pods, and wait until they and their tokens are of no use."""
        for pod in pods:
            self.plane.call("DELETE", f"{PATH}/pods/{pod.name}")
        wait_for(lambda: not set(pods) & set(self.kubelet.pods), 60)
        for token in (token for pod in pods for token in pod.volumes.tokens.values()):
            (audience,) = claims_of(token).audiences
            wait_for(lambda t=token, a=audience: not self._is_valid(t, a), 30)

    def lead_to(self, *receivers: RunningPod) -> None:
        """Let the Service of the page lead to a receiver and no other, and wait until that is
        ready.
        """
        for receiver in receivers:
            patch = {"spec": {"selector": {"program": receiver.name}}}
            self.plane.call("PATCH", f"{PATH}/services/orders", patch, kind=MERGE_PATCH)
            wait_for(lambda ip=receiver.ip: self.kubelet.proxy.backends("orders") == [ip], 30)

    def _is_valid(self, token: str, audience: str) -> bool:
        return bool(self.plane.review_token(token, audience).get("authenticated"))

    def _create_files(self, name: str, files: dict[str, str]) -> None:
        body = {"metadata": {"name": name}, "data": files}
        self.plane.call("POST", f"{PATH}/configmaps", body)


@contextlib.contextmanager
def shop_of(plane: ControlPlane, page: Page) -> Iterator[Shop]:
    """The namespace while the block runs, with the Secret and the ConfigMap that the page tells its
    readers to have.
    """
    gone = f"{NAMESPACES}?fieldSelector=metadata.name=shop"
    wait_for(lambda: not plane.call("GET", gone)["items"], 60)  # another test may have had one
    plane.call("POST", NAMESPACES, {"metadata": {"name": "shop"}})
    accounts = f"{PATH}/serviceaccounts?fieldSelector=metadata.name=default"
    wait_for(lambda: plane.call("GET", accounts)["items"])
    others = yaml.safe_dump_all(page.others())
    plane.kubectl("apply", "-f", "-", stdin=others)
    now = datetime.now(UTC)
    root = authority.make_authority("shop", now, timedelta(days=1))
    leaf = authority.issue(root, ["orders.shop.svc"], now, timedelta(days=1))
    pair = {"tls.crt": joined(leaf.chain), "tls.key": leaf.key}
    data = {name: base64.b64encode(pem).decode() for name, pem in pair.items()}
    secret: Json = {"metadata": {"name": "orders-tls"}, "type": "kubernetes.io/tls", "data": data}
    plane.call("POST", f"{PATH}/secrets", secret)
    ca = {"metadata": {"name": "orders-ca"}, "data": {"ca.crt": root.certificate.pem.decode()}}
    plane.call("POST", f"{PATH}/configmaps", ca)
    with Kubelet(plane, "shop") as kubelet:
        try:
            yield Shop(kubelet, page)
        finally:
            plane.kubectl("delete", "--wait=false", "-f", "-", stdin=others)
            plane.kubectl("delete", "namespace", "shop", "--timeout=60s")


def callers(page: Page, receiver: Program | None) -> list[Program]:
    """The senders that can call a receiver; None is the API server."""
    if receiver is None:
        return page.of_role("api-client")
    named = {program.to for program in page.of_role("sender")}
    expected = receiver.name if receiver.name in named else ""
    return [program for program in page.of_role("sender") if program.to == expected]


def outcomes(shop: Shop, receiver: Program | None) -> dict[str, list[str]]:
    """For each sender that can call a receiver what it came to: with the token that its pod
    declares, where another audience is demanded, and with the first token again when its pod is
    gone. ACCEPTED, REFUSED, or what it printed.
    """
    other: dict[str, str] = {} if receiver else {names.AUDIENCE: OTHER_AUDIENCE}
    receivers = [shop.start(receiver, audience=a) for a in AUDIENCES] if receiver else []
    programs = callers(shop.page, receiver)
    shop.lead_to(*receivers[:1])
    first = {program.name: shop.start(program) for program in programs}
    found = {name: [outcome(pod)] for name, pod in first.items()}
    shop.lead_to(*receivers[1:])
    second = {program.name: shop.start(program, annotations=other) for program in programs}
    for name, pod in second.items():
        found[name].append(outcome(pod))
    shop.delete(*first.values())
    shop.lead_to(*receivers[:1])
    due, deadline = first, time.monotonic() + CACHED_SECONDS
    while due and time.monotonic() < deadline:
        third = {name: shop.start_with_tokens_of(pod) for name, pod in due.items()}
        last = {name: outcome(pod) for name, pod in third.items()}
        # What is not refused for its audience will not be refused when its pod is gone.
        due = {
            name: pod
            for name, pod in due.items()
            if (found[name][1], last[name]) == (REFUSED, ACCEPTED)
        }
        for name in last.keys() - due.keys():
            found[name].append(last[name])
    shop.delete(*second.values(), *receivers)
    return found


def outcome(pod: RunningPod) -> str:
    """What a sender has come to, once it has ended."""
    wait_for(lambda: pod.ended, 60)
    if pod.exit_code == 0:
        return ACCEPTED
    return REFUSED if REFUSAL.search(pod.log) else f"exit code {pod.exit_code}: {pod.log}"
