"""Generated pods and annotations, aimed at what decides: names near ours, shapes near the plugin's,
values at each limit.
"""

import copy
from typing import Any

from hypothesis import strategies as st

from tests.support.builders import AUTOMOUNTED, Json, a_container, api_access
from webhook.core import names

SECONDS = [
    "",
    "0",
    "599",
    "600",
    "601",
    "900",
    "3599",
    "3600",
    "3607",
    "3608",
    "4294967296",
    "4294967297",
    "٣٦٠٠",
    " 3600",
    "1h",
]
AUDIENCES = ["", "vault", "https://vault.example.com", "a b", "x" * 512, "x" * 513, "\x00", "é"]
PATHS = [
    names.DEFAULT_PATH,
    names.DEFAULT_PATH + "/",
    "/bound",
    "/bound/",
    "/",
    "",
    "a",
    "/a/..",
    "/a:b",
    "//bound",
    "/./bound",
    names.TOKENS_PATH,
    "/etc",
]
SWITCHES = ["enabled", "disabled", "Enabled", "true", ""]
TOKENS = [
    "",
    "a=x",
    "a=x,b=y;900",
    "a=vault;3607",
    "b=y,a=x",
    "a=x,a=y",
    "..=x",
    "a",
    "=x",
    "a=x;599",
]
SKIPS = ["", "app", "init", "app, side", "nobody", ",,", "app,app"]
POOLS = {
    names.INJECT: [*SWITCHES, "replace"],
    names.AUTOMOUNT: SWITCHES,
    names.AUDIENCE: AUDIENCES,
    names.EXPIRATION_SECONDS: SECONDS,
    names.MOUNT_PATH: PATHS,
    names.TOKENS: TOKENS,
    names.SKIP_CONTAINERS: SKIPS,
    names.MAX_EXPIRATION_SECONDS: SECONDS,
    names.ALLOWED_AUDIENCES: ["", "vault", "vault, x, y", "a b"],
    names.POD_OVERRIDES: ["allowed", "denied", "Denied"],
    names.STATUS: ["injected policy=00000000"],
    names.DOMAIN + "injct": ["enabled"],
    "team": ["shop"],
}


def _some(pools: dict[str, list[str]]) -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(pool) for name, pool in pools.items()}
    )


annotations = _some(POOLS)
"""Annotations of anybody: good values, bad ones, values at the limits, names that do not belong
there."""

namespace_annotations = _some(
    {
        names.INJECT: ["enabled", "enabled", "replace"],
        names.AUTOMOUNT: ["enabled", "disabled"],
        names.MOUNT_PATH: [names.DEFAULT_PATH, "/bound"],
        names.TOKENS: ["a=x", "a=x,b=y;900"],
        names.AUDIENCE: ["vault"],
    }
)
"""Annotations of a namespace that mostly do something."""

VOLUMES = [
    AUTOMOUNTED,
    "kube-api-access-other",
    "boundtoken",
    "boundtoken-tokens",
    "boundtoken-0a1b2c3d",
    "data",
]
MOUNT_PATHS = [
    names.DEFAULT_PATH,
    names.DEFAULT_PATH + "/",
    names.DEFAULT_PATH[1:],
    "/var//run/secrets/kubernetes.io/./serviceaccount",
    "/bound",
    "/bound/.",
    names.TOKENS_PATH,
    "/var/run/secrets",
    "/data",
]
DEVICES: list[Json] = [
    {"volumeDevices": [{"name": "disk", "devicePath": path}]}
    for path in ("/bound", names.TOKENS_PATH)
]
"""None at the default path, where the plugin's mount makes a pod that the API server refuses."""
further = {
    "configMap": {"name": "openshift-service-ca.crt"},
    "unknownField": {"deep": [1, None, 0.5]},
}


def _volume(name: str) -> st.SearchStrategy[Json]:
    shapes: list[Json] = [
        api_access(name),
        api_access(name, seconds=None, audience="vault", more=(further,)),
        api_access(name, seconds=600, audience=""),
        {"name": name, "emptyDir": {}},
        {"name": name, "projected": {"sources": None}},
        {
            "name": name,
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "t", "audience": "z"}},
                    {"mystery": {}},
                ]
            },
        },
        {
            "name": name,
            "projected": {
                "sources": [
                    {
                        "serviceAccountToken": {
                            "path": "a",
                            "audience": "x",
                            "expirationSeconds": 600,
                        }
                    }
                ]
            },
        },
    ]
    return st.sampled_from(shapes)


def _container(name: str) -> st.SearchStrategy[Json]:
    pairs = st.lists(
        st.tuples(st.sampled_from(VOLUMES), st.sampled_from(MOUNT_PATHS)),
        max_size=3,
        unique_by=lambda pair: pair[1],
    )

    def build(mounts: list[tuple[str, str]], extra: Json) -> Json:
        return {**a_container(name, *mounts), **extra}

    extras = st.sampled_from(
        [
            {},
            {"volumeMounts": None},
            {"volumeMounts": []},
            {"resizePolicy": [{"new": True}]},
            *DEVICES,
        ]
    )
    return st.builds(build, pairs, extras)


SIZES = (65, 257, 513, 1_030)
"""Of a big pod: on both sides of each bound."""


def _containers(pod: Json, number: int, field: str) -> None:
    like = pod["spec"]["containers"][0]
    new = [{**copy.deepcopy(like), "name": f"{field[0]}{index}"} for index in range(number)]
    pod["spec"][field] = [*(pod["spec"].get(field) or []), *new]


def _mounts(pod: Json, number: int, volume: str) -> None:
    container = pod["spec"]["containers"][-1]
    new = [{"name": volume, "mountPath": f"/m{index}", "readOnly": True} for index in range(number)]
    container["volumeMounts"] = [*(container.get("volumeMounts") or []), *new]


def _volumes(pod: Json, number: int, shape: Json, prefix: str) -> None:
    new = [{**copy.deepcopy(shape), "name": f"{prefix}{index:08x}"} for index in range(number)]
    pod["spec"]["volumes"] = [*(pod["spec"].get("volumes") or []), *new]


def _sources(pod: Json, number: int, source: Json) -> None:
    for volume in pod["spec"].get("volumes") or []:
        if (volume.get("projected") or {}).get("sources"):
            volume["projected"] = {
                "sources": [
                    *volume["projected"]["sources"],
                    *(copy.deepcopy(source) for _ in range(number)),
                ]
            }


def _annotations(pod: Json, given: dict[str, str]) -> None:
    pod["metadata"]["annotations"] = {**(pod["metadata"].get("annotations") or {}), **given}


GROWTH: list[Any] = [
    lambda pod, number: _containers(pod, number, "containers"),
    lambda pod, number: _containers(pod, number, "initContainers"),
    lambda pod, number: _mounts(pod, number, AUTOMOUNTED),
    lambda pod, number: _mounts(pod, number, "boundtoken"),
    lambda pod, number: _volumes(pod, number, {"emptyDir": {}}, "v"),
    lambda pod, number: _volumes(pod, number, {"emptyDir": {}}, "boundtoken-"),
    lambda pod, number: _volumes(pod, number, api_access("x"), "kube-api-access-"),
    lambda pod, number: _volumes(pod, number, api_access("x", audience="z"), "boundtoken-"),
    lambda pod, number: _sources(pod, number, further),
    lambda pod, number: _sources(
        pod, number, {"serviceAccountToken": {"path": "t", "audience": "z"}}
    ),
    lambda pod, number: _annotations(
        pod, {names.SKIP_CONTAINERS: ",".join(f"c{index}" for index in range(number))}
    ),
    lambda pod, number: _annotations(
        pod, {names.TOKENS: ",".join(f"f{index}=x" for index in range(number // 8))}
    ),
    lambda pod, number: _annotations(
        pod, {f"{names.DOMAIN}x{index}": "y" for index in range(number)}
    ),
    lambda pod, number: _annotations(pod, {names.STATUS: "x" * number * 300}),
    lambda pod, number: _annotations(pod, {f"é{index}": "y" for index in range(number * 20)}),
]
"""What makes a pod big, in one way each."""


@st.composite
def pods(draw: st.DrawFn) -> Json:
    """A pod as somebody may post it: with our names, the plugin's names, absent and null lists,
    fields nobody knows.

    One in nine is big: few, because each takes as long as a hundred small ones.
    """
    volumes = [
        draw(_volume(name))
        for name in draw(st.lists(st.sampled_from(VOLUMES), unique=True, max_size=4))
    ]
    spec: Json = {
        "containers": [
            draw(_container(name)) for name in ("app", "side")[: draw(st.integers(1, 2))]
        ]
    }
    spec |= draw(st.sampled_from([{}, {"volumes": None}])) if not volumes else {"volumes": volumes}
    spec |= draw(st.sampled_from([{}, {"initContainers": None}, {"initContainers": []}]))
    if draw(st.booleans()):
        spec["initContainers"] = [draw(_container("init"))]
    spec |= draw(
        st.sampled_from(
            [
                {},
                *({"automountServiceAccountToken": automount} for automount in (None, True, False)),
            ]
        )
    )
    spec["futureField"] = {"kept": [1.5, None, "é"]}
    metadata: Json = {"name": "web"}
    metadata |= draw(st.sampled_from([{}, {"annotations": None}, {"annotations": {}}]))
    own = draw(annotations)
    pod = {"metadata": metadata | ({"annotations": own} if own else {}), "spec": spec, "status": {}}
    if draw(st.integers(0, 8)) == 8:
        draw(st.sampled_from(GROWTH))(pod, draw(st.sampled_from(SIZES)))
    return pod


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=20,
)
