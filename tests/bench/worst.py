"""The worst reviews: what an attack found, and a search that climbs towards worse ones. Each is
measured beside `json.loads`.

The bound (docs/performance.md): a review costs at most 4 times what `json.loads` of it needs, and 2
ms; in memory at most 16 times its length. Two MiB of memory are spared, which is nothing beside the
process, so that small bodies are not measured by a ratio that means nothing.
"""

import asyncio
import dataclasses
import gc
import hashlib
import json
import os
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from tests.support.builders import Json, a_review
from webhook.cluster.legacy_tokens import LegacyTokens
from webhook.cluster.namespaces import NamespaceCache
from webhook.core import names
from webhook.core.policy import ClusterPolicy
from webhook.errors import MalformedReview
from webhook.log import Log
from webhook.serving.app import WEBHOOKS, AdmissionHandler
from webhook.serving.previews import Previews
from webhook.serving.reporting import Reporter
from webhook.serving.worker import Worker

MOST_CPU, SPARED_SECONDS = 4.0, 0.002
MOST_MEMORY, SPARED_BYTES = 16.0, 2 << 20
AUDIENCES = ",".join(f"https://audience-{number}.example.com" for number in range(200))[
    : names.MAX_AUDIENCE_LIST_CHARS
]
NAMESPACE = {
    names.INJECT: "enabled",
    names.AUTOMOUNT: "disabled",
    names.ENFORCE: "strict",
    names.WARN: "bound",
    names.AUDIT: "strict",
    names.ALLOWED_AUDIENCES: AUDIENCES.rpartition(",")[0],
}
LENGTHS = (1, 10, 100, 1_000, 10_000, 50_000)


@dataclasses.dataclass(frozen=True)
class Shape:
    """What a body is made of: how many of everything, and which of a few kinds."""

    route: str = "/mutate"
    kind: str = "Pod"
    containers: int = 1
    container: str = "named"
    mounts: int = 0
    mount: str = "other"
    volumes: int = 0
    volume: str = "empty"
    sources: int = 0
    source: str = "own audience"
    skips: int = 0
    annotations: int = 0
    annotation: str = "unknown"
    tokens: int = 0
    audiences: int = 0
    place: str = "containers"
    devices: int = 0
    env: int = 0
    variable: str = "value"
    text: int = 0
    letter: str = "plain"
    references: int = 0
    owners: int = 0
    fields: int = 0
    operation: str = "CREATE"

    def body(self) -> bytes:
        """The review."""
        object_ = self._object()
        request = {
            **a_review(object_)["request"],
            **self._request(),
            "object": object_,
            "operation": self.operation,
        }
        if self.operation == "UPDATE":
            request["oldObject"] = object_
        review = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": request,
        }
        # As Go writes it.
        return (
            json.dumps(review, separators=(",", ":"), ensure_ascii=False)
            .replace("<", "\\u003c")
            .encode()
        )

    def _request(self) -> Json:
        groups = {
            "Pod": ("", "pods", ""),
            "Deployment": ("apps", "deployments", ""),
            "CronJob": ("batch", "cronjobs", ""),
            "Namespace": ("", "namespaces", ""),
            "TokenRequest": ("authentication.k8s.io", "serviceaccounts", "token"),
        }
        group, resource, sub = groups[self.kind]
        return {
            "kind": {"group": group, "version": "v1", "kind": self.kind},
            "resource": {"group": group, "version": "v1", "resource": resource},
            "subResource": "ephemeralcontainers"
            if (self.kind, self.operation) == ("Pod", "UPDATE")
            else sub,
            "userInfo": {"username": "eve", "groups": ["g"] * self.audiences},
        }

    def _object(self) -> Json:
        if self.kind == "TokenRequest":
            return {
                "metadata": {"name": "x"},
                "spec": {"audiences": ["x"] * self.audiences, "expirationSeconds": 1 << 33},
            }
        metadata = {
            "name": "x",
            "namespace": "shop",
            "annotations": self._annotations(),
            **self._more_metadata(),
        }
        if self.kind == "Namespace":
            return {"metadata": metadata}
        pod = {"metadata": metadata, "spec": self._spec()}
        if self.kind == "Pod":
            return pod
        template = {
            "template": {"metadata": {"annotations": self._annotations()}, "spec": pod["spec"]}
        }
        spec = {"jobTemplate": {"spec": template}} if self.kind == "CronJob" else template
        return {"metadata": metadata, "spec": spec}

    def _more_metadata(self) -> Json:
        found: Json = {}
        if self.owners:
            found["ownerReferences"] = [
                {"kind": self._word("k"), "name": self._word(f"{index:x}")}
                for index in range(self.owners)
            ]
        if self.fields:
            fields: Json = {f"f:{index:x}": {} for index in range(self.fields)}
            found["managedFields"] = [{"operation": "Apply", "fieldsV1": {"f:metadata": fields}}]
        return found

    def _word(self, word: str) -> str:
        """The word in letters of which some are dearer than others."""
        return (
            word
            + {
                "plain": "",
                "latin": "é",
                "wide": "文",
                "widest": "🙂",
                "escaped": "<",
                "quoted": '"',
                "ours": '{"boundtoken.dev/',
            }[self.letter]
        )

    def _annotations(self) -> Json:
        found: Json = {names.INJECT: "enabled"}
        if self.skips:
            found[names.SKIP_CONTAINERS] = ",".join(f"{number:x}" for number in range(self.skips))
        if self.tokens:
            found[names.TOKENS] = ",".join(f"f{number:x}=x" for number in range(self.tokens))
        if self.annotation == "last applied":
            manifest = {
                "spec": {
                    "template": {
                        "metadata": {
                            "annotations": {f"{index:x}": "" for index in range(self.annotations)}
                        }
                    }
                }
            }
            return {
                **found,
                names.FROM_WORKLOAD: "inject=0",
                names.LAST_APPLIED: json.dumps(manifest),
            }
        if self.text:
            found["text"] = self._word("") * self.text
        prefix = {"unknown": names.DOMAIN, "near": names.INJECT, "other": "", "value": ""}[
            self.annotation
        ]
        value = {"value": self._word(names.DOMAIN)}.get(self.annotation, "")
        return {
            **found,
            **{self._word(f"{prefix}{number:x}"): value for number in range(self.annotations)},
        }

    def _spec(self) -> Json:
        mounts = [self._mount(number) for number in range(self.mounts)]
        more: Json = {"volumeMounts": mounts} if mounts else {}
        if self.devices:
            more["volumeDevices"] = [
                {"name": "d", "devicePath": self._word(f"/{index:x}")}
                for index in range(self.devices)
            ]
        if self.env:
            listed = "envFrom" if self.variable == "from" else "env"
            more[listed] = [self._variable(index) for index in range(self.env)]
        containers = [
            {**({"name": self._word(f"{number:x}")} if self.container == "named" else {}), **more}
            for number in range(self.containers)
        ]
        volumes = [self._volume(number) for number in range(self.volumes)]
        references: Json = {"imagePullSecrets": [{}] * self.references} if self.references else {}
        return {"containers": [], self.place: containers, "volumes": volumes, **references}

    def _variable(self, number: int) -> Json:
        name = self._word(f"{number:x}")
        variables: dict[str, Json] = {
            "value": {"name": name, "value": self._word("")},
            "secret": {"name": name, "valueFrom": {"secretKeyRef": {"name": "legacy"}}},
            "from": {"secretRef": {"name": name}},
        }
        return variables[self.variable]

    def _mount(self, number: int) -> Json:
        mounts: dict[str, Json] = {
            "empty": {},
            "other": {"name": "d", "mountPath": self._word(f"/{number:x}")},
            "misspelt": {"name": "d", "mountPath": names.DEFAULT_PATH.replace("/", "/./")},
            "automounted": {"name": "kube-api-access-0", "mountPath": f"/{number:x}"},
            "around": {"name": "d", "mountPath": "/var/run"},
            "inside": {"name": "d", "mountPath": f"{names.DEFAULT_PATH}/a"},
            "writable": {"name": "v0", "mountPath": names.DEFAULT_PATH},
        }
        return mounts[self.mount]

    def _volume(self, number: int) -> Json:
        sources = [self._source(index) for index in range(self.sources)]
        shape = [
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt"}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ]
        volumes: dict[str, Json] = {
            "empty": {},
            "named": {"name": self._word(f"v{number:x}")},
            "csi": {"name": self._word(f"{number:x}"), "csi": {}},
            "secret": {"name": self._word(f"{number:x}"), "secret": {}},
            "rbd": {"name": self._word(f"{number:x}"), "rbd": {"secretRef": {"name": "legacy"}}},
            "azureFile": {"name": self._word(f"{number:x}"), "azureFile": {}},
            "taken": {"name": _taken(names.VOLUME, number)},
            "taken for tokens": {"name": _taken(names.TOKENS_VOLUME, number)},
            "tokens": {"name": f"v{number:x}", "projected": {"sources": sources}},
            "automounted": {
                "name": f"kube-api-access-{number:x}",
                "projected": {"sources": [*shape, *sources]},
            },
            "ours": {"name": "boundtoken", "projected": {"sources": [*shape, *sources]}},
            "our tokens": {"name": "boundtoken-tokens", "projected": {"sources": sources}},
        }
        return volumes[self.volume]

    def _source(self, number: int) -> Json:
        sources: dict[str, Json] = {
            "empty": {},
            "own audience": {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            "foreign": {"serviceAccountToken": {"path": "token", "audience": "x"}},
            "long": {
                "serviceAccountToken": {
                    "path": f"{number:x}",
                    "audience": "y",
                    "expirationSeconds": 1 << 32,
                }
            },
            "secret": {"secret": {"name": "legacy"}},
        }
        return sources[self.source]


def _taken(base: str, number: int) -> str:
    return (
        f"{base}-{hashlib.sha256(f'{base}/{number}'.encode()).hexdigest()[:8]}" if number else base
    )


CHOICES: dict[str, tuple[str, ...]] = {
    "route": ("/mutate", "/validate"),
    "kind": ("Pod", "Deployment", "CronJob", "Namespace", "TokenRequest"),
    "operation": ("CREATE", "UPDATE"),
    "place": ("containers", "initContainers", "ephemeralContainers"),
    "variable": ("value", "secret", "from"),
    "letter": ("plain", "latin", "wide", "widest", "escaped", "quoted", "ours"),
    "container": ("named", "empty"),
    "mount": ("empty", "other", "misspelt", "automounted", "writable", "around", "inside"),
    "volume": (
        "empty", "named", "csi", "secret", "rbd", "azureFile", "taken", "taken for tokens", "tokens", "automounted", "ours",
        "our tokens",
    ),
    "source": ("empty", "own audience", "foreign", "long", "secret"),
    "annotation": ("unknown", "near", "other", "value", "last applied"),
}  # fmt: skip
NUMBERS = (
    "containers", "mounts", "volumes", "sources", "skips", "annotations", "tokens", "audiences", "devices", "env", "text",
    "owners", "fields", "references",
)  # fmt: skip
MOST_BYTES = 3 << 20
"""Of an object in the search: what people can send to the API server."""

MOST_LENGTH = 20 << 20
"""Of a body: longer ones are not read."""

KNOWN = {
    "4,000 containers and 40,000 names to skip": Shape(containers=4_000, skips=40_000),
    "20,000 containers and 20,000 names to skip": Shape(containers=20_000, skips=20_000),
    "280,000 further tokens": Shape(tokens=280_000),
    "90,000 unknown annotations": Shape(annotations=90_000),
    "9,000 annotations with names near ours": Shape(annotations=9_000, annotation="near"),
    "50,000 tokens for an audience that is not allowed": Shape(
        "/validate", volumes=1, volume="tokens", sources=50_000, source="foreign"
    ),
    "5,000 containers of a template and 5,000 names to skip": Shape(
        "/validate", "Deployment", containers=5_000, skips=5_000
    ),
    "400,000 audiences": Shape("/validate", "TokenRequest", audiences=400_000),
    "20,000 automounted volumes": Shape(volumes=5_000, volume="automounted"),
    "60,000 writable mounts": Shape(
        "/validate",
        containers=100,
        mounts=600,
        mount="writable",
        volumes=1,
        volume="tokens",
        sources=1,
    ),
    "900,000 sources that are nothing": Shape(
        volumes=1, volume="automounted", sources=900_000, source="empty"
    ),
    "600,000 sources that are nothing, evaluated": Shape(
        "/validate", volumes=1, volume="tokens", sources=600_000, source="empty"
    ),
    "3 MB of an annotation that names ours": Shape(
        volume="rbd", skips=50_000, text=160_000, letter="ours", owners=1
    ),
    "100,000 empty containers": Shape(containers=100_000, container="empty"),
    "100,000 empty containers, judged": Shape("/validate", containers=100_000, container="empty"),
    "60,000 mounts around ours": Shape(containers=1_000, mounts=60, mount="around"),
    "60,000 mounts inside of ours": Shape(containers=1_000, mounts=60, mount="inside"),
    "300,000 empty mounts": Shape("/validate", mounts=300_000, mount="empty"),
    "300,000 empty volumes": Shape("/validate", volumes=300_000, volume="empty"),
    "100,000 annotations of others": Shape("/validate", annotations=100_000, annotation="other"),
    "250,000 annotations in wide letters": Shape(
        annotations=250_000, annotation="other", letter="wide"
    ),
    "the same twice in a workload": Shape(
        kind="Deployment",
        operation="UPDATE",
        annotations=120_000,
        annotation="other",
        letter="wide",
    ),
    "100,000 annotations that quote ours": Shape(
        annotations=100_000, annotation="value", letter="quoted"
    ),
    "an annotation that quotes ours 160,000 times": Shape(text=160_000, letter="ours"),
    "400,000 empty references to Secrets": Shape(references=400_000),
    "400,000 empty references to Secrets, judged": Shape("/validate", references=400_000),
    "an annotation of 2,900,000 escapes": Shape(text=2_900_000, letter="escaped"),
    "the same, judged": Shape("/validate", text=2_900_000, letter="escaped"),
    "an annotation of 900,000 wide letters": Shape(text=900_000, letter="wide"),
    "a manifest of 100,000 annotations in last-applied": Shape(
        kind="Deployment", operation="UPDATE", annotations=100_000, annotation="last applied"
    ),
    "40,000 variables from Secrets": Shape("/validate", env=40_000, variable="secret"),
    "60,000 Secrets of variables of an init container": Shape(
        "/validate", place="initContainers", env=60_000, variable="from"
    ),
    "100,000 ephemeral containers": Shape(
        "/validate", operation="UPDATE", place="ephemeralContainers", containers=100_000
    ),
    "80,000 devices": Shape(devices=80_000, letter="wide"),
    "a CronJob of 10,000 containers and 1,000 names to skip": Shape(
        kind="CronJob", containers=10_000, skips=1_000
    ),
    "80,000 owners": Shape(owners=80_000, letter="wide"),
    "150,000 managed fields of a workload": Shape(
        kind="Deployment", operation="UPDATE", fields=150_000
    ),
    "10,000 volumes of a CSI driver": Shape("/validate", volumes=10_000, volume="csi"),
    "10,000 volumes of Azure Files": Shape("/validate", volumes=10_000, volume="azureFile"),
    "60,000 volumes of Secrets": Shape("/validate", volumes=60_000, volume="secret", letter="wide"),
    "20,000 volumes of RBD": Shape("/validate", volumes=20_000, volume="rbd"),
    "100,000 volumes of no kind": Shape(
        "/validate", volumes=100_000, volume="named", letter="wide"
    ),
    "30,000 taken names": Shape(volumes=30_000, volume="taken"),
    "30,000 taken names of the second volume": Shape(
        volumes=30_000, volume="taken for tokens", tokens=1
    ),
    "200,000 annotations of a namespace": Shape(
        "/validate",
        "Namespace",
        operation="UPDATE",
        annotations=200_000,
        annotation="other",
        letter="wide",
    ),
}
"""What attacks sent, by what it is."""


class Measured:
    """One body: seconds of CPU, of `json.loads`, and bytes of memory, at best of a few rounds."""

    def __init__(
        self,
        shape: Shape,
        handle: Callable[[str, bytes], int],
        *,
        rounds: int = 3,
        memory: bool = True,
    ) -> None:
        body = shape.body()
        self.length = len(body)
        self.seconds = min(_seconds(lambda: handle(shape.route, body)) for _ in range(rounds))
        self.loads = min(_seconds(lambda: json.loads(body)) for _ in range(rounds))
        self.bytes = self.answered = 0
        if memory:
            gc.collect()
            tracemalloc.start()
            self.answered = handle(shape.route, body)
            self.bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()

    @property
    def cpu_ratio(self) -> float:
        """Of what is allowed: above 1 is too much."""
        return self.seconds / (MOST_CPU * self.loads + SPARED_SECONDS)

    @property
    def memory_ratio(self) -> float:
        """Of what is allowed."""
        return self.bytes / (MOST_MEMORY * self.length + SPARED_BYTES)

    def __str__(self) -> str:
        times = self.seconds / self.loads
        return (
            f"{self.length / 1e6:.2f} MB, {self.seconds * 1e3:.1f} ms, {times:.2f} x json.loads ({self.cpu_ratio:.2f} of the bound), "
            f"memory {self.bytes / self.length:.1f} x ({self.memory_ratio:.2f} of the bound), answer {self.answered} B"
        )


def _seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def a_handler() -> Callable[[str, bytes], int]:
    """What the handler does with a body of each route, its log line included; gives the length of
    the answer.
    """
    cluster = ClusterPolicy(
        token_requests="enforce", enforce_floor="bound", api_audiences=("https://api",)
    )
    cache = NamespaceCache(cluster)
    cache.replace_all([("shop", NAMESPACE)])
    legacy = LegacyTokens()
    legacy.synced = True
    legacy._names["shop"] = {"legacy"}
    null = os.open(os.devnull, os.O_WRONLY)
    due: list[Callable[[], None]] = []
    log = Log("info", lambda line: os.write(null, line))
    worker = Worker()
    handler = AdmissionHandler(
        cache,
        legacy,
        Previews(None, cache, legacy, worker),
        log,
        Reporter(log, lambda _, flush: due.append(flush)),
        worker=worker,
        certificate=bytes,
    )
    loop = asyncio.new_event_loop()

    def handle(route: str, body: bytes) -> int:
        work = handler.review(WEBHOOKS[route], body)
        try:
            answer = loop.run_until_complete(work)
        except MalformedReview:
            answer = b""
        while due:
            due.pop()()
        return len(answer)

    return handle


def search(
    seconds: float, seed: int, say: Callable[[str], object]
) -> dict[str, tuple[float, Shape, Measured]]:
    """The worst for CPU and for memory that climbing found: the ratio, what it is, and its
    figures.
    """
    chance, handle = random.Random(seed), a_handler()
    worst: dict[str, tuple[float, Shape, Measured]] = {}
    until = time.monotonic() + seconds
    pool = [*KNOWN.values()]
    while time.monotonic() < until:
        shape = (
            pool.pop()
            if pool
            else _changed(chance.choice([entry[1] for entry in worst.values()]), chance)
        )
        if _length(shape) > MOST_BYTES:
            continue
        found = Measured(shape, handle, rounds=1, memory=chance.random() < 0.5)
        for what, ratio in (("CPU", found.cpu_ratio), ("memory", found.memory_ratio)):
            if ratio <= worst.get(what, (0.0,))[0] or found.length > MOST_LENGTH:
                continue
            again = Measured(shape, handle)
            surely = {"CPU": again.cpu_ratio, "memory": again.memory_ratio}[what]
            if surely > worst.get(what, (0.0,))[0]:
                worst[what] = surely, shape, again
                say(f"{what} {surely:.2f}: {shape}: {again}")
    return worst


def _length(shape: Shape) -> int:
    """About how long the object is in JSON, in which `<` is one byte."""
    container = 12 + shape.mounts * 20 + shape.devices * 28 + shape.env * 22
    length = (
        shape.containers * container
        + shape.volumes * (20 + 60 * shape.sources)
        + 9 * (shape.skips + shape.tokens)
    )
    return (
        length
        + 9 * (shape.annotations + shape.fields)
        + 25 * shape.owners
        + shape.text
        + 4 * shape.audiences
        + 3 * shape.references
    )


def _changed(shape: Shape, chance: random.Random) -> Shape:
    """A neighbour: one or two things other than before."""
    changes: dict[str, Any] = {}
    for _ in range(chance.choice((1, 1, 2, 3))):
        if chance.random() < 0.4:
            name = chance.choice(list(CHOICES))
            changes[name] = chance.choice(CHOICES[name])
        else:
            name = chance.choice(NUMBERS)
            changes[name] = chance.choice(
                (0, *LENGTHS, int(getattr(shape, name) * chance.uniform(0.3, 3)))
            )
    return dataclasses.replace(shape, **changes)


def report(seconds: float, seed: int) -> tuple[float, float]:
    """Prints what is worst of what is known, then of what a search finds; gives both ratios to the
    bound, CPU and memory.
    """
    handle, cpu, memory = a_handler(), 0.0, 0.0
    for name, shape in KNOWN.items():
        found = Measured(shape, handle)
        cpu, memory = max(cpu, found.cpu_ratio), max(memory, found.memory_ratio)
        print(f"  {name}: {found}", flush=True)
    for what, (ratio, shape, found) in search(seconds, seed, lambda _: None).items():
        changed = {
            field.name: getattr(shape, field.name)
            for field in dataclasses.fields(shape)
            if getattr(shape, field.name) != field.default
        }
        print(
            f"  {what}, worst of {seconds:.0f} s with seed {seed}: {changed}: {found}", flush=True
        )
        cpu, memory = (max(cpu, ratio), memory) if what == "CPU" else (cpu, max(memory, ratio))
    return cpu, memory


if __name__ == "__main__":
    given, chosen = (
        float(sys.argv[1]),
        int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 1_000_000,
    )
    sys.exit(max(report(given, chosen)) > 1)
