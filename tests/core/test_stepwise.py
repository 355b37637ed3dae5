"""What is long is decoded in steps: to the same, in short calls, and in little memory."""

import json
import random
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.support.builders import (
    Json,
    a_container,
    a_namespace_policy,
    a_pod,
    a_request,
    a_review,
    mutation_of,
)
from tests.support.generated import Generator
from webhook.core import names, review, stepwise
from webhook.core.full_views import (
    ConfigMap,
    FullPod,
    FullWorkload,
    Namespace,
    Secret,
    TokenRequest,
)
from webhook.core.policy import ClusterPolicy
from webhook.core.views import CronJob, Pod, Workload
from webhook.errors import MalformedReview

VIEWS: tuple[Any, ...] = (
    Pod,
    Workload,
    CronJob,
    FullPod,
    FullWorkload,
    TokenRequest,
    Secret,
    Namespace,
    ConfigMap,
)


def objects() -> list[Json]:
    """Objects of many shapes, most of which are good under most views."""
    generators = [Generator(number) for number in range(60)]
    pods: list[Json] = [generator.pod() for generator in generators]
    annotated = a_container(
        env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}], envFrom=[{}]
    )
    owners = [{"kind": "ReplicaSet", "name": "é", "controller": True}]
    whole = a_pod(
        annotated,
        volumes=[
            {"name": "v", "csi": {"nodePublishSecretRef": {"name": "s"}}},
            {"name": "w", "rbd": {}},
        ],
    )
    whole["metadata"] |= {
        "ownerReferences": owners,
        "managedFields": [{"operation": "Apply", "fieldsV1": {"f:x": {}}}],
    }
    pods += [
        whole,
        {},
        {"metadata": None},
        {"spec": {"containers": None}},
        {"spec": {"containers": [5]}},
        {"type": "x"},
    ]
    pods += [
        {"spec": {"audiences": ["a"], "boundObjectRef": {"kind": "Pod"}}},
        {"metadata": {"annotations": {"a": 1}}},
        {"data": {names.CONFIG_KEY: "kind: Configuration", "other": "x"}},
        {"data": {names.CONFIG_KEY: 5}},
    ]
    templates: list[Json] = [
        {"metadata": pod.get("metadata"), "spec": {"template": pod}} for pod in pods
    ]
    return [*pods, *templates, *({"spec": {"jobTemplate": template}} for template in templates)]


@pytest.mark.parametrize("kind", VIEWS, ids=lambda kind: kind.__name__)
def test_steps_give_what_one_call_gives(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepwise, "PIECE_BYTES", 0)
    for object_ in [*objects(), None]:
        text = msgspec.json.encode(object_)
        try:
            expected = msgspec.json.decode(text, type=kind | None)
        except msgspec.DecodeError:
            with pytest.raises(msgspec.DecodeError):
                stepwise.decode(text, type=kind | None)
        else:
            assert stepwise.decode(text, type=kind | None) == expected


SOURCES: tuple[Json, ...] = (
    {},
    {},
    {},
    {"downwardAPI": {}},
    {"configMap": {"name": "a,{},{}]\\"}},
    {"serviceAccountToken": {"path": '"[{},'}},
    {"downwardAPI": {"items": [{}, {}, {"path": "{},{}"}]}},
    {"secret": {}},
)


@pytest.mark.parametrize("kind", [Pod, FullPod], ids=lambda kind: kind.__name__)
def test_empty_items_are_what_one_call_gives(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, wherever they stand, and whatever strings are beside them."""
    monkeypatch.setattr(stepwise, "SPARED_OBJECTS", 0)
    random_ = random.Random(5)
    for number in range(400):
        monkeypatch.setattr(stepwise, "PIECE_BYTES", random_.choice((0, 60, 400, 1 << 18)))
        lists = [random_.choices(SOURCES, k=random_.randrange(12)) for _ in range(3)]
        volumes = [
            {"name": f"v{at}", "projected": {"sources": sources}}
            for at, sources in enumerate(lists)
        ]
        pod = {"metadata": {"ownerReferences": [{}] * (number % 5)}, "spec": {"volumes": volumes}}
        text = json.dumps(pod, separators=(",", ":")).encode()
        assert stepwise.decode(text, type=kind) == msgspec.json.decode(text, type=kind)


def test_a_number_is_no_item(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepwise, "SPARED_OBJECTS", 0)
    text = b'{"spec":{"volumes":[{"name":"v","projected":{"sources":[{},{},{},{},5]}}]}}'
    with pytest.raises((MalformedReview, msgspec.DecodeError)):
        stepwise.decode(text, type=Pod)


TRICKY = {
    "a": '"boundtoken.dev/inject":"enabled"',
    'b,"boundtoken.dev/audience':"x",
    "c": "boundtoken.dev/tokens",
    "d": ',"boundtoken.dev/mount-path":"/x",',
    "e": "\\",
    "boundtoken.dev/in\\ject": "1",
    'boundtoken.dev/in"ject': "2",
    "boundtoken.dev/status": '<é🙂"\\',
    "boundtoken.dev/expiration-seconds": "",
    names.MIRROR_POD: "x",
    names.MIRROR_POD + "x": "x",
    names.LAST_APPLIED: '{"a":"\\""}',
}  # fmt: skip


@pytest.mark.parametrize("written", ["as Go does", "in ASCII"])
def test_of_very_many_annotations_those_that_decide_are_read(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stepwise, "MAX_ENTRIES", 0)
    if written == "as Go does":
        text = (
            json.dumps(TRICKY, separators=(",", ":"), ensure_ascii=False)
            .replace("<", "\\u003c")
            .encode()
        )
    else:
        text = json.dumps(TRICKY, separators=(",", ":")).encode()
    expected = {key: value for key, value in TRICKY.items() if key.startswith(names.DOMAIN)}
    expected |= {name: TRICKY[name] for name in (names.MIRROR_POD, names.LAST_APPLIED)}
    assert stepwise.annotations(text) == expected
    assert stepwise.annotations(b"{}") == {}
    assert stepwise.annotations(b"null") is None


def test_more_of_ours_than_there_may_be_are_too_many_whatever_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stepwise, "MAX_ENTRIES", 0)
    many = {f"{names.DOMAIN}{number}": "" for number in range(2_000)}
    found = stepwise.annotations(msgspec.json.encode({**many, names.MIRROR_POD: "x"}))
    assert found is not None
    assert names.MAX_ANNOTATIONS < sum(name.startswith(names.DOMAIN) for name in found) < 300
    assert names.MIRROR_POD in found


def test_an_annotation_of_ours_that_is_too_long_is_so_here_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stepwise, "MAX_ENTRIES", 0)
    long = b'{"boundtoken.dev/audience":"' + b"\\u003c" * 400_000 + b'"}'
    found = stepwise.annotations(long)
    assert found is not None
    assert set(found[names.AUDIENCE]) == {"<"}
    assert len(found[names.AUDIENCE]) >= names.MAX_ANNOTATIONS_CHARS


MANY = 250_000
LONG: dict[str, Callable[[], bytes]] = {
    "annotations": lambda: body("annotations", b"{%s}", lambda number: b'"\xc3\xa9%x":""' % number),
    "volumes": lambda: body(
        "volumes", b"[%s]", lambda number: b'{"name":"\xe6\x96\x87%x"}' % number
    ),
    "containers": lambda: body(
        "containers",
        b"[%s]",
        lambda number: b'{"name":"%x","env":[{"name":""}]}' % number,
        MANY // 2,
    ),
    "sources that are nothing": lambda: body("sources", b"[%s]", lambda _: b"{}", 4 * MANY),
    "some sources": lambda: body(
        "sources", b"[%s]", lambda _: b'{},{},{},{"configMap":{"name":"a"}}', MANY // 2
    ),
    "braces in strings": lambda: body("args", b"[%s]", lambda _: b'"{{{{"', 3 * MANY),
    "braces beside escapes": lambda: body("args", b'["%s"]', lambda _: b"\\u003c{[", 3 * MANY),
}


def body(place: str, around: bytes, item: Callable[[int], bytes], number: int = MANY) -> bytes:
    """A review of a pod with very many things in one place."""
    pod = a_pod(a_container(args="ARGS"), annotations={"ANNOTATIONS": ""}, volumes=[])
    text = json.dumps(a_review(pod), separators=(",", ":")).encode()
    if place == "sources":
        around = b'[{"name":"v","projected":{"sources":%s}}]' % around
    items = around % b",".join(map(item, range(number)))
    spelled = {
        "annotations": b'{"ANNOTATIONS":""}',
        "volumes": b"[]",
        "sources": b"[]",
        "args": b'"ARGS"',
        "containers": json.dumps(pod["spec"]["containers"], separators=(",", ":")).encode(),
    }
    return text.replace(spelled[place], items, 1)


@pytest.mark.slow("each decodes megabytes up to eight times, until no other work disturbs it")
@pytest.mark.parametrize("decode", [review.decode, review.decode_full])
@pytest.mark.parametrize("what", LONG)
def test_decoding_lets_other_threads_work_and_needs_little_memory(decode: Any, what: str) -> None:
    body = LONG[what]()
    assert len(body) > 2_500_000
    assert any(
        longest_wait(lambda: decode(body)) < 0.06 for _ in range(8)
    )  # a busy machine keeps threads waiting too
    tracemalloc.start()
    request = decode(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert request.object is not None
    assert peak < 14 * len(body)


def longest_wait(work: Callable[[], object]) -> float:
    """Seconds for which another thread that has something to do every millisecond gets no turn."""
    waits, done = [0.0], threading.Event()

    def watch() -> None:
        last = time.perf_counter()
        while not done.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            waits.append(now - last)
            last = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return max(waits)


def test_a_pod_with_very_many_annotations_is_injected_as_it_asks() -> None:
    many = {f"é{number:x}": "" for number in range(200_000)}
    pod = a_pod(
        annotations={
            **many,
            names.INJECT: "enabled",
            names.AUDIENCE: "vault",
            f"{names.DOMAIN}injct": "x",
        }
    )
    request = a_request(pod)
    assert isinstance(request.object, Pod)
    assert len(request.object.annotations) == 3
    verdict = mutation_of(request, ClusterPolicy(), a_namespace_policy())
    assert verdict.reason == "injected"
    assert [fault.annotation for fault in verdict.faults] == [f"{names.DOMAIN}injct"]
    assert [
        operation.path for operation in verdict.operations if "annotations" in operation.path
    ] == ["/metadata/annotations/boundtoken.dev~1status"]  # the map is not replaced
